"""Readings against the dictionary, and the split of every syllable."""

import pytest

from common.errors import LyricsError
from common.pinyin import FINALS, INITIALS, SYLLABLES, plain, read, split, toneless, units


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("长大", "zhang3 da4"),
        ("快乐", "kuai4 le4"),
        ("银行", "yin2 hang2"),
        ("音乐", "yin1 yue4"),
        ("背着背包", "bei1 zhe5 bei1 bao1"),
        ("为了", "wei4 le5"),
        ("还有", "hai2 you3"),
        ("还钱", "huan2 qian2"),
        ("绿色的女人", "lv4 se4 de5 nv3 ren2"),
        ("嗯,我爱你!", "en2 wo3 ai4 ni3"),
        ("2024", "er4 ling2 er4 si4"),
        ("我说Hello世界", "wo3 shuo1 hello shi4 jie4"),
        ("我还{huan2}没走", "wo3 huan2 mei2 zou3"),
        ("", ""),
    ],
)
def test_reads_polyphones_by_phrase(text: str, readings: str) -> None:
    assert read(text) == readings.split()


def test_units_and_readings_go_together() -> None:
    text = "夜里, 还{huan2}有 don't stop 520个梦……"
    assert units(text) == ["夜", "里", "还", "有", "don't", "stop", "5", "2", "0", "个", "梦"]
    assert len(read(text)) == len(units(text))
    assert plain(text) == "夜里, 还有 don't stop 520个梦……"


@pytest.mark.parametrize(
    ("reading", "parts"),
    [
        ("zhuang1", ("zh", "uang", 1)),
        ("yuan2", ("", "van", 2)),
        ("xue2", ("x", "ve", 2)),
        ("lv4", ("l", "v", 4)),
        ("shi4", ("sh", "-i", 4)),
        ("ji3", ("j", "i", 3)),
        ("wo3", ("", "uo", 3)),
        ("you5", ("", "iu", 5)),
        ("er", ("", "er", 0)),
        ("stop", ("s", "o", 0)),
        ("baby", ("b", "a", 0)),
    ],
)
def test_splits(reading: str, parts: tuple[str, str, int]) -> None:
    assert split(reading) == parts


def test_every_syllable_splits_into_known_parts_and_no_two_alike() -> None:
    assert 400 <= len(SYLLABLES) <= 415
    parts = {s: split(s) for s in SYLLABLES}
    assert all(i in INITIALS and f in FINALS[1:] for i, f, _ in parts.values())
    assert len(set(parts.values())) == len(SYLLABLES)
    assert {f for _, f, _ in parts.values()} == set(FINALS[1:])
    assert toneless("zhang3") == "zhang"


def test_a_wrong_inline_reading_is_named() -> None:
    with pytest.raises(LyricsError, match=r"'还' is read 'foo9'"):
        read("我还{foo9}")
    with pytest.raises(LyricsError, match="but got '3'"):
        split("3")
