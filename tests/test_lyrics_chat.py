"""A Qwen3 as the writer: the same promises over tokens of several characters."""

import logging
from pathlib import Path

import lyrics_qwen
import numpy as np
import pytest

import lyrics_llm
from common.errors import CheckpointError, RequestError
from common.lyrics import Lyrics
from common.pinyin import units
from common.rhyme import group
from lyrics_llm import chat
from lyrics_llm import tokens as t
from lyrics_llm.chat import ChatWriter
from lyrics_llm.constrain import Choice, Words, plan_grammar
from lyrics_llm.pieces import Pieces, text_grammar
from lyrics_llm.structure import Structure, kept
from lyrics_llm.tokens import Vocabulary

TEXT = "一首下雨天想家的慢歌，女声，钢琴"
MARKED = "(intro)\n(verse1)\nccc ccR\ncccccc\ncccccR\n(chorus1)\n5R\n3+4R\n5R\n7\n(outro)\n"


@pytest.fixture(scope="module")
def writer() -> ChatWriter:
    return ChatWriter(lyrics_qwen.qwen(), lyrics_qwen.tokenizer())


@pytest.fixture(scope="module")
def pieces(writer: ChatWriter) -> Pieces:
    return writer.pieces


def test_the_stand_in_has_tokens_of_several_characters(pieces: Pieces) -> None:
    assert len(pieces.han[1]) > 1000
    assert {2, 3, 4} <= set(pieces.han)
    text = "<verse>\n月亮照着 故乡\nlove me tonight\n\n<chorus>\n回家 1;"
    assert pieces.tokenizer.decode(pieces.encode(text)) == text
    assert len(pieces.encode("等你回来")) == 1


@pytest.mark.parametrize("seed", range(3))
def test_form_and_rhyme_are_right_by_construction(writer: ChatWriter, seed: int) -> None:
    form = Structure.parse(MARKED)
    words = lyrics_llm.write(TEXT, MARKED, seed=seed, model=writer)
    result = kept(form, words)
    assert result.form
    assert result.rhymed == result.marked == 5
    assert Lyrics.parse(str(words)) == words
    assert words.sections[1].lines[0][3] == " "
    assert words == lyrics_llm.write(TEXT, MARKED, seed=seed, model=writer)


def drawn(pieces: Pieces, structure: Structure, seed: int, **options) -> tuple[Lyrics, str]:  # type: ignore[no-untyped-def]
    """Lyrics of random good tokens, and the text that the tokens are."""
    rng = np.random.default_rng(seed)
    grammar = text_grammar(pieces, structure, **options)
    offer, ids = next(grammar), []
    while True:
        allowed = offer.ids if isinstance(offer, Choice) else offer
        latin = [
            i for i in allowed.tolist() if pieces.texts[i].strip().isalpha() and pieces.texts[i].isascii()
        ]
        shuffled = rng.permutation(latin if latin and rng.random() < 0.5 else allowed).tolist()
        ids.append(next(i for i in shuffled if not isinstance(offer, Choice) or offer.good(i)))
        try:
            offer = grammar.send(ids[-1])
        except StopIteration as end:
            return end.value, pieces.tokenizer.decode(ids)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_drawn_is_its_own_text(pieces: Pieces, seed: int) -> None:
    form = Structure.parse(MARKED).rhymed("江阳" if seed % 2 else None)
    words, text = drawn(pieces, form, seed)
    assert Lyrics.parse(text) == words
    result = kept(form, words)
    assert (result.form, result.rhymed) == (True, result.marked)


@pytest.mark.parametrize("language", ["en", "mixed"])
def test_english_and_mixed_lines_have_their_words(pieces: Pieces, language: str) -> None:
    form = Structure.of([("verse", (4, 5)), ("chorus", (3,))])
    latin = 0
    for seed in range(3):
        words, _ = drawn(pieces, form, seed, language=language)
        assert kept(form, words).form
        assert Lyrics.parse(str(words)) == words
        latin += sum(unit.isascii() for line in words.lines for unit in units(line))
    assert latin == 36 if language == "en" else 0 < latin < 36


def test_copies_and_stutters_are_refused(pieces: Pieces) -> None:
    form = Structure.of([("verse", (8,) * 6)])
    words, _ = drawn(pieces, form, 1, avoid=["海风轻轻吹过夏天"])
    lines = [*words.lines, "海风轻轻吹过夏天"]
    found = [line[i : i + 5] for line in lines for i in range(len(line) - 4)]
    assert len(found) == len(set(found))


