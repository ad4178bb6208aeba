"""Lyrics: sections with tags, each with its lines and, where they are known, their times."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

from common.errors import LyricsError
from common.lyric_notations import (
    ESCAPE,
    PLAYED,
    TAGS,
    Row,
    SectionTag,
    is_plain,
    is_title,
    order_of,
    rows,
    stamp,
    tag_of,
)
from common.pinyin import is_han, units, unsung

__all__ = ["TAGS", "LyricSection", "Lyrics", "SectionTag", "check_tag", "order_of", "tag_of"]

logger = logging.getLogger(__name__)


def check_tag(tag: str) -> SectionTag:
    """The tag itself if it is one of `TAGS`. Raises LyricsError listing them."""
    if tag not in TAGS:
        raise LyricsError(f"unknown section tag {tag!r}: use one of {', '.join(TAGS)}")
    return tag  # type: ignore[return-value]


@dataclass(frozen=True)
class LyricSection:
    """A tag and its lines; no lines where nobody sings."""

    tag: SectionTag
    lines: tuple[str, ...] = ()
    times: tuple[float | None, ...] = ()  # seconds at which each line begins, to a thousandth; () untimed
    number: int | None = field(default=None, compare=False)  # the 2 of [Verse 2]: a label, no content

    def __post_init__(self) -> None:
        check_tag(self.tag)
        for line in self.lines:
            if not line.strip() or line != line.strip() or "\n" in line or "\r" in line:
                raise LyricsError(
                    f"a line of <{self.tag}> is empty, is more than one or has spaces at its ends: {line!r}"
                )
        if self.times and len(self.times) != len(self.lines):
            raise LyricsError(f"<{self.tag}> has {len(self.lines)} lines, but {len(self.times)} times")
        if any(t is not None and not 0 <= t < 360_000 for t in self.times):
            raise LyricsError(f"a line of <{self.tag}> begins before the song or after a hundred hours")
        rounded = tuple(None if t is None else round(t, 3) for t in self.times)
        object.__setattr__(self, "times", rounded if any(t is not None for t in rounded) else ())


@dataclass(frozen=True)
class Lyrics:
    """The words of a song. `str` writes the canonical form, `parse` reads it and what people paste."""

    sections: tuple[LyricSection, ...]

    @classmethod
    def parse(cls, text: str, words: bool = True) -> "Lyrics":
        """Read any of the notations of `common.lyric_notations`, or plain text.

        Plain text and LRC have a section for each block between blank lines, verse and chorus in
        turn; an LRC line of several times is sung as often. So has text whose only headers are of
        parts that are played (间奏), and behind such a header and a blank line the singing begins
        again. A header in somebody's notation that names no known section, such as `[Rap]`, is left
        out with a warning that names its line; its words are kept. So are credits (作词：某人), marks of
        who sings (男：), a title above the words (《月光》), directions (（音乐）), chords (C G Am F) and
        the numbers and times of subtitles. Where a direction repeats a section that stands above (重复副歌),
        its lines come again, and so do those of a chorus above where `[Chorus]` stands a second time without
        lines; a `<chorus>` without lines is one that nobody sings. Without headers in `<>` a line is parted
        at its strokes (月光 / 星光), a paragraph at its commas and stops, and numbers of a list are left
        out. Signs and scripts that aren't sung stay in their lines, with a warning.

        Args:
            words: the lines are to be sung; False for lines of other signs, whose use isn't checked.
        Raises:
            LyricsError: there are no words and no tags, or a header in `<>` names an unknown
                section; the message names the line.
        """
        found = rows(text)
        if words:
            _warn_of_unsung(found)
        return cls(tuple(_Reader(found).sections()))

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(line for section in self.sections for line in section.lines)

    @property
    def timed(self) -> bool:
        """Whether every line has its time."""
        return bool(self.lines) and all(
            len(s.times) == len(s.lines) and None not in s.times for s in self.sections
        )

    def sung(self) -> "Lyrics":
        """Without the lines that have no syllable, such as ♪♪♪; a section may have none left."""
        kept = [[bool(units(line)) for line in section.lines] for section in self.sections]
        if all(map(all, kept)):
            return self
        return Lyrics(
            tuple(
                replace(s, lines=tuple(compress(s.lines, keep)), times=tuple(compress(s.times, keep)))
                for s, keep in zip(self.sections, kept)
            )
        )

    def lrc(self, title: str = "") -> str:
        """The lines with their times, as players read them.

        Raises:
            LyricsError: a line has no time.
        """
        if not self.timed:
            raise LyricsError("an LRC file needs a time for every line, but these lyrics don't have them")
        timed = sorted((t or 0.0, line) for s in self.sections for t, line in zip(s.times, s.lines))
        head = f"[ti:{title}]\n" if title else ""
        texts = [ESCAPE + line if is_title(line, timed=True) else _escaped(line) for _, line in timed[:1]]
        texts += [_escaped(line) for _, line in timed[1:]]
        return head + "".join(f"{stamp(t)}{text}\n" for (t, _), text in zip(timed, texts))

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_written(s)) for s in self.sections) + "\n"


# Rows that nobody sings, and what they are.
_UNSUNG = {
    "credit": "a credit", "singer": "who sings", "title": "a title", "direction": "a direction",
    "chords": "a row of chords", "subtitle": "a number or a time of a subtitle",
}  # fmt: skip


class _Reader:
    """Makes sections of rows."""

    def __init__(self, found: Sequence[Row]) -> None:
        headers = [row for row in found if row.kind in ("header", "unknown")]
        # Headers of parts that are played part the words, but blank lines do, too.
        self.headed, self.tagged = bool(headers), any(row.tag not in PLAYED for row in headers)
        self.canonical = any(row.ours for row in found)  # where each line is what it is
        self.rows = found if self.headed else _by_time(found)
        # (tag, number, lines, times, line of the header)
        self.parts: list[tuple[SectionTag, int | None, list[str], list[float | None], int]] = []
        self.subtitled = False  # that there are subtitles has been said
        self.repeats: dict[int, int] = {}  # how often a part is sung, by its place, where more than once
        self.ours: set[int] = set()  # places of parts whose header is in Baihua's own notation

    def sections(self) -> list[LyricSection]:
        blank, closed = True, False  # closed: the last part has all its lines
        parted = False  # behind a header of no known section words are a part of their own
        for row, below in zip(self.rows, [*self.rows[1:], None]):
            if row.kind == "blank":
                blank = True
                continue
            if row.kind == "direction" and self._again(row):
                blank = closed = True
                continue
            if row.kind == "direction" and row.tag and self._is_first(row, below):
                self._open(row.tag, row.order, row.number)
                blank = closed = False
                continue
            if row.kind in _UNSUNG:
                self._left_out(row)
                continue
            if row.kind == "header" and row.tag:
                self._header(row)
            elif row.kind == "unknown":
                self._unknown(row)
            else:
                if closed or not self.parts or (blank and (not self.tagged or self._is_played())):
                    self._open(self._next_tag(), None, row.number)
                elif parted:
                    self._open(self.parts[-1][0], None, row.number)
                self._line(row)
            parted = row.kind == "unknown" and bool(self.parts) and bool(self.parts[-1][2])
            blank = closed = False
        if not self.parts:
            raise LyricsError("the lyrics are empty: write at least one line, or a tag such as <intro>")
        self._sing_again()
        self._warn_of_silence()
        return [section for place in range(len(self.parts)) for section in self._sung(place)]

    def _is_played(self) -> bool:
        """Whether the last part is one for instruments, with no words so far."""
        return self.parts[-1][0] in PLAYED and not self.parts[-1][2]

    def _next_tag(self) -> SectionTag:
        """Of a part without a header: verse and chorus in turn, verse among parts that have one."""
        sung = sum(part[0] not in PLAYED for part in self.parts)
        return "chorus" if sung % 2 and not self.tagged else "verse"

    def _sung(self, place: int) -> list[LyricSection]:
        """A part as often as its header says; once where it has times, which are of one singing."""
        tag, number, lines, times, at = self.parts[place]
        often = self.repeats.get(place, 1) if lines else 1
        section = LyricSection(tag, tuple(lines), tuple(times), number)
        if often > 1 and section.times:
            logger.warning("line %d: <%s> has times, so it is sung once and not %d times", at, tag, often)
            often = 1
        elif often > 1:
            logger.info("line %d: <%s> is sung %d times", at, tag, often)
        return [section] * often

    def _open(self, tag: SectionTag, number: int | None, at: int) -> None:
        self.parts.append((tag, number, [], [], at))

    def _header(self, row: Row) -> None:
        assert row.tag is not None, "a header row has a tag"
        if row.note:
            logger.warning("line %d: of %r only the section <%s> is kept", row.number, row.text, row.tag)
        self._open(row.tag, row.order, row.number)
        self.repeats[len(self.parts) - 1] = row.repeats
        if row.ours:
            self.ours.add(len(self.parts) - 1)

    def _left_out(self, row: Row) -> None:
        if row.kind == "subtitle":
            if not self.subtitled:
                logger.warning(
                    "line %d: numbers and times of subtitles aren't sung, here and below", row.number
                )
            self.subtitled = True
            return
        logger.warning("line %d: %r is %s and isn't sung", row.number, row.text, _UNSUNG[row.kind])

    def _again(self, row: Row) -> bool:
        """Whether a direction repeats a part above, which then comes again; not one with times of its own."""
        for tag, number, lines, times, _ in reversed(self.parts):
            if tag == row.tag and lines and row.order in (None, number):
                if any(time is not None for time in times):
                    return False
                self._open(tag, number, row.number)
                self.parts[-1][2].extend(lines)
                self.parts[-1][3].extend(times)
                self.repeats[len(self.parts) - 1] = row.repeats
                logger.info("line %d: %r: <%s> is sung again", row.number, row.text, tag)
                return True
        return False

    def _is_first(self, row: Row, below: Row | None) -> bool:
        """Whether a direction repeats a part that isn't above, and words follow: 副歌（重复） over them."""
        return below is not None and below.kind == "line" and all(part[0] != row.tag for part in self.parts)

    def _unknown(self, row: Row) -> None:
        if row.ours:
            raise LyricsError(
                f"line {row.number}: unknown section {row.text!r}; use one of {', '.join(TAGS)}"
            )
        logger.warning(
            "line %d: %r names no section that is known (%s) and is left out; the words after it are kept",
            row.number, row.text, ", ".join(TAGS),
        )  # fmt: skip

    def _line(self, row: Row) -> None:
        if len(row.times) > 1 and self.headed:
            logger.warning("line %d: of its %d times the first is kept", row.number, len(row.times))
        texts = [row.text] if row.escaped or row.times or self.canonical else _parts_of(row.text)
        if len(texts) > 1:
            logger.warning("line %d: it is sung as %d lines, parted at its signs", row.number, len(texts))
        self.parts[-1][2].extend(texts)
        self.parts[-1][3].extend([row.times[0] if row.times else None, *[None] * (len(texts) - 1)])

    def _sing_again(self) -> None:
        """A second [Chorus] without lines means the lines of the one above, if these have no times."""
        above: dict[SectionTag, list[str]] = {}
        for place, (tag, _, lines, times, at) in enumerate(self.parts):
            if lines:
                above[tag] = [] if any(time is not None for time in times) else list(lines)
            elif tag in ("pre-chorus", "chorus") and above.get(tag) and place not in self.ours:
                lines += above[tag]
                times += [None] * len(lines)
                logger.warning("line %d: <%s> has no lines: those of the one above are sung again", at, tag)

    def _warn_of_silence(self) -> None:
        """Of another section that is named again without lines, say that it isn't sung."""
        sung = set()
        for tag, _, lines, _, at in self.parts:
            if lines:
                sung.add(tag)
            elif tag in sung and tag in ("verse", "pre-chorus", "chorus"):
                logger.warning("line %d: <%s> has no lines, so nobody sings there; write them again", at, tag)


