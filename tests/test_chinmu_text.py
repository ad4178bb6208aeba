"""One way to read a text: what changes nothing of what is meant changes nothing of its vector."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opencc import OpenCC

from chinmu.model import ChinMu
from chinmu.text import canonical, parts, tidy
from common.description import Audience, fragments, normalise, simplified
from common.seeds import generator
from corpus.describe import describe, prompt
from corpus.plan import plan
from corpus.synth import sheet

BUNDLED = Path(__file__).parents[1] / "app/models/demo/chinmu"
WIDE = {0x21 + i: 0xFF01 + i for i in range(94)}


@cache
def said(seeds: tuple[int, ...] = (3,)) -> tuple[str, ...]:
    """Descriptions and prompts of some songs, in seen and in held-out words."""
    texts: dict[str, None] = {}
    for seed in seeds:
        score, rng = sheet(seed, durations=(20.0, 24.0)).score, generator(seed, "said")
        drawn = plan(seed, durations=(20.0, 24.0))
        for rare in (False, True):
            texts |= {d.text: None for d in describe(drawn, score, rng, held_out=rare)}
            texts |= {prompt(drawn, score, rng, a, held_out=rare): None for a in Audience for _ in range(8)}
    return tuple(texts)


@pytest.fixture(scope="module")
def bundled() -> ChinMu:
    return ChinMu.from_pretrained(BUNDLED)


@pytest.fixture(scope="module")
def vectors(bundled: ChinMu) -> torch.Tensor:
    return bundled.embed_text(list(said()))


@cache
def traditional(kind: str) -> OpenCC:
    return OpenCC(kind)


def emoji(text: str, rng: np.random.Generator) -> str:
    """Emoji between some characters, with skin tones, joiners and variation selectors."""
    pictures = ("😭", "🎸", "❤️", "👨‍👩‍👧", "👍🏽", "🇨🇳", "♪", "★")
    between = [pictures[rng.integers(len(pictures))] if rng.random() < 0.2 else "" for _ in text]
    # Latin words and numbers are kept whole.
    inside = [bool(re.match(r"[!-~]{2}", text[i : i + 2])) for i in range(len(text))]
    return "".join(c + ("" if keep else p) for c, p, keep in zip(text, between, inside))


VARIANTS = {
    "full width": lambda text, rng: text.translate(WIDE),
    "half width": lambda text, rng: normalise(text),
    "spaces after commas": lambda text, rng: re.sub("[，,、]", "， ", text),
    "other marks": lambda text, rng: re.sub("[，,]", lambda _: "；。、！\n"[rng.integers(5)], text) + "！！",
    "capitals": lambda text, rng: text.upper(),
    "traditional": lambda text, rng: traditional("s2t").convert(text),
    "traditional of Hong Kong": lambda text, rng: traditional("s2hk").convert(text),
    "quotes": lambda text, rng: f"「{text}」",
    "emoji": emoji,
    "numbers in full width": lambda text, rng: text.translate({c: c + 0xFEE0 for c in range(0x30, 0x3A)}),
    "spaces before units": lambda text, rng: re.sub(r"(\d)(拍|bpm|BPM)", r"\1 \2", text),
    "decimals": lambda text, rng: re.sub(r"(?<![\d.])(\d{2,3})(?=拍|bpm|BPM)", r"\1.0", text),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_how_it_is_written_does_not_change_the_vector(bundled: ChinMu, vectors: torch.Tensor, variant: str):
    texts = said()
    rng = generator(0, "variants", variant)
    others = [VARIANTS[variant](text, rng) for text in texts]
    assert variant == "half width" or sum(a != b for a, b in zip(texts, others)) > 2
    cosine = (vectors * bundled.embed_text(others)).sum(1)
    worst = int(cosine.argmin())
    assert float(cosine.min()) >= 0.98, (texts[worst], others[worst], canonical(others[worst]))


@pytest.mark.parametrize(
    "variant", ["full width", "spaces after commas", "traditional", "spaces before units"]
)
def test_how_it_is_written_does_not_change_its_fragments(bundled: ChinMu, variant: str):
    texts = [text for text in said() if "，" in text or "拍" in text][:60]
    others = [VARIANTS[variant](text, generator(0, "fragments")) for text in texts]
    (first, mask), (second, other_mask) = bundled.embed_fragments(texts), bundled.embed_fragments(others)
    assert torch.equal(mask, other_mask)
    assert float((first * second).sum(-1)[mask].min()) >= 0.98


def test_texts_of_the_corpus_are_read_as_they_stand():
    """Bundled models were trained on these: only case, width, marks and spaces may differ."""
    for text in said():
        bare = re.sub(r"[\s,，、：:。]", "", normalise(text).lower())
        assert re.sub(r"[\s,:]", "", canonical(text)) == bare


def test_texts_of_the_corpus_are_fixed_points():
    """Of what reads lists, spaces and numbers nothing touches the words that the models know."""
    for text in said((901, 902, 903)):
        plain = re.sub(r"\s*[,，、：:。]+\s*", ",", normalise(text).lower()).strip(",")
        read = re.sub(r"(?<=[^!-~])\s+|\s+(?=[^!-~])|(?<=\d)\s+(?=[a-z])", "", plain)
        assert canonical(text) == canonical(read) == read
        pieces = re.split(r"[,，、：:。]\s*|(?<=[^!-~])\s+|\s+(?=[^!-~])", normalise(text))
        assert fragments(text) == fragments(tidy(text)) == [piece for piece in pieces if piece]


def test_different_words_stay_apart(bundled: ChinMu):
    pairs = [("女声", "男声"), ("慢歌", "快歌"), ("钢琴", "吉他"), ("不要鼓", "要鼓"), ("三拍子", "四四拍")]
    for one, other in pairs:
        assert canonical(one) != canonical(other)
    cosine = (bundled.embed_text(["女声", "慢歌"]) * bundled.embed_text(["男声", "快歌"])).sum(1)
    assert float(cosine.max()) < 0.9


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("一百二十拍的快歌", "120拍的快歌"),
        ("速度一百一拍", "速度110拍"),
        ("九十 BPM", "90bpm"),
        ("四四拍，三拍子", "四四拍,三拍子"),
        ("第十拍", "第十拍"),
        ("八十年代的味道", "80年代的味道"),
        ("4/4拍 钢琴/吉他", "四四拍钢琴,吉他"),
        ("Ｂ♭小调，C♯5", "bb小调,c#5"),
        ("R&B 和 Hip Hop", "r&b和hip hop"),
        ("跟着节拍，聽著很舒服", "跟着节拍,听着很舒服"),
        ("\ufeff慢\u200b歌——安静…", "慢歌,安静"),
        ("pop🎸rock", "pop rock"),
        ("92.0拍，3.5分钟", "92拍,3.5分钟"),
    ],
)
def test_readings(text: str, read: str):
    assert canonical(text) == read


def test_simplified_text_is_left_alone_whatever_its_words():
    for text in ("显著的节奏", "著名的乾坤", "后来，干杯"):
        assert simplified(text) == text


LISTS = {
    "1. 女声\n2. 钢琴": ["女声", "钢琴"],
    "１．女声\n２．钢琴": ["女声", "钢琴"],
    "1、女声 2、钢琴": ["女声", "钢琴"],
    "要求：1.女声；2.钢琴": ["要求", "女声", "钢琴"],
    "1) 3.5分钟\n2) 80年代": ["3.5分钟", "80年代"],
    "(1) 女声 (2) 钢琴": ["女声", "钢琴"],
    "一、女声 二、钢琴": ["女声", "钢琴"],
    "①女声②钢琴": ["女声", "钢琴"],
    "1️⃣女声 2️⃣钢琴": ["女声", "钢琴"],
    "- 女声\n- 钢琴": ["女声", "钢琴"],
    "- 女声 - 钢琴": ["女声", "钢琴"],
    "* 女声\n* 钢琴": ["女声", "钢琴"],
    "• 女声 • 钢琴": ["女声", "钢琴"],
    "1. - 女声": ["女声"],
    "## 要求\n#女声": ["要求", "女声"],
    "#欢快的流行 #女声# #pop": ["欢快的流行", "女声", "pop"],
    "女声→钢琴->慢": ["女声", "钢琴", "慢"],
    "钢琴/吉他+鼓&笛 | 箫": ["钢琴", "吉他", "鼓", "笛", "箫"],
    "R&B/流行": ["r&b", "流行"],
}
NO_LISTS = {
    "4/4拍": "四四拍",
    "A/B": "a/b",
    "R&B": "r&b",
    "90拍/分钟": "90拍/分钟",
    "F#小调，#F小调，#Fm": "f#小调,#f小调,#fm",
    "前奏-副歌，C-G-Am": "前奏-副歌,c-g-am",
    "速度 90. 女声": "速度90,女声",
    "1、2个人唱": "1,2个人唱",
    "一、两首歌": "一,两首歌",
    "第①段": "第一段",
    "1,000人的合唱": "1000人的合唱",
    "1，000人的合唱": "1000人的合唱",
    "40、400拍": "40, 400拍",
}


@pytest.mark.parametrize("text", LISTS)
def test_a_list_is_several_wishes(text: str):
    assert canonical(text) == ",".join(LISTS[text])
    assert [piece.lower() for piece in fragments(text)] == LISTS[text]
    assert fragments(tidy(text)) == fragments(text)


@pytest.mark.parametrize("text", NO_LISTS)
def test_what_looks_like_a_list_but_is_none(text: str):
    assert canonical(text) == NO_LISTS[text] == canonical(NO_LISTS[text])


SPACED = {
    "安 静 的 钢 琴 曲": ["安静的钢琴曲"],
    "安　静　的　歌，女声": ["安静的歌", "女声"],
    "快 歌 pop": ["快", "歌", "pop"],
    "女声 钢琴 慢": ["女声", "钢琴", "慢"],
    "女声 慢 快 钢琴": ["女声", "慢", "快", "钢琴"],
    "慢歌 不要 鼓": ["慢歌", "不要鼓"],
    "没有 人声，不用 吉他": ["没有人声", "不用吉他"],
    "无 人声 不要 rap": ["无人声", "不要rap"],
    "什么都没有 女声": ["什么都没有", "女声"],
    "也不要 鼓 慢": ["也不要鼓", "慢"],
    "要不要 女声": ["要不要", "女声"],
    "虚无 女声": ["虚无", "女声"],
    "吵 不要 女声": ["吵", "不要女声"],
}


@pytest.mark.parametrize("text", SPACED)
def test_spaces_part_wishes_but_neither_letters_nor_refusals(text: str):
    assert fragments(text) == fragments(tidy(text)) == SPACED[text]
    assert canonical(text) == canonical(text.replace(" ", ""))


SPELLINGS = [
    ("四四拍", "4/4拍", "４／４ 拍", "四分之四拍"),
    ("三四拍", "3/4拍", "四分之三拍"),
    ("六八拍的歌", "6/8拍的歌", "八分之六拍的歌"),
    ("十二八拍", "12/8 拍"),
    ("二十岁", "20岁", "20 岁"),
    ("写给二十多岁的人", "写给20多岁的人"),
    ("两岁", "2岁"),
    ("第二段", "第2段", "第 2 段"),
    ("第十二小节", "第12小节"),
    ("3.5分钟", "3.50分钟", "3.500 分钟"),
    ("80年代", "八十年代", "1980年代", "一九八〇年代", "一九八零年代"),
    ("2010年代", "二〇一〇年代"),
    ("8小节的前奏", "八小节的前奏", "8 小节的前奏"),
    ("全曲12小节", "全曲十二小节"),
    ("2小节", "两小节"),
    ("四小节一个循环", "4小节一个循环"),
    ("每一小节", "每一小节"),
    ("18-20岁", "18-20 岁"),
]


@pytest.mark.parametrize("spellings", SPELLINGS)
def test_a_number_is_read_alike_in_every_spelling(spellings: tuple[str, ...]):
    for text in spellings:
        assert canonical(text) == spellings[0]
        assert [canonical(piece) for piece in fragments(tidy(text))] == [spellings[0]]


LONG = "我想要一首安静的钢琴曲配上温柔的女声和木吉他在下雨天里synthesizer慢慢地1234567响起来" * 3


@pytest.mark.parametrize("longest", [9, 20, 31, 64])
def test_a_long_piece_is_cut_at_the_ends_of_words(longest: int):
    pieces = fragments(LONG, longest) if longest > 11 else fragments(LONG.replace("synthesizer", ""), longest)
    assert "".join(pieces) == (LONG if longest > 11 else LONG.replace("synthesizer", ""))
    assert max(map(len, pieces)) <= longest
    for before, after in zip(pieces, pieces[1:]):
        assert after[0] not in "的地" and not re.fullmatch("[a-z]{2}|[0-9]{2}", before[-1] + after[0])
        assert before[-1] + after[0] not in ("安静", "钢琴", "琴曲", "温柔", "女声", "吉他", "慢慢", "起来")
    assert parts(LONG, len(LONG) + 2, longest + 2) == fragments(LONG, longest) or longest < 64


def test_where_a_text_is_cut_does_not_depend_on_what_ran_before():
    said = f"from common.description import fragments; print(fragments({LONG!r}, 20))"
    lyrics = "from common.pinyin import read; read('安静'); "
    alone, after = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (said, lyrics + said)
    )
    assert alone == after == f"{fragments(LONG, 20)}\n"


def test_a_word_that_is_too_long_is_cut_all_the_same():
    assert fragments("a" * 130 + "女声") == ["a" * 64, "a" * 64, "aa女声"]


MIXED = '安静的钢琴曲聽著一百二十拍bpm,。 、/—…😭♭#(4.0)-→1①+\n&"*第段岁不要'


@given(st.text(alphabet=MIXED, min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_reading_twice_is_reading_once(text: str):
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize("unseen", "\u00ad\u034f\u061c\u180e\u200b\u202a\u2066\ufeff\x07\x7f\ud83d\U000e0100")
def test_what_is_not_seen_is_not_read(unseen: str):
    assert canonical(f"安静{unseen}的歌{unseen}，女声") == "安静的歌,女声"
    assert fragments(tidy(f"安静{unseen}的歌{unseen}，女声")) == ["安静的歌", "女声"]
    assert canonical(f"slow{unseen} pop") == "slow pop"


@pytest.mark.parametrize("picture", ["🪇", "🪈", "🫨", "🛜", "⤴️", "↔️", "◼️", "〰️", "™️", "ℹ️"])
def test_pictures_of_every_age_and_kind_are_none_of_the_words(picture: str):
    assert canonical(f"安静{picture}的歌，女声{picture}") == "安静的歌,女声"
    assert fragments(tidy(f"安静{picture}的歌，女声")) == ["安静的歌", "女声"]


@pytest.mark.parametrize("key", ["B♭大调", "♭B大调", "C♯小调", "♯F小调"])
def test_a_fragment_keeps_its_accidental(key: str):
    assert [canonical(piece) for piece in fragments(tidy(f"慢歌，{key}"))] == ["慢歌", canonical(key)]
    assert canonical(key) != canonical(key.replace("♭", "").replace("♯", ""))


def test_a_picture_within_a_wish_does_not_part_it():
    assert fragments(tidy("一首开心😀的歌，女声")) == ["一首开心的歌", "女声"]
    assert fragments(tidy("开心😀👍🏽的歌 🎸 女声")) == ["开心的歌", "女声"]
    assert canonical("pop🎸rock") == "pop rock"