def test_one_line_is_rewritten_and_the_rest_stays(writer: ChatWriter) -> None:
    mine = Lyrics.parse(
        "<verse>\n窗外 下着小雨\n我在想着你\n<chorus>\n带我回到海上\n天边有一束光\nbaby don't go\n"
    )
    new = lyrics_llm.rewrite(mine, 2, 1, "写海边", seed=1, model=writer)
    line = new.sections[1].lines[0]
    assert line != "带我回到海上"
    assert (len(units(line)), group(line)) == (6, "江阳")
    assert new.lines[:2] == mine.lines[:2]
    assert new.lines[3:] == mine.lines[3:]


def test_limits_end_in_whole_lyrics(writer: ChatWriter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        words = lyrics_llm.write(TEXT, MARKED, seed=1, model=writer, tokens=8)
    assert kept(Structure.parse(MARKED), words).form
    assert "come from the book of phrases" in caplog.text


def test_an_english_song_ends_in_english(writer: ChatWriter) -> None:
    words = lyrics_llm.write("a rainy song", "<verse>\n5\n6\n13", model=writer, language="en", tokens=2)
    assert [len(line.split()) for line in words.lines] == [5, 6, 13]
    assert all(line.isascii() for line in words.lines) and len(set(words.lines)) == 3
    with pytest.raises(RequestError, match="language is zh, mixed, en"):
        lyrics_llm.write("a song", "<verse>\n5", model=writer, language="xx")  # type: ignore[arg-type]


def test_open_rhymes_are_made(writer: ChatWriter) -> None:
    words = lyrics_llm.write(TEXT, [("verse", (5, 5, 5, 5))], seed=1, model=writer)  # type: ignore[arg-type]
    a, b, _, d = (group(line) for line in words.lines)
    assert a == b == d


def test_a_plan_and_a_score_go_through_the_same_grammars(writer: ChatWriter) -> None:
    words = lyrics_llm.write(TEXT, [("verse", (5, 5))], seed=1, model=writer)  # type: ignore[arg-type]
    sketch = writer.plan("热血的摇滚，98bpm，男声", seed=1, duration=14)
    assert sketch.singer == "male"
    assert sketch.tempo == pytest.approx(98)
    score = writer.compose(words, sketch, seed=1)
    assert score.duration == pytest.approx(14.0, abs=1e-9)
    assert score.lyrics().lines == words.lines


def test_words_spelt_out_are_read_back(pieces: Pieces) -> None:
    """A grammar over the vocabulary gives the same as one over the model's tokens of the same choices."""
    vocabulary = Vocabulary(t.build())
    words = Words(vocabulary)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        chosen: list[str] = []

        def recorded(grammar, chosen=chosen):  # type: ignore[no-untyped-def]
            allowed = next(grammar)
            while True:
                token = yield allowed
                chosen.append(vocabulary.names[token])
                try:
                    allowed = grammar.send(token)
                except StopIteration as end:
                    return end.value

        grammar = chat.spelt_out(recorded(plan_grammar(words, {"singer": "child"})), vocabulary, pieces, {})
        allowed, ids = next(grammar), []
        while True:
            ids.append(int(rng.choice(allowed)))
            try:
                allowed = grammar.send(ids[-1])
            except StopIteration as end:
                fields = end.value
                break
        assert fields["singer"] == "child"
        assert pieces.tokenizer.decode(ids) == "".join(map(chat.spelling, chosen))


def test_themes_have_words_of_the_lyrics(writer: ChatWriter, caplog: pytest.LogCaptureFixture) -> None:
    words = Lyrics.parse("<verse>\n窗外下着雨\n我想念妈妈\n")
    with caplog.at_level(logging.WARNING):
        found = [writer.themes(words, seed) for seed in range(3)]
    assert all(
        2 <= len(word) <= 6 and set(word) & set("窗外下着雨我想念妈妈") for f in found for word in f.words
    )
    assert "have nothing of the lyrics and are left out" in caplog.text


def test_prompts_have_what_was_asked(writer: ChatWriter) -> None:
    form = Structure.parse(MARKED).rhymed("江阳")
    ids = chat.prompt_ids(writer.tokenizer, chat.lyrics_messages(" 慢歌 ", form, "思乡"))
    text = writer.tokenizer.decode(ids)
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    for part in ("描述：慢歌\n", "主题：思乡\n", "韵：江阳\n", "<verse>\nccc ccR\ncccccc\n"):
        assert part in text


def test_english_refuses_rhymes_and_strange_models_are_named(writer: ChatWriter, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="rhymes are asked of Chinese lines"):
        lyrics_llm.write(TEXT, MARKED, language="en", model=writer)
    with pytest.raises(CheckpointError, match="can't be read"):
        ChatWriter.from_pretrained(tmp_path / "none")
