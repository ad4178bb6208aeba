"""The thirteen tracks."""

from common.pinyin import FINALS
from common.rhyme import GROUPS, TRACKS, group, rhymes, scheme


def test_every_final_has_one_track() -> None:
    finals = [final for track in TRACKS.values() for final in track]
    assert sorted(finals) == sorted(FINALS[1:])
    assert len(GROUPS) == 13


def test_group_is_that_of_the_last_sung_character() -> None:
    assert group("月光洒在我的窗") == "江阳"
    assert group("我还{huan2}。") == "言前"
    assert group("长大") == "发花"
    assert group("音乐") == "乜斜"
    assert group("快乐") == "梭坡"
    assert group("say hello") == group("……") == ""


def test_scheme_names_rhyming_lines() -> None:
    lines = ["天上的月亮", "照着我故乡", "你在哪里", "陪我到天光"]
    assert scheme(lines) == "AA-A"
    assert scheme(["爱你", "等你", "梦", "风", "海"]) == "AABB-"
    assert rhymes(lines[0], lines[1])
    assert not rhymes(lines[0], lines[2])
    assert not rhymes("hello", "hello")
