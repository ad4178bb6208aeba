"""How people write lyrics down: section headers, LRC times, LeVo's one-line form.

`rows` turns text into numbered rows; `common.lyrics.Lyrics.parse` makes sections of them.

    <verse>  [Verse 1]  (verse1)  【主歌】  主歌：  **Chorus**  ## Bridge  Verse 2      headers
    [Verse 1] 月光洒在窗前        主歌：月光洒在窗前                               with a line behind
    [00:12.30]月光洒在窗前                                                      LRC
    [intro-short] ; [verse] 月光洒在窗前.我在等你 ; [chorus] 回家                   LeVo
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

SectionTag = Literal["intro", "verse", "pre-chorus", "chorus", "bridge", "interlude", "outro"]
TAGS: tuple[str, ...] = get_args(SectionTag)

# Names that nobody sings: they mean a section wherever they stand alone.
_STRONG: dict[str, SectionTag] = {
    "pre-chorus": "pre-chorus", "prechorus": "pre-chorus", "pre chorus": "pre-chorus", "导歌": "pre-chorus",
    "预副歌": "pre-chorus", "post-chorus": "chorus", "intro": "intro", "前奏": "intro", "verse": "verse",
    "主歌": "verse", "chorus": "chorus", "副歌": "chorus", "bridge": "bridge", "桥段": "bridge",
    "interlude": "interlude", "间奏": "interlude", "过门": "interlude", "outro": "outro", "尾奏": "outro",
}  # fmt: skip
# What people also write for a tag, between brackets: English, MuChin's "ending", LeVo's "inst", Chinese.
_ALIASES: dict[str, SectionTag] = _STRONG | {
    "开头": "intro", "hook": "chorus", "refrain": "chorus", "桥": "bridge", "过渡": "bridge",
    "inst": "interlude", "instrumental": "interlude", "solo": "interlude", "silence": "interlude",
    "ending": "outro", "end": "outro", "结尾": "outro", "尾声": "outro",
}  # fmt: skip
_LOOSE = re.compile(
    r"\b(?:" + "|".join(n for n in _ALIASES if n.isascii() and n not in ("end", "inst")) + r")\b|"
    + "|".join(n for n in _ALIASES if not n.isascii() and len(n) > 1)
)  # fmt: skip
_NUMBER = re.compile(r"[\s_\-]*([0-9]+|[一二三四五六七八九十]+)$")
_LENGTH = re.compile(r"[\s_\-]*(?:short|medium|long|[a-d])$")  # LeVo's intro-short, 主歌A
_NUMERALS = {c: n for n, c in enumerate("一二三四五六七八九十", 1)}

_HEADER = re.compile(
    r"(?:<(?P<angle>[^<>]+)>|\[(?P<square>[^\[\]]+)\]|［(?P<wide>[^［］]+)］|【(?P<lens>[^【】]+)】"
    r"|\((?P<round>[^()]+)\)|（(?P<full>[^（）]+)）|(?P<colon>[^\s:：][^:：]*?)\s*[:：])\s*(?P<rest>.*)"
)
_MARKDOWN = re.compile(r"(?:#{1,6}\s+(?P<a>.+?)|(?P<stars>\*{1,2}|_{2})(?P<b>.+?)(?P=stars)[:：]?)")
_BRACKETS = ("angle", "square", "wide", "lens")  # that a line of words doesn't begin with
ESCAPE = "\\"
_STAMP = re.compile(r"\[(\d+):(\d+)(?:[.:](\d{1,3}))?\]\s*")
_STAMPS = re.compile(rf"(?:{_STAMP.pattern})+")
_WORD_STAMP = re.compile(r"\s*<\d+:\d+(?:[.:]\d+)?>\s*")
_LRC_META = re.compile(r"\[(ti|ar|al|au|by|offset|re|tool|ve|length|#):([^\]]*)\]", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """What one line of text is."""

    number: int  # of the line in the text, from 1
    kind: Literal["line", "blank", "header", "unknown"]
    text: str = ""  # words of a line, name of a header
    tag: SectionTag | None = None
    order: int | None = None  # the 2 of [Verse 2]
    times: tuple[float, ...] = field(default=())  # seconds at which the line begins
    note: bool = False  # the header says more than its tag, such as [Chorus - whispered]
    ours: bool = False  # written as <…>, Baihua's own notation


def tag_of(name: str) -> SectionTag | None:
    """The tag that people mean by a name such as `Verse 2`, `副歌` or `ending`; None when it's none."""
    return _ALIASES.get(_bare(name))


def order_of(name: str) -> int | None:
    """The number in a name: 2 of `Verse 2` and `主歌二`; None when it has none."""
    match = _NUMBER.search(name.strip())
    if match is None:
        return None
    return int(match[1]) if match[1].isdigit() else _NUMERALS.get(match[1])


