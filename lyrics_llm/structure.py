"""The form that words are asked to have: sections, lines, characters a line, rhymes and pauses.

    (verse1)            a section, in any notation of common.lyric_notations
    ccc ccR             six characters with a pause after three; the last one rhymes (MuChin's signs)
    cccccc              a line that needn't rhyme
    7R                  the same as cccccccR, shorter; 3+4R has a pause

Lines with R in one section rhyme with each other. Without any R the writer chooses the rhymes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection, SectionTag, check_tag
from common.pinyin import is_han, plain, read, units
from common.rhyme import GROUPS, group, main_group
from lyrics_llm.tokens import LONGEST_LINE

OPEN, FREE = "?", "-"  # marks: the writer chooses; the line needn't rhyme. Any letter: lines of it rhyme
_SIGNS = re.compile(r"(?:c+|c*R|(?:c+ )+(?:c+|c*R))")
_NUMBERS = re.compile(r"(\d+(?:\+\d+)*)\s*(R?)")


@dataclass(frozen=True)
class LineForm:
    """What one line has to be."""

    count: int  # syllables
    mark: str = OPEN
    group: str | None = None  # the rhyme group (十三辙) that is asked for
    pauses: tuple[int, ...] = ()  # syllables before each pause

    def __post_init__(self) -> None:
        if not isinstance(self.count, Integral) or isinstance(self.count, bool):
            raise RequestError(f"the syllables of a line are a whole number, but {self.count!r} were asked")
        if not 1 <= self.count <= LONGEST_LINE:
            raise RequestError(f"a line has 1 to {LONGEST_LINE} syllables, but {self.count} were asked")
        if self.group is not None and self.group not in GROUPS:
            raise RequestError(f"the rhyme {self.group!r} isn't known: use one of {'、'.join(GROUPS)}")

    def spaced(self, line: str) -> str:
        """A line of Chinese with its pauses as spaces."""
        for place in sorted(self.pauses, reverse=True):
            line = line[:place] + " " + line[place:]
        return line


@dataclass(frozen=True)
class Structure:
    """The form of a whole song."""

    sections: tuple[tuple[SectionTag, tuple[LineForm, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> "Structure":
        """Read the notation above. Raises RequestError naming the line that isn't understood."""
        sections = []
        try:
            found = Lyrics.parse(text, words=False)
        except LyricsError as error:
            raise RequestError(f"the structure can't be read: {error}") from error
        for section in found.sections:
            lines = [_line_form(line) for line in section.lines]
            if any(form.mark != OPEN for form in lines):
                lines = [replace(f, mark=FREE) if f.mark == OPEN else f for f in lines]
            sections.append((section.tag, tuple(lines)))
        marked = any(f.mark != OPEN for _, lines in sections for f in lines)
        if marked:  # a section without R in a marked structure needn't rhyme
            sections = [
                (tag, tuple(replace(f, mark=FREE) if f.mark == OPEN else f for f in lines))
                for tag, lines in sections
            ]
        return cls(tuple(sections))

    @classmethod
    def of(
        cls, given: "Structure | Lyrics | str | Sequence[tuple[SectionTag, Sequence[int]]]"
    ) -> "Structure":
        """The structure that somebody means: its text, lyrics to be like, or sections with counts.

        Raises:
            RequestError: it is none of these; or a tag, a count or a line can't be; the message names it.
        """
        if isinstance(given, Structure):
            return given
        if isinstance(given, str):
            return cls.parse(given)
        if isinstance(given, Lyrics):
            return cls(tuple((s.tag, _forms_of(s, n)) for n, s in enumerate(given.sections, 1)))
        try:
            pairs = [(tag, list(counts)) for tag, counts in given]
        except (TypeError, ValueError) as error:
            raise RequestError(
                "a structure is text, lyrics, or sections with the syllables of their lines such as "
                f"[('verse', (7, 7))], but got {given!r}"
            ) from error
        return cls(tuple((_tag(tag), tuple(LineForm(n) for n in counts)) for tag, counts in pairs))

    def rhymed(self, rhyme: str | None) -> "Structure":
        """With the rhyme that is asked: a group such as 江阳, or a scheme such as AABA or -A-A.

        A group holds for the lines with R, or for all where none is marked; a scheme is gone through
        in every section.

        Raises:
            RequestError: it is neither.
        """
        if not rhyme:
            return self
        if rhyme in GROUPS:
            marked = self.marked
            return self._mapped(
                lambda form, _: form if marked and form.mark == FREE else replace(form, mark="A", group=rhyme)
            )
        scheme = rhyme.upper().replace("X", FREE)
        if not re.fullmatch(r"[A-F-]+", scheme) or not any(scheme.count(c) > 1 for c in set(scheme) - {FREE}):
            raise RequestError(
                f"the rhyme {rhyme!r} isn't known: use a scheme such as AABA or -A-A, "
                f"or one of {'、'.join(GROUPS)}"
            )
        return self._mapped(lambda form, index: replace(form, mark=scheme[index % len(scheme)], group=None))

    def _mapped(self, change) -> "Structure":  # type: ignore[no-untyped-def]
        return Structure(
            tuple((tag, tuple(change(f, i) for i, f in enumerate(lines))) for tag, lines in self.sections)
        )

    @property
    def marked(self) -> bool:
        """Whether it says itself which lines rhyme."""
        return any(f.mark not in (OPEN, FREE) for _, lines in self.sections for f in lines)

    @property
    def shape(self) -> list[tuple[SectionTag, tuple[int, ...]]]:
        """Sections with the syllables of every line."""
        return [(tag, tuple(form.count for form in lines)) for tag, lines in self.sections]

    def spaced(self, lyrics: Lyrics) -> Lyrics:
        """Lyrics of this form with their pauses as spaces."""
        return Lyrics(
            tuple(
                LyricSection(s.tag, tuple(form.spaced(line) for form, line in zip(forms, s.lines)))
                for s, (_, forms) in zip(lyrics.sections, self.sections)
            )
        )

    def __str__(self) -> str:
        """The notation above; letters and groups that it has no sign for are R."""
        parts = []
        for tag, lines in self.sections:
            parts.append("\n".join((f"<{tag}>", *map(_written, lines))))
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Kept:
    """How well lyrics keep a structure."""

    sections: int  # with the asked tag
    lines: int  # lines with the asked number of syllables
    rhymed: int  # marked lines that rhyme as asked
    marked: int  # lines that have to rhyme
    form: bool  # every tag, number of lines and number of syllables is the asked one


