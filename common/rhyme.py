"""Rhyme by the thirteen tracks (十三辙) of song and opera, or the eighteen rhymes (十八韵).

Two syllables rhyme when their finals stand in one group of the table; tone doesn't matter. Both
tables are on `common.pinyin.FINALS`. The thirteen tracks are what songs rhyme by; the eighteen
rhymes of the Zhonghua Xinyun (1941) are finer: they split 梭坡, 一七 and 中东.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from common.errors import LyricsError
from common.pinyin import is_han, plain, read, readings_of, split, units

Table = Literal["十三辙", "十八韵"]

TRACKS: dict[str, tuple[str, ...]] = {
    "发花": ("a", "ia", "ua"),
    "梭坡": ("o", "e", "uo", "io"),
    "乜斜": ("ie", "ve"),
    "姑苏": ("u",),
    "一七": ("i", "-i", "v", "er"),
    "怀来": ("ai", "uai"),
    "灰堆": ("ei", "ui"),
    "遥条": ("ao", "iao"),
    "油求": ("ou", "iu"),
    "言前": ("an", "ian", "uan", "van"),
    "人辰": ("en", "in", "un", "vn"),
    "江阳": ("ang", "iang", "uang"),
    "中东": ("eng", "ing", "ong", "iong", "ueng"),
}
EIGHTEEN: dict[str, tuple[str, ...]] = {
    "麻": ("a", "ia", "ua"), "波": ("o", "uo", "io"), "歌": ("e",), "皆": ("ie", "ve"), "支": ("-i",),
    "儿": ("er",), "齐": ("i",), "微": ("ei", "ui"), "开": ("ai", "uai"), "模": ("u",), "鱼": ("v",),
    "侯": ("ou", "iu"), "豪": ("ao", "iao"), "寒": ("an", "ian", "uan", "van"),
    "痕": ("en", "in", "un", "vn"), "唐": ("ang", "iang", "uang"), "庚": ("eng", "ing", "ueng"),
    "东": ("ong", "iong"),
}  # fmt: skip
GROUPS: tuple[str, ...] = tuple(TRACKS)
TABLES: dict[str, dict[str, tuple[str, ...]]] = {"十三辙": TRACKS, "十八韵": EIGHTEEN}
_GROUP_OF = {
    name: {final: group for group, finals in table.items() for final in finals}
    for name, table in TABLES.items()
}


def group_of_reading(reading: str, table: Table = "十三辙") -> str:
    """The group of one reading: `group_of_reading("zhuang1") == "江阳"`."""
    return _GROUP_OF[table][split(reading)[1]]


@lru_cache(maxsize=65536)
def group(text: str, table: Table = "十三辙") -> str:
    """The group of a line's last sung character, "" when it doesn't end in Chinese.

    Punctuation and inline readings at the end are passed over: `group("我还{huan2}。") == "言前"`.
    """
    letters = [c for c in plain(text) if c.isalnum()]
    if not letters or not is_han(letters[-1]):
        return ""
    return group_of_reading(read(text)[-1], table)


def rhyme_groups(character: str, table: Table = "十三辙") -> frozenset[str]:
    """The groups of all readings that a character can have, alone or in a phrase."""
    return frozenset(group_of_reading(reading, table) for reading in readings_of(character))


def rhymes(a: str, b: str, table: Table = "十三辙") -> bool:
    """Whether two lines (or characters) end in the same group."""
    return bool(group(a, table)) and group(a, table) == group(b, table)


def scheme(lines: Sequence[str], table: Table = "十三辙") -> str:
    """A letter a line, the same for lines that rhyme: `"AABA"`; `-` for a line that rhymes with none."""
    groups = [group(line, table) for line in lines]
    letters: dict[str, str] = {}
    out = []
    for name in groups:
        if not name or groups.count(name) < 2:
            out.append("-")
        else:
            out.append(letters.setdefault(name, chr(ord("A") + len(letters))))
    return "".join(out)


def density(lines: Sequence[str], table: Table = "十三辙") -> float:
    """Share of the lines of a section that rhyme with another of its lines.

    Raises:
        LyricsError: there are no lines.
    """
    if not lines:
        raise LyricsError("the rhyme of a section is measured on its lines, but it has none")
    return sum(letter != "-" for letter in scheme(lines, table)) / len(lines)


def main_group(lines: Sequence[str], table: Table = "十三辙") -> str:
    """The group that most lines end in, the earliest of those as common; "" when none rhymes."""
    counts = Counter(name for line in lines if (name := group(line, table)))
    best = max(counts.values(), default=0)
    return next(name for name in counts if counts[name] == best) if best > 1 else ""


def marks(lines: Sequence[str], table: Table = "十三辙") -> tuple[str, ...]:
    """The lines in MuChin's signs: `c` a sung character, `R` the last one of a line that rhymes, spaces kept.

    A line rhymes when it ends in the section's main group.
    """
    main = main_group(lines, table)
    return tuple(_marked(line, bool(main) and group(line, table) == main) for line in lines)


def _marked(line: str, rhymed: bool) -> str:
    pieces = " ".join("c" * len(units(piece)) for piece in line.split() if units(piece))
    return pieces[:-1] + "R" if rhymed and pieces else pieces
