"""Lyrics: sections with tags, each with its lines."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from common.errors import LyricsError

SectionTag = Literal["intro", "verse", "pre-chorus", "chorus", "bridge", "interlude", "outro"]
TAGS: tuple[str, ...] = get_args(SectionTag)

# What people write for a tag: English of several sources, MuChin's "ending", and Chinese.
_ALIASES: dict[str, SectionTag] = {
    "intro": "intro", "前奏": "intro", "开头": "intro",
    "verse": "verse", "主歌": "verse",
    "pre-chorus": "pre-chorus", "prechorus": "pre-chorus", "pre chorus": "pre-chorus", "导歌": "pre-chorus",
    "预副歌": "pre-chorus",
    "chorus": "chorus", "hook": "chorus", "refrain": "chorus", "副歌": "chorus",
    "bridge": "bridge", "桥段": "bridge", "桥": "bridge", "过渡": "bridge",
    "interlude": "interlude", "inst": "interlude", "instrumental": "interlude", "solo": "interlude",
    "间奏": "interlude",
    "outro": "outro", "ending": "outro", "end": "outro", "尾奏": "outro", "结尾": "outro", "尾声": "outro",
}  # fmt: skip
_HEADER = re.compile(
    r"^\s*(?:<(?P<a>[^<>]+)>|\[(?P<b>[^\[\]]+)\]|\((?P<c>[^()]+)\)|（(?P<d>[^（）]+)）|【(?P<e>[^【】]+)】"
    r"|(?P<f>[^\s:：][^:：]*?)\s*[:：])\s*$"
)
_ESCAPE = "\\"
_TIME = re.compile(r"^\s*(?:\[\d+:\d+(?:[.:]\d+)?\]\s*)+")
_LRC_META = re.compile(r"^\s*\[(?:ti|ar|al|by|offset|re|ve|length):[^\]]*\]\s*$", re.IGNORECASE)


def check_tag(tag: str) -> SectionTag:
    """The tag itself if it is one of `TAGS`. Raises LyricsError listing them."""
    if tag not in TAGS:
        raise LyricsError(f"unknown section tag {tag!r}: use one of {', '.join(TAGS)}")
    return tag  # type: ignore[return-value]


def tag_of(name: str) -> SectionTag | None:
    """The tag that people mean by a name such as `Verse 2`, `副歌` or `ending`; None when it's none."""
    name = re.sub(r"[\s_\-]*[0-9一二三四五六七八九十]+$", "", name.strip().lower()).replace("_", "-")
    return _ALIASES.get(name)


@dataclass(frozen=True)
class LyricSection:
    """A tag and its lines; no lines where nobody sings."""

    tag: SectionTag
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_tag(self.tag)
        for line in self.lines:
            if not line.strip() or line != line.strip() or "\n" in line:
                raise LyricsError(f"a line of <{self.tag}> is empty or has spaces at its ends: {line!r}")


@dataclass(frozen=True)
class Lyrics:
    """The words of a song. `str` writes the canonical form, `parse` reads it and what people paste."""

    sections: tuple[LyricSection, ...]

    @classmethod
    def parse(cls, text: str) -> "Lyrics":
        """Read `<verse>`, `[Verse 1]`, `(verse1)`, `【主歌】`, `主歌：`, LRC, or plain text.

        Plain text has a section for each block between blank lines, verse and chorus in turn.

        Raises:
            LyricsError: there are no words and no tags, or a header names an unknown section;
                the message names the line.
        """
        sections: list[tuple[SectionTag, list[str]]] = []
        tagged, blank = False, True
        for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            line = "" if _LRC_META.match(raw) else _TIME.sub("", raw).strip()
            header = _HEADER.match(line)
            line = line.removeprefix(_ESCAPE)
            if not line:
                blank = True
            elif header and (tag := _header_tag(header, number)):
                sections.append((tag, []))
                tagged, blank = True, False
            elif not sections or (blank and not tagged):
                sections.append(("verse" if len(sections) % 2 == 0 else "chorus", [line]))
                blank = False
            else:
                sections[-1][1].append(line)
                blank = False
        if not sections:
            raise LyricsError("the lyrics are empty: write at least one line, or a tag such as <intro>")
        return cls(tuple(LyricSection(tag, tuple(lines)) for tag, lines in sections))

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(line for section in self.sections for line in section.lines)

    def __str__(self) -> str:
        return "\n\n".join("\n".join((f"<{s.tag}>", *map(_escaped, s.lines))) for s in self.sections) + "\n"


def _escaped(line: str) -> str:
    """A line of words that looks like a header or a time gets a backslash, which `parse` takes away."""
    special = line.startswith(_ESCAPE) or _HEADER.match(line) or _TIME.match(line) or _LRC_META.match(line)
    return _ESCAPE + line if special else line


def _header_tag(header: re.Match[str], number: int) -> SectionTag | None:
    """The tag of a header line; None when the line is words that only look like one."""
    name = next(group for group in header.groups() if group is not None)
    tag = tag_of(name)
    if tag is None and (header["a"] or header["b"]):
        raise LyricsError(f"line {number}: unknown section {name!r}; use one of {', '.join(TAGS)}")
    return tag
