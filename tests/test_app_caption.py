"""What the song model is told in words: the description, and what was planned behind it."""

from dataclasses import replace

import pytest
from app_models import tiny_pipeline
from dit_songs import score

from app.caption import arrangement, caption, of_score, of_sketch
from common.lyrics import Lyrics
from corpus.attributes import Attributes, attributes

PLANNED: Attributes = {
    "genre": "抒情",
    "mood": "伤感",
    "tempo_class": "slow",
    "singer": "female",
    "instruments": ("钢琴", "小提琴"),
}


def test_the_users_words_stay_and_the_plan_follows() -> None:
    assert caption("下雨天", PLANNED) == "下雨天，抒情，伤感，慢歌，女声，钢琴，小提琴"
    assert caption("下雨天", {}) == "下雨天"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("摇滚，男声", {"genre": "摇滚", "singer": "male", "mood": "伤感"}),
        ("快歌", {"tempo_class": "slow"}),  # the score's tempo is what will be played
        ("电吉他和鼓", {"instruments": ("电吉他", "架子鼓", "钢琴", "小提琴")}),
        ("不要钢琴", {"instruments": ("小提琴",), "singer": "female"}),
    ],
)
def test_what_is_said_wins_but_for_the_tempo(said: str, heard: Attributes) -> None:
    told = attributes(caption(said, PLANNED).removeprefix(said))
    assert {name: told[name] for name in heard} == heard  # type: ignore[literal-required]


KNOWN = {
    "genre": ("抒情", "摇滚"), "singer": ("female", "male", "none"), "harmony": ("钢琴", "木吉他"),
    "bass": ("低音提琴",), "lead": ("小提琴", "萨克斯"), "pad": ("弦乐",), "drums": ("架子鼓",),
}  # fmt: skip
BAND = {"harmony": "钢琴", "lead": "小提琴", "theme": "雨"}
ALL = {"genre": "抒情", "singer": "female", "harmony": "钢琴", "lead": "小提琴"}


@pytest.mark.parametrize(
    ("said", "players"),
    [
        ("下雨天", ALL),
        ("摇滚，男声", ALL | {"genre": "摇滚", "singer": "male"}),
        ("弦乐铺底，低音提琴", ALL | {"pad": "弦乐", "bass": "低音提琴"}),
        ("钢琴", ALL),  # nobody plays twice
        ("萨克斯", ALL),  # the lead is taken: the lead sheet says by whom
        ("不要钢琴，不要小提琴", {"genre": "抒情", "singer": "female"}),
        (
            "爵士，古筝",
            {role: ALL[role] for role in ("singer", "harmony", "lead")},
        ),  # never met by this model
    ],
)
def test_everybody_gets_the_role_that_is_free(said: str, players: dict[str, str]) -> None:
    assert arrangement(said, PLANNED, BAND, KNOWN) == players


def test_a_mood_is_told_by_name_to_a_model_that_knows_moods() -> None:
    moods = KNOWN | {"mood": ("伤感", "欢快")}
    assert arrangement("下雨天", PLANNED, BAND, moods)["mood"] == "伤感"  # the plan's
    assert arrangement("欢快的歌", PLANNED, BAND, moods)["mood"] == "欢快"
    assert "mood" not in arrangement("热血的歌", PLANNED, BAND, moods)  # never met by this model


def test_a_player_of_a_sheet_that_the_model_never_met_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert arrangement("下雨天", PLANNED, BAND | {"pad": "火箭", "bass": "低音提琴"}, KNOWN) == ALL | {
        "bass": "低音提琴"
    }
    assert caplog.messages == ["the song model doesn't know the pad '火箭' of the lead sheet"]


def test_a_sheet_without_players_is_played_by_those_who_were_asked_for() -> None:
    asked = arrangement("木吉他和萨克斯，架子鼓，弦乐", {}, {}, KNOWN)
    assert asked == {"harmony": "木吉他", "lead": "萨克斯", "drums": "架子鼓", "pad": "弦乐"}
    assert arrangement("男声", {"singer": "none"}, {}, KNOWN) == {"singer": "none"}
    assert arrangement("木吉他和萨克斯", PLANNED, BAND, {}) == {}


def test_a_score_without_words_is_told_as_an_instrumental() -> None:
    sheet = score(1, sung=False)
    assert of_score(sheet) == {"tempo_class": "fast", "singer": "none", "instruments": ()}
    told = caption("女声唱的歌", of_score(sheet)).removeprefix("女声唱的歌")
    assert attributes(told)["singer"] == "none"


def test_only_what_the_corpus_knows_is_taken_from_a_score(caplog: pytest.LogCaptureFixture) -> None:
    sheet = replace(score(1), meta={"genre": "说不清", "singer": "male", "harmony": "钢琴", "source": "x"})
    assert of_score(sheet) == {"tempo_class": "fast", "singer": "male", "instruments": ("钢琴",)}
    assert caplog.messages == ["the song model doesn't know the genre '说不清' of the lead sheet"]


def test_a_plan_and_its_score_tell_the_same() -> None:
    writer = tiny_pipeline().writer
    sketch = writer.plan("一首慢歌，女声，钢琴", seed=3, duration=12)
    lyrics = writer.write("一首慢歌，女声，钢琴", sketch, seed=3)
    assert of_score(writer.compose(lyrics, sketch, seed=3)) == of_sketch(sketch, lyrics)
    assert of_sketch(sketch, lyrics)["singer"] == "female"


def test_words_are_sung_though_a_plan_has_no_singer() -> None:
    sketch = tiny_pipeline().writer.plan("纯音乐", seed=3, duration=12)
    assert of_sketch(sketch, Lyrics(()))["singer"] == "none"
    assert "singer" not in of_sketch(sketch, Lyrics.parse("<verse>\n细雨敲着窗"))


def test_an_instrument_that_nobody_knows_is_told_as_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    found = arrangement("古风，葫芦丝", {}, {}, {"lead": ("箫", "笛子")})
    assert found == {"lead": "箫"}
    assert "know no 葫芦丝: they are told 箫" in caplog.text
    caplog.clear()
    arrangement("古风，不要葫芦丝", {}, {}, {"lead": ("箫", "笛子")})
    assert not caplog.text
