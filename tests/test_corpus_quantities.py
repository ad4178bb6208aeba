"""Numbers of descriptions: how people write a tempo, a key and a length, and what only looks like one."""

import pytest

from common.numerals import numeral
from corpus import quantities


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("八十", 80),
        ("一百二", 120),
        ("一百二十", 120),
        ("一百零五", 105),
        ("九十五", 95),
        ("十二", 12),
        ("一百二十八", 128),
        ("120", 120),
        ("2.5", 2.5),
        ("两", 2),
        ("一二零", 120),
    ],
)
def test_numbers(text: str, value: float):
    assert quantities.number(text) == value


def test_all_numerals_are_read_back():
    assert all(quantities.number(numeral(value)) == value for value in range(1, 1000))


def test_what_is_no_number():
    assert [quantities.number(text) for text in ("很多", "", "百十", "十十")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("抒情，72 BPM", 72),
        ("每分钟八十拍", 80),
        ("速度一百二", 120),
        ("速度为75左右", 75),
        ("tempo 90", 90),
        ("BPM: 128", 128),
        ("90拍/分钟", 90),
        ("90 beats per minute", 90),
        ("四四拍，78拍", 78),
        ("16拍前奏的民谣", None),
        ("6/16拍", None),
        ("4/4拍", None),
        ("三拍子", None),
        ("速度慢", None),
        ("速度90到100之间", 95),
        ("90-100 BPM", 95),
        ("每分钟八十到九十拍", 85),
    ],
)
def test_tempi(text: str, value: float | None):
    assert quantities.tempo(text) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("♭B小调，72BPM", ("Bb", "minor")),
        ("bB小调", ("Bb", "minor")),
        ("降B大调", ("Bb", "major")),
        ("F sharp minor rock", ("F#", "minor")),
        ("B flat major", ("Bb", "major")),
        ("#F小调", ("F#", "minor")),
        ("F#m", ("F#", "minor")),
        ("Eb调", ("Eb", "major")),
        ("1=bE", ("Eb", "major")),
        ("1 = C", ("C", "major")),
        ("c小调", ("C", "minor")),
        ("ab minor", ("Ab", "minor")),
        ("降E宫调式", ("Eb", "gong")),
        ("in a minor key", None),
        ("I am sad", None),
        ("Cm7-F7进行", None),
        ("小调", None),
        ("A调式", None),
    ],
)
def test_keys(text: str, found: tuple[str, str] | None):
    assert quantities.key(text) == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("一分钟的钢琴曲", 60),
        ("两分半", 150),
        ("一分半钟", 90),
        ("一个半分钟", 90),
        ("半分钟", 30),
        ("时长90秒", 90),
        ("1分30秒", 90),
        ("3 minutes", 180),
        ("45 sec", 45),
        ("十秒钟", 10),
        ("每分钟80拍", None),
        ("三分钟热度", None),
        ("最后一分钟", None),
        ("五分钟后", None),
        ("前奏10秒的民谣", None),
        ("10秒的前奏，时长一分钟", 60),
        ("等了三分钟", None),
        ("三分钟的等待", None),
        ("五百秒", 500),
        ("两百秒", 200),
        ("90s风格", None),
        ("90拍", None),
        ("15s的广告歌", 15),
        ("短一点，十几秒就行", 15),
        ("3分30，民谣", 210),
        ("时长3:30", 210),
        ("学习时听，一个小时", 3600),
        ("半小时循环的轻音乐", 1800),
        ("每天工作12小时", None),
        ("第3小节15s后", None),
        ("三分钟七段", 180),
    ],
)
def test_durations(text: str, seconds: float | None):
    assert quantities.duration(text) == seconds
