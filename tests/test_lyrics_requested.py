"""Forms and rhymes that descriptions ask for, and forms that fill a song with them."""

from pathlib import Path

import pytest

from corpus.forms import FORMS, form
from lyrics_llm.requested import forms, rhyme
from lyrics_llm.wishes import say_nearest, wishes_of

_LETTERS = {"intro": "i", "verse": "v", "pre-chorus": "p", "chorus": "c", "bridge": "b", "interlude": "x",
            "outro": "o"}  # fmt: skip


def _short(tags):
    return "".join(_LETTERS[tag] for tag in tags)


@pytest.mark.parametrize(
    ("said", "nearest"),
    [
        ("摇滚，前奏-主歌-副歌-间奏-主歌-副歌-尾奏", "ivcxvco"),
        ("前奏 主歌 预副歌 副歌", "ivpc"),
        ("Intro → Verse → Chorus", "ivc"),
        ("主歌1、主歌2、副歌", "vvc"),
        ("主歌到副歌再到桥段再到副歌", "vcbc"),
        ("結構：主歌+副歌", "vc"),
        ("主歌副歌的结构", "vc"),
        ("AABA曲式", "vvcv"),
        ("结构是ABABCB", "vcvcbc"),
        ("两段主歌，副歌出现三次", "vcvcc"),
        ("副歌唱两遍", "vcvc"),
        ("三段主歌、一段副歌", "vvvc"),
        ("两段主歌，带桥段", "vcvbc"),
        ("副歌-主歌-前奏-副歌", "cvic"),  # as it stands, however odd
    ],
)
def test_an_order_and_numbers_make_a_form(said: str, nearest: str):
    found = forms(said)
    assert _short(found[0][0]) == nearest
    assert all("i" not in way[1:] and "o" not in way[:-1] for ways in found[1:] for way in map(_short, ways))


@pytest.mark.parametrize(
    ("said", "having", "lacking"),
    [
        ("带桥段的流行歌", "b", ""),
        ("不要前奏", "", "i"),
        ("没有尾奏，有间奏", "x", "o"),
        ("加个预副歌", "p", ""),
    ],
)
def test_parts_are_put_in_and_taken_out(said: str, having: str, lacking: str):
    (found,) = forms(said)
    assert len(found) > 5
    for way in map(_short, found):
        assert set(having) <= set(way) and not set(lacking) & set(way)


@pytest.mark.parametrize(
    "said",
    [
        "下雨天想家的慢歌",
        "主歌安静，副歌有力",
        "前奏钢琴",
        "主歌、副歌都要押韵",
        "前奏、主歌、副歌、桥段都要押韵",
        "前奏用钢琴，主歌用吉他，副歌用弦乐",
    ],
)
def test_what_names_no_form_leaves_all(said: str):
    assert forms(said) == ()


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("押江阳韵", "江阳"), ("押ang韵", "江阳"), ("押 言前 辙", "言前"), ("韵脚AABA", "AABA"),
        ("ABAB押韵", "ABAB"), ("隔句押韵", "-A-A"), ("一韵到底", "AA"),
        ("要押韵", ""), ("押xyz韵", ""), ("AABA曲式", ""), ("韵脚abcd", ""),
    ],
)  # fmt: skip
def test_rhymes(said: str, asked: str):
    assert rhyme(said) == asked


def test_a_form_is_drawn_among_those_given_where_one_fits():
    order = ("verse", "chorus", "verse", "chorus", "bridge", "chorus")
    made = form(90, 100, among=[order])
    assert tuple(section.tag for section in made.sections) == order
    bars = sum(section.bars for section in made.sections)
    assert made.fit.lead_in + bars * 240 / made.fit.tempo + made.fit.tail == pytest.approx(90)
    assert tuple(section.tag for section in form(8, 100, among=[order]).sections) in FORMS  # too short for it
    assert form(60, 90) == form(60, 90, among=())


def test_a_plan_has_the_form_that_was_asked_for_or_says_why_not(caplog: pytest.LogCaptureFixture):
    from lyrics_llm.writer import Writer

    writer = Writer.from_pretrained(Path(__file__).parents[1] / "app/models/demo/writer")
    text = "流行，女声，前奏-主歌-副歌-主歌-副歌-尾奏"
    plans = [writer.plan(text, seed, 45) for seed in range(3)]
    assert {_short(s.tag for s in plan.form) for plan in plans} == {"ivcvco"} and not caplog.records
    assert "i" not in _short(s.tag for s in writer.plan("民谣，不要前奏", 1, 30).form)
    writer.plan(text, 1, 10)
    assert "the form that was asked for doesn't fill 10 s" in caplog.text


@pytest.mark.parametrize(
    ("description", "said"),
    [("写一首关于区块链的民谣", "区块链"), ("a sad rock song about war", "war"), ("写给妈妈的歌", ""),
     ("关于夏天的歌", ""), ("一首慢歌", ""), ("唱给你的歌", "")],
)  # fmt: skip
def test_a_subject_that_no_theme_is_of_is_told(
    description: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    say_nearest(description, "female", "旅行")
    assert (f"no theme for {said}" in caplog.text) if said else not caplog.text


@pytest.mark.parametrize("description", ["8分之6拍的情歌", "四分之三拍的歌", "一首没有副歌的歌"])
def test_forms_that_no_song_has_are_told(description: str, caplog: pytest.LogCaptureFixture) -> None:
    wishes_of(description, {})
    assert "isn't followed" in caplog.text
    caplog.clear()
    wishes_of("四分之四拍，有副歌", {})
    assert not caplog.text