def _bare(name: str) -> str:
    name = _NUMBER.sub("", name.strip().lower()).replace("_", "-")
    return name if name in _ALIASES else _LENGTH.sub("", name)


def rows(text: str) -> list[Row]:
    """The rows of a text, LRC lines with their offset applied."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    lines = list(_levo(text)) or list(enumerate(text.split("\n"), 1))
    found: list[Row] = []
    offset = 0.0
    for number, line in lines:
        meta = _LRC_META.fullmatch(line.strip())
        if meta is None:
            found += _read(number, line.strip())
        elif meta[1].lower() == "offset" and re.fullmatch(r"\s*[+-]?\d+\s*", meta[2]):
            offset = int(meta[2]) / 1000
    return [_earlier(row, offset) for row in found] if offset else found


def is_plain(line: str) -> bool:
    """Whether a line of words is read as just these words; others need `ESCAPE` before them."""
    if line.startswith(ESCAPE) or _LRC_META.fullmatch(line) or _WORD_STAMP.search(line):
        return False
    return _read(0, line) == [Row(0, "line", line)]


def stamp(seconds: float) -> str:
    """`[01:02.34]`, with thousandths where hundredths aren't enough."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    digits = f"{rest % 1000:03d}"
    return f"[{minutes:02d}:{rest // 1000:02d}.{digits.removesuffix('0')}]"


def _levo(text: str) -> Iterator[tuple[int, str]]:
    """LeVo's form a row a line, nothing when the text isn't in it."""
    if not re.match(r"\s*\[[A-Za-z][^\]:]*\][^\n\[]*;\s*(?:\[|$)", text) or ESCAPE in text:
        return
    at = 0
    for chunk in text.split(";"):
        number = text.count("\n", 0, at + len(chunk) - len(chunk.lstrip())) + 1
        at += len(chunk) + 1
        match = re.match(r"\s*(\[[^\]]+\])(.*)", chunk, re.DOTALL)
        if match:
            yield number, match[1]
        for words in re.split(r"[.。\n]", match[2] if match else chunk):
            if words.strip():
                yield number, words


def _read(number: int, line: str) -> list[Row]:
    """The rows of one stripped line: usually one, two for a header with words behind it."""
    stamps = _STAMPS.match(line)
    times = _times(stamps[0]) if stamps else ()
    if stamps:
        line = line[stamps.end() :].strip()
    if line.startswith(ESCAPE):
        return [Row(number, "line", line[1:], times=times)]
    if times:
        line = _WORD_STAMP.sub(" ", line).strip() if " " in line else _WORD_STAMP.sub("", line).strip()
    if not line:
        return [Row(number, "blank", times=times)]
    header, rest = _header(number, line)
    if header is None:
        return [Row(number, "line", line, times=times)]
    return [header, Row(number, "line", rest, times=times)] if rest else [header]


def _header(number: int, line: str) -> tuple[Row | None, str]:
    """The header that a line begins with, and the words behind it."""
    marked = _MARKDOWN.fullmatch(line)
    if marked:
        inner = (marked["a"] or marked["b"]).strip()
        row, rest = _header(number, inner)
        return (row, rest) if row and not rest else (None, "")
    if _bare(line) in _STRONG:
        return Row(number, "header", line, tag_of(line), order_of(line)), ""
    match = _HEADER.fullmatch(line)
    if match is None:
        return None, ""
    style = next(s for s in (*_BRACKETS, "round", "full", "colon") if match[s] is not None)
    name, rest = match[style].strip(), match["rest"].strip()
    tag, note = tag_of(name), False
    if tag is None and style in _BRACKETS and (loose := _LOOSE.search(name.lower().replace("_", "-"))):
        tag, note = _ALIASES[loose[0]], True
    if rest and style == "colon" and _bare(name) not in _STRONG:
        return None, ""
    if tag is not None:
        return Row(number, "header", name, tag, order_of(name), note=note, ours=style == "angle"), rest
    if style in _BRACKETS and not rest:
        return Row(number, "unknown", name, ours=style == "angle"), ""
    return None, ""


def _times(stamps: str) -> tuple[float, ...]:
    return tuple(
        60 * int(m[1]) + int(m[2]) + (int(m[3]) / 10 ** len(m[3]) if m[3] else 0.0)
        for m in _STAMP.finditer(stamps)
    )


def _earlier(row: Row, offset: float) -> Row:
    """LRC's offset: a positive one brings the words up sooner."""
    times = tuple(max(0.0, t - offset) for t in row.times)
    return Row(row.number, row.kind, row.text, row.tag, row.order, times, row.note, row.ours)