def kept(structure: Structure, lyrics: Lyrics) -> Kept:
    """Compare lyrics with their structure; a marked line rhymes when it is in its letter's group.

    A letter's group is the asked one, else the one that most of its lines end in.
    """
    pairs = list(zip(structure.sections, lyrics.sections))
    rhymed = marked = exact = 0
    for (_, forms), section in pairs:
        exact += sum(f.count == len(units(line)) for f, line in zip(forms, section.lines))
        for letter in {f.mark for f in forms} - {OPEN, FREE}:
            held = [(f, line) for f, line in zip(forms, section.lines) if f.mark == letter]
            wanted = held[0][0].group or main_group([line for _, line in held]) if held else ""
            marked += sum(f.mark == letter for f in forms)
            rhymed += sum(bool(wanted) and group(line) == wanted for _, line in held)
    shape = [(s.tag, tuple(len(units(line)) for line in s.lines)) for s in lyrics.sections]
    tags = sum(tag == section.tag for (tag, _), section in pairs)
    return Kept(tags, exact, rhymed, marked, shape == structure.shape)


def _line_form(line: str) -> LineForm:
    if _SIGNS.fullmatch(line):
        pieces = [len(piece) for piece in line.split(" ")]
        rhymed = line.endswith("R")
    elif match := _NUMBERS.fullmatch(line):
        pieces = [int(n) for n in match[1].split("+")]
        rhymed = bool(match[2])
    else:
        raise RequestError(
            f"a line of a structure is signs such as cccR or a number such as 7R, but got {line!r}"
        )
    ends = [sum(pieces[: i + 1]) for i in range(len(pieces) - 1)]
    return LineForm(sum(pieces), "A" if rhymed else OPEN, None, tuple(ends))


def _tag(tag: object) -> SectionTag:
    try:
        return check_tag(tag)  # type: ignore[arg-type]
    except LyricsError as error:
        raise RequestError(f"the structure can't be read: {error}") from error


def fault_of(line: str) -> str:
    """Why no line can be written like this one, "" when one can."""
    count = len(units(line))
    if not 1 <= count <= LONGEST_LINE:
        return f"{line!r} has {count} syllables, but a line has 1 to {LONGEST_LINE}"
    try:
        read(line)
    except LyricsError as error:
        return str(error)
    return ""


def _forms_of(section: LyricSection, number: int) -> tuple[LineForm, ...]:
    """The form of written lines, so that others can be written like them.

    Raises:
        RequestError: a line has no form; the message names it and its section, the `number`th.
    """
    for place, line in enumerate(section.lines, 1):
        if fault := fault_of(line):
            raise RequestError(f"section {number} (<{section.tag}>), line {place}: {fault}")
    main = main_group(section.lines)
    forms = []
    for line in section.lines:
        pieces = [len(units(piece)) for piece in plain(line).split()]
        ends = tuple(sum(pieces[: i + 1]) for i in range(len(pieces) - 1))
        # Around letters and digits people put spaces for the eye.
        chinese = all(is_han(c) for c in plain(line) if c.isalnum())
        mark = "A" if main and group(line) == main else FREE
        forms.append(LineForm(len(units(line)), mark, None, tuple(e for e in ends if e) if chinese else ()))
    return tuple(forms)


def _written(form: LineForm) -> str:
    edges = [0, *form.pauses, form.count]
    pieces = ["c" * (b - a) for a, b in zip(edges, edges[1:])]
    rhymed = form.mark not in (OPEN, FREE)
    return " ".join(pieces)[: -1 if rhymed else None] + "R" * rhymed
