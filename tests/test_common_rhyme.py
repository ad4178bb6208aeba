"""The thirteen tracks and the eighteen rhymes."""

import numpy as np
import pytest

from common.errors import LyricsError
from common.pinyin import FINALS
from common.rhyme import EIGHTEEN, GROUPS, TABLES, TRACKS, density, group, main_group, marks, rhymes, scheme


def test_every_final_has_one_group() -> None:
    for table, count in (("十三辙", 13), ("十八韵", 18)):
        finals = [final for names in TABLES[table].values() for final in names]
        assert sorted(finals) == sorted(FINALS[1:])
        assert len(TABLES[table]) == count
    assert tuple(TRACKS) == GROUPS


def test_the_eighteen_are_finer_than_the_thirteen() -> None:
    homes = {name: {t for t in TRACKS if set(finals) & set(TRACKS[t])} for name, finals in EIGHTEEN.items()}
    assert all(len(tracks) == 1 for tracks in homes.values())


def test_group_is_that_of_the_last_sung_character() -> None:
    assert group("月光洒在我的窗") == "江阳"
    assert group("我还{huan2}。") == "言前"
    assert group("长大") == "发花"
    assert group("音乐") == "乜斜"
    assert group("快乐") == "梭坡"
    assert group("say hello") == group("……") == ""


BY_HAND = """
花 发花 麻, 我 梭坡 波, 歌 梭坡 歌, 月 乜斜 皆, 路 姑苏 模, 诗 一七 支, 你 一七 齐, 雨 一七 鱼, 儿 一七 儿,
海 怀来 开, 泪 灰堆 微, 桥 遥条 豪, 秋 油求 侯, 远 言前 寒, 春 人辰 痕, 光 江阳 唐,
风 中东 庚, 梦 中东 庚, 空 中东 东, 穷 中东 东
"""


def test_groups_by_hand() -> None:
    rows = [entry.split() for entry in BY_HAND.replace("\n", " ").split(",")]
    assert len(rows) == 20
    for character, thirteen, eighteen in rows:
        assert (group(character), group(character, "十八韵")) == (thirteen, eighteen)


def test_scheme_names_rhyming_lines() -> None:
    lines = ["天上的月亮", "照着我故乡", "你在哪里", "陪我到天光"]
    assert scheme(lines) == "AA-A"
    assert scheme(["爱你", "等你", "梦", "风", "海"]) == "AABB-"
    assert scheme(["一首诗", "想起你"]) == "AA"
    assert scheme(["一首诗", "想起你"], "十八韵") == "--"
    assert rhymes(lines[0], lines[1])
    assert not rhymes(lines[0], lines[2])
    assert not rhymes("hello", "hello")


def test_density_and_marks() -> None:
    lines = ["天上的 月亮", "照着我故乡", "你在哪里", "hello 天光"]
    assert density(lines) == 0.75
    assert main_group(lines) == "江阳"
    assert marks(lines) == ("ccc cR", "ccccR", "cccc", "c cR")
    assert main_group(["天", "海"]) == ""
    assert marks(["天", "海"]) == ("c", "c")
    with pytest.raises(LyricsError, match="has none"):
        density([])


def test_density_of_random_lines_has_its_closed_form() -> None:
    """n lines that end in group g with chance p_g: 1 − Σ p_g (1 − p_g)^(n−1)."""
    rng = np.random.default_rng(0)
    ends, chances, n = "花我月路你海泪桥秋远春光风", np.array([3, 2, 1, 1, 4, 2, 1, 2, 2, 4, 2, 4, 3]) / 31, 4
    expected = 1 - float((chances * (1 - chances) ** (n - 1)).sum())
    drawn = [density([ends[i] for i in rng.choice(13, n, p=chances)]) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * np.std(drawn) / 4000**0.5)