def _warn_of_unsung(found: Sequence[Row]) -> None:
    for row in found:
        if row.kind == "line" and (silent := unsung(row.text)):
            logger.warning("line %d: %s of %r isn't sung", row.number, " ".join(silent), row.text)


_STROKES = re.compile("[/／|｜]")
_SENTENCES = re.compile(r"(?<=[，。！？；,!?;])\s*(?=[^\s，。！？；,!?;])")
_WHOLE = 18  # syllables of a line that is sung as one, whatever signs it has


def _parts_of(text: str) -> list[str]:
    """A line at its strokes (月光 / 星光), and one that is a whole paragraph at its commas and stops."""
    found = [part.strip() for part in _STROKES.split(text)]
    if len(found) > 1 and not all(part and is_han(part[0]) for part in found):  # AC/DC, 24/7
        found = [text]
    out: list[str] = []
    for part in found:
        long = len(part) > _WHOLE and _SENTENCES.search(part) and len(units(part)) > _WHOLE
        out += [p.strip() for p in _SENTENCES.split(part)] if long else [part]
    return [part for part in out if part]


def _by_time(found: Sequence[Row]) -> list[Row]:
    """Rows of an LRC file in the order in which they are sung, once for each of their times."""
    if not any(row.times for row in found):
        return list(found)
    while found and found[-1].kind == "blank" and not found[-1].times:
        found = found[:-1]
    spread: list[tuple[float, int, Row]] = []
    last = 0.0
    _say_of_pairs(found)
    for index, row in enumerate(found):
        for time in row.times or (last,):
            kept = (time,) if row.times else ()
            spread.append((time, index, replace(row, times=kept)))
        last = row.times[0] if row.times else last
    return [row for _, _, row in sorted(spread, key=lambda item: item[:2])]


def _say_of_pairs(found: Sequence[Row]) -> None:
    """That lines of the same time, as of an LRC file in two languages, are sung one behind the other."""
    lines = [row for row in found if row.kind == "line" and row.times]
    pairs = [(a, b) for a, b in zip(lines, lines[1:]) if a.times[0] == b.times[0]]
    if pairs:
        logger.warning(
            "line %d: %d lines begin when the line above them does, as in a file of two languages: "
            "all are sung, so leave out those that aren't to be",
            pairs[0][1].number, len(pairs),
        )  # fmt: skip


def _written(section: LyricSection) -> list[str]:
    head = f"<{section.tag}>" if section.number is None else f"<{section.tag} {section.number}>"
    times = section.times or (None,) * len(section.lines)
    return [
        head,
        *(("" if t is None else stamp(t)) + _escaped(line) for t, line in zip(times, section.lines)),
    ]


def _escaped(line: str) -> str:
    """A line of words that looks like a header or a time gets a backslash, which `parse` takes away."""
    return line if is_plain(line) else ESCAPE + line
