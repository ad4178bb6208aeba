"""Rhyme by the thirteen tracks (十三辙) of Northern Chinese song and opera.

Two syllables rhyme when their finals lie on the same track; tone doesn't matter. The table is
on `common.pinyin.FINALS`.
"""

from functools import lru_cache

from common.pinyin import is_han, plain, read, split

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
GROUPS: tuple[str, ...] = tuple(TRACKS)
_TRACK_OF = {final: name for name, finals in TRACKS.items() for final in finals}


def group_of_reading(reading: str) -> str:
    """The track of one reading: `group_of_reading("zhuang1") == "江阳"`."""
    return _TRACK_OF[split(reading)[1]]


@lru_cache(maxsize=65536)
def group(text: str) -> str:
    """The track of a line's last sung character, "" when it doesn't end in Chinese.

    Punctuation and inline readings at the end are passed over: `group("我还{huan2}。") == "言前"`.
    """
    letters = [c for c in plain(text) if c.isalnum()]
    if not letters or not is_han(letters[-1]):
        return ""
    return group_of_reading(read(text)[-1])


def rhymes(a: str, b: str) -> bool:
    """Whether two lines (or characters) end on the same track."""
    return bool(group(a)) and group(a) == group(b)


def scheme(lines: list[str] | tuple[str, ...]) -> str:
    """A letter a line, the same for lines that rhyme: `"AABA"`; `-` for a line that rhymes with none."""
    groups = [group(line) for line in lines]
    letters: dict[str, str] = {}
    out = []
    for name in groups:
        if not name or groups.count(name) < 2:
            out.append("-")
        else:
            out.append(letters.setdefault(name, chr(ord("A") + len(letters))))
    return "".join(out)
