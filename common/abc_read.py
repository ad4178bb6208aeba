"""Reads ABC 2.1, our own and other people's, into a score (see `common.abc` for the dialect)."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from common.abc_parts import (
    Head,
    Measure,
    Part,
    broken_factor,
    characters,
    expanded,
    first_voice,
    joined_lines,
    notes_of,
    quarters,
    tempo_of,
    uncommented,
    word_tokens,
)
from common.abc_write import default_readings, plain_key, plain_title
from common.errors import ScoreError
from common.lyrics import tag_of
from common.score import HOLD, TICKS, ChordChange, Groove, Score, Section, check_metre
from common.theory import LETTERS, Key, foreign_chord, key_signature, pitch_class

logger = logging.getLogger(__name__)

_TOKEN = re.compile(
    r"""(?P<space>[\s`$y]+)
    |(?P<inline>\[[A-Za-z]:[^\]]*\])
    |(?P<text>"[^"]*")
    |(?P<mark>![^!]*!|\+[^+]*\+|\{[^}]*\})
    |(?P<bar>:*\|[|\]:]*(?:\s*\[?(?P<ending>\d(?:[,-]\d)*))?|\[\||::+|\[(?P<volta>\d(?:[,-]\d)*))
    |(?P<tuplet>\((?P<p>\d)(?::(?P<q>\d?))?(?::(?P<r>\d*))?)
    |(?P<chord>\[(?P<members>[^\]|]+)\](?P<chord_length>\d*/*\d*))
    |(?P<rest>[zxZX])(?P<rest_length>\d*/*\d*)
    |(?P<note>(?P<accidental>\^{1,2}|_{1,2}|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)(?P<length>\d*/*\d*))
    |(?P<broken>[<>]+)
    |(?P<tie>-)
    |(?P<slur>[()])
    |(?P<decoration>[.~H-Wh-w])""",
    re.VERBOSE,
)
_ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_TUPLET_TIME = {2: 3, 3: 2, 4: 3, 5: 2, 6: 2, 7: 2, 8: 3, 9: 2}
_MODES = {
    "": "major", "maj": "major", "ion": "major", "m": "minor", "min": "minor", "aeo": "minor",
    "dor": "dorian", "mix": "mixolydian", "lyd": "lydian", "phr": "phrygian", "loc": "locrian",
}  # fmt: skip
_NEAREST_SCALE = {"lydian": "major", "phrygian": "minor", "locrian": "minor"}


def _quoted(value: str) -> str:
    title = json.loads(value)
    if not isinstance(title, str):
        raise TypeError(f"a title is text in quotes, but got {value}")
    return title


# What a %%baihua- directive of the header says, by its name.
_HEADER: dict[str, Callable[[str], Any]] = {
    "title": _quoted, "tempo": float, "key": Key.parse, "swing": float, "lead-in": float, "tail": float,
    "meta": json.loads,
}  # fmt: skip


class _Reader:
    """Walks the lines of one tune and gathers what a score needs."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.extra: dict[str, Any] = {}  # values of the %%baihua- directives of the header
        self.metre: tuple[int, int] | None = None
        self.unit = Fraction(0)  # ticks of the unit length
        self.key: Key | None = None
        self.signature: dict[str, int] = {}
        self.parts: list[Part] = []
        self.measures: list[Measure] = []
        self.bar: dict[tuple[str, int], int] = {}  # accidentals of this bar by letter and octave
        self.row: list[tuple[Head, int]] = []  # heads of the last line of music, and their measure
        self.verse = 0
        self.row_goes_on = False  # the line of music ended in a backslash
        self.row_open = False  # the line of lyrics goes on below
        self.special: dict[int, str | None] = {}  # readings of the next line by place
        self.current: Measure | None = None
        self.opens, self.ending = False, 0  # of the measure to come
        self.chords: list[str] = []
        self.tuplet = 0, Fraction(1)  # notes left in it, factor of their lengths
        self.broken = ""
        self.tie: Head | None = None
        self.tie_place: tuple[str, int] = "", 0
        self.voice: str | None = None  # the one that is read; None: the tune names no voices
        self.other_voice = False
        self.unread: set[str] = set()  # voices whose loss has been told
        self.part_label = ""
        self.waiting_part: str | None = None  # began while another voice went on
        self.number = 0

    def fail(self, message: str) -> ScoreError:
        return ScoreError(f"ABC line {self.number}: {message}")

    # ---- lines ---------------------------------------------------------------------------

    def read(self, text: str) -> None:
        begun = False
        lines = joined_lines(text)
        self.voice = first_voice([line for _, line in lines])
        for self.number, line in lines:
            if line.startswith("%%baihua-"):
                self.directive(*line[9:].partition(" ")[::2])
            elif re.match(r"[A-Za-z+]:", line):
                if line.startswith("X:") and begun:
                    logger.warning("the file has several tunes: only the first is read")
                    return
                begun = True
                self.field(line[0], uncommented(line[2:]).strip())
            elif not line and self.key is not None and self.measures:
                break  # an empty line ends the tune
            elif line and not line.startswith("%") and self.key is not None:
                self.music(uncommented(line).rstrip())

    def directive(self, name: str, value: str) -> None:
        try:
            if name in _HEADER:
                self.extra[name] = self.told(name, value)
            elif name == "open":
                self.row_open = True
            elif name == "readings":
                pairs = (item.split(":") for item in value.split())
                self.special = {int(place): None if spelt == "-" else spelt for place, spelt in pairs}
            elif name == "energy":
                self.part().settings["energy"] = float(value)
            elif name == "fill":
                self.part().settings["fill"] = True
            elif name == "groove":
                self.part().settings["groove"] = Groove(*value.split("|"))
            else:
                raise self.fail(f"unknown directive %%baihua-{name}")
        except (ValueError, TypeError, RecursionError) as error:
            raise self.fail(f"%%baihua-{name} can't be read: {value!r}") from error

    def told(self, name: str, value: str) -> Any:
        try:
            return _HEADER[name](value)
        except ScoreError as error:
            raise self.fail(f"%%baihua-{name}: {error}") from error

    def field(self, name: str, value: str) -> None:
        if name == "V":
            self.choose_voice(value.split()[0] if value else "")
        elif self.other_voice:
            if name == "P":
                self.waiting_part = value
        elif name == "w":
            self.words(value)
        elif name == "P" and self.key is not None:
            self.begin_part(value)
        elif name == "M":
            self.set_metre(value)
        elif name == "L":
            self.unit = self.fraction(value) * TICKS * 4
            if self.unit <= 0:
                raise self.fail(f"a unit length is a fraction above nought such as 1/8, but got {value!r}")
        elif name == "K":
            self.set_key(value)
        elif name == "Q" and "Q" in self.fields:
            logger.warning(
                "ABC line %d: a score has one tempo, the change to %s is left out", self.number, value
            )
        elif name in "TQ":
            self.fields.setdefault(name, value)

    def choose_voice(self, name: str) -> None:
        if self.key is None or self.voice is None:
            return
        self.other_voice = name != self.voice
        if self.other_voice and name not in self.unread:
            logger.warning("ABC line %d: only voice %s is read, not %s", self.number, self.voice, name)
            self.unread.add(name)
        if not self.other_voice and self.waiting_part is not None:
            if self.waiting_part != self.part_label:  # parts may be named in every voice
                self.begin_part(self.waiting_part)
            self.waiting_part = None

    def fraction(self, text: str) -> Fraction:
        try:
            return Fraction(text.replace(" ", ""))
        except (ValueError, ZeroDivisionError) as error:
            raise self.fail(f"{text!r} is no fraction such as 1/8") from error

    def set_metre(self, value: str) -> None:
        text = {"C": "4/4", "C|": "2/2"}.get(value, value)
        if not re.fullmatch(r"\d+/\d+", text):
            raise self.fail(f"metre {value!r} isn't supported: use one such as 4/4, 3/4 or 6/8")
        top, bottom = text.split("/")
        if self.metre is not None and self.metre != (int(top), int(bottom)):
            raise self.fail(f"a score has one metre, but {value} follows {self.metre[0]}/{self.metre[1]}")
        try:
            check_metre((int(top), int(bottom)))
        except ScoreError as error:
            raise self.fail(str(error)) from error
        self.metre = int(top), int(bottom)

    def set_key(self, value: str) -> None:
        value = value.translate({ord("♯"): "#", ord("♭"): "b"})
        bare = re.sub(r"\b\w+=\S+|\b(treble|bass|alto|tenor|perc)\S*", "", value).strip()
        match = re.fullmatch(r"([A-G][#b]?)\s*([A-Za-z]*)((?:[\s^_=].*)?)", bare)
        if bare in ("", "none"):
            name, mode = "C", "major"
        elif match and (match[2].lower() == "m" or match[2].lower()[:3] in _MODES):
            name, mode = match[1], _MODES[match[2].lower()[:3]]
            if match[3].strip():
                logger.warning("ABC line %d: %r of the key is left out", self.number, match[3].strip())
        else:
            raise self.fail(f"key {value!r} isn't a tonic and a mode such as G, Am or D dor")
        if self.key is not None:
            logger.warning(
                "ABC line %d: the score keeps its first key, %s only spells notes", self.number, value
            )
        self.signature = key_signature(name, mode)
        self.key = self.key or Key(pitch_class(name), _NEAREST_SCALE.get(mode, mode))

    def begin_part(self, label: str) -> None:
        tag = tag_of(label)
        if tag is None:
            logger.warning("ABC line %d: part %r is taken for a verse", self.number, label)
        self.close_measure()
        self.part_label = label
        self.parts.append(Part(tag or "verse"))

    def part(self) -> Part:
        if not self.parts:
            self.parts.append(Part("verse"))
        return self.parts[-1]

    # ---- music -----------------------------------------------------------------------------

    def music(self, line: str) -> None:
        """A line of music: its tokens, one after the other."""
        goes_on, line = line.endswith("\\"), line.rstrip("\\")
        begun, position = False, 0
        for piece in re.split(r"(\[V:[^\]]*\])", line):
            if piece.startswith("[V:"):
                self.field("V", piece[3:-1].strip())
            elif piece.strip() and not self.other_voice:
                if not begun and not self.row_goes_on:
                    self.row, self.verse = [], 0
                begun, self.row_goes_on = True, goes_on
                self.piece(line[: position + len(piece)], position)
            position += len(piece)

    def piece(self, line: str, position: int) -> None:
        """The tokens of a line from a position on, all of one voice."""
        while position < len(line):
            if line[position] == "&":
                logger.warning("ABC line %d: the second voice of a bar (behind &) is left out", self.number)
                bar = re.compile(r":*\|").search(line, position)
                position = bar.start() if bar else len(line)
                continue
            match = _TOKEN.match(line, position)
            if match is None:
                raise self.fail(f"{line[position]!r} at column {position + 1} isn't understood")
            position = match.end()
            self.token(match)

    def token(self, match: re.Match[str]) -> None:
        if match["inline"]:
            self.field(match["inline"][1], match["inline"][3:-1].strip())
        elif match["text"]:
            self.chord(match["text"][1:-1])
        elif match["bar"]:
            self.bar_line(match["bar"], self.ending_of(match["ending"] or match["volta"] or "0"))
        elif match["tuplet"]:
            self.tuplet = self.tuplet_of(match)
        elif match["broken"]:
            self.broken = match["broken"]
            if self.row:
                self.row[-1][0].duration *= broken_factor(self.broken, first=True)
        elif match["tie"]:
            self.tie = self.row[-1][0] if self.row else None
        elif match["rest"] and match["rest"][0] in "ZX":
            self.rest_bars(match["rest_length"])
        elif match["note"] or match["chord"] or match["rest"]:
            self.add(self.head(match))

    def chord(self, text: str) -> None:
        symbol = foreign_chord(text)
        if symbol:
            self.chords.append(symbol)
        elif not text.startswith(("^", "_", "<", ">", "@")):  # these stand before a remark to the player
            logger.warning("ABC line %d: %r is no chord that is known and is left out", self.number, text)

    def ending_of(self, text: str) -> int:
        """The number of an ending; of several (1,3 or 1-3) the first."""
        if len(text) > 1:
            logger.warning("ABC line %d: of the endings %s the first is played", self.number, text)
        return int(text[0])

    def rest_bars(self, count: str) -> None:
        """`Z4` rests for four bars."""
        if not re.fullmatch(r"\d{0,3}", count) or int(count or 1) == 0:
            raise self.fail(f"Z{count} rests for no number of bars from 1 to 999")
        for number in range(int(count or 1)):
            if number:
                self.close_measure()
            self.add(Head(Fraction(self.bar_ticks)))

    def add(self, head: Head) -> None:
        count, factor = self.tuplet
        if count:
            head.duration *= factor
        if self.broken:
            head.duration *= broken_factor(self.broken, first=False)
        self.tuplet = max(count - 1, 0), factor
        head.chords, self.chords, self.broken = self.chords, [], ""
        head.tied = self.tie is not None and head.pitch is not None and self.tie.pitch == head.pitch
        self.tie = None
        if self.current is None:
            self.part()
            self.current = Measure(self.number, len(self.parts) - 1, opens=self.opens, ending=self.ending)
            self.opens, self.ending = False, 0
        self.current.heads.append(head)
        self.row.append((head, len(self.measures)))

    def head(self, match: re.Match[str]) -> Head:
        if match["rest"]:
            return Head(self.length(match["rest_length"]))
        if match["chord"]:
            notes = [m for m in _TOKEN.finditer(match["members"]) if m["note"]]
            if not notes:
                raise self.fail(f"[{match['members']}] holds no note")
            logger.warning(
                "ABC line %d: of the notes [%s] the highest is kept", self.number, match["members"]
            )
            pitch = max(self.pitch(note) for note in notes)
            inner = self.length(notes[0]["length"]) / self.unit_ticks
            return Head(self.length(match["chord_length"]) * inner, pitch)
        return Head(self.length(match["length"]), self.pitch(match))

    def pitch(self, match: re.Match[str]) -> int:
        letter, octave = match["letter"], match["octave"]
        place = letter.upper(), letter.isupper() + octave.count(",") - octave.count("'")
        if match["accidental"]:
            self.bar[place] = _ACCIDENTALS[match["accidental"]]
        tied = self.tie is not None and self.tie_place == place and not match["accidental"]
        self.tie_place = place
        if tied and self.tie is not None and self.tie.pitch is not None:
            return self.tie.pitch
        alteration = self.bar.get(place, self.signature[letter.upper()])
        return 72 + LETTERS[letter.upper()] + alteration - 12 * place[1]

    def length(self, text: str) -> Fraction:
        match = re.fullmatch(r"(\d*)(/*)(\d*)", text)
        assert match is not None, "the token's own pattern"
        bottom = int(match[3]) if match[3] else 2 ** len(match[2])
        if bottom == 0:
            raise self.fail(f"length {text!r} divides by nought")
        return self.unit_ticks * Fraction(int(match[1] or 1), bottom)

    def tuplet_of(self, match: re.Match[str]) -> tuple[int, Fraction]:
        p = int(match["p"])
        top, bottom = self.metre or (4, 4)
        compound = bottom == 8 and top % 3 == 0
        usual = 3 if compound and p in (5, 7, 9) else _TUPLET_TIME.get(p, 0)
        q = int(match["q"] or 0) or usual
        if not p or not q:
            raise self.fail(f"tuplet {match['tuplet']!r} isn't understood")
        return int(match["r"] or p), Fraction(q, p)

    @property
    def unit_ticks(self) -> Fraction:
        """Ticks of the unit length; without L: an eighth, or a sixteenth in a short metre."""
        if not self.unit:
            top, bottom = self.metre or (4, 4)
            self.unit = Fraction(TICKS, 4 if top / bottom < 0.75 else 2)
        return self.unit

    @property
    def bar_ticks(self) -> int:
        top, bottom = self.metre or (4, 4)
        return TICKS * 4 * top // bottom

    def bar_line(self, text: str, ending: int) -> None:
        self.bar = {}
        closes = text.startswith(":")
        if self.current is not None:
            self.close_measure()
        if closes and self.measures:
            self.measures[-1].closes = True
        self.opens = self.opens or text.rstrip("[ 0123456789,-").endswith(":")
        self.ending = ending or self.ending

    def close_measure(self) -> None:
        if self.current is not None:
            self.measures.append(self.current)
        self.current = None

    # ---- words -----------------------------------------------------------------------------

    def words(self, text: str) -> None:
        """A `w:` line: a word for each head of the line of music above it; a line of lyrics ends with it."""
        heads = [(head, measure) for head, measure in self.row if head.pitch is not None]
        tokens = word_tokens(text)
        if len(tokens) < len(heads):
            tokens = [part for token in tokens for part in characters(token)]
        if len([t for t in tokens if t != "|"]) > len(heads):
            raise self.fail(f"{len(tokens)} words stand under {len(heads)} notes")
        place = 0
        for head, _ in heads:
            head.words += [None] * (self.verse + 1 - len(head.words))
            head.ends += [False] * (self.verse + 1 - len(head.ends))
            head.readings += [None] * (self.verse + 1 - len(head.readings))
        for token in tokens:
            if token == "|":
                measure = heads[place - 1][1] if place else heads[0][1] if heads else 0
                place = next((i for i, (_, m) in enumerate(heads) if m > measure), len(heads))
                continue
            if place == len(heads):
                raise self.fail(f"the words from {token!r} on have no note")
            self.word(heads[place][0], token)
            place += 1
        self.end_line([head for head, _ in heads])

    def word(self, head: Head, token: str) -> None:
        if token == "_":
            head.words[self.verse] = HOLD
        elif token != "*":
            head.words[self.verse] = token

    def end_line(self, heads: list[Head]) -> None:
        sung = [head for head in heads if head.words[self.verse] and not head.goes_on(self.verse)]
        readings = default_readings([head.words[self.verse] or "" for head in sung])
        before = None  # a held note goes on with the reading before it
        for place, (head, reading) in enumerate(zip(sung, readings), 1):
            usual = before if head.words[self.verse] == HOLD else reading
            before = head.readings[self.verse] = self.special.get(place, usual)
        if sung and not self.row_open:
            sung[-1].ends[self.verse] = True
        self.row_open, self.special, self.verse = False, {}, self.verse + 1
        self.row_goes_on = False

    # ---- the score -------------------------------------------------------------------------

    def score(self) -> Score:
        if self.key is None:
            raise ScoreError("an ABC tune needs a line K: with its key before its notes")
        self.close_measure()
        if not self.measures:
            raise ScoreError("the ABC tune has no notes: write at least one bar below K:")
        sections = [self.section(part, rows) for part, rows in self.grouped()]
        options: dict[str, Any] = {}
        for name in ("swing", "lead-in", "tail"):
            if name in self.extra:
                options[name.replace("-", "_")] = self.extra[name]
        if "meta" in self.extra:
            options["meta"] = self.extra["meta"]
        return Score(
            self.exact("tempo", "Q", tempo_of(self.fields.get("Q")), lambda tempo: float(f"{tempo:.0f}")),
            self.exact("key", "K", self.key, lambda key: Key.parse(plain_key(key))),
            tuple(sections),
            self.metre or (4, 4),
            title=self.exact("title", "T", self.fields.get("T", ""), plain_title),
            **options,
        )

    def exact(self, name: str, field: str, plain: Any, shown: Callable[[Any], Any]) -> Any:
        """The value of a %%baihua- directive, while the plain field still shows it; else the field's.

        Args:
            shown: what the field says of the directive's value, rounded or reduced.
        """
        if name not in self.extra:
            return plain
        if field not in self.fields and field != "K":  # its line was taken out: nothing contradicts
            return self.extra[name]
        if plain == shown(self.extra[name]):
            return self.extra[name]
        logger.warning(
            "%s: was edited to %s: %%%%baihua-%s %s no longer counts", field, plain, name, self.extra[name]
        )
        return plain

    def grouped(self) -> Iterator[tuple[Part, list[tuple[int, Measure]]]]:
        """Sections: runs of measures of one part on one pass of its repeat, with the pass."""
        last, rows = None, []  # type: ignore[var-annotated]
        for verse, measure in expanded(self.measures):
            if rows and (measure.part, verse) != last:
                yield self.parts[rows[0][1].part], rows
                rows = []
            last = measure.part, verse
            rows.append((verse, measure))
        yield self.parts[rows[0][1].part], rows

    def section(self, part: Part, rows: list[tuple[int, Measure]]) -> Section:
        bar, chords, played = 0, [], []  # type: ignore[var-annotated]
        for start, verse, measure in self.placed(rows):
            position = start
            for head in measure.heads:
                chords += [(position, symbol) for symbol in head.chords[-1:]]
                if head.pitch is not None:
                    played.append((position, position + head.duration, head, verse))
                position += head.duration
            bar = int(position // self.bar_ticks) + (position % self.bar_ticks > 0)
        changes = {round(at): symbol for at, symbol in chords}
        end = bar * self.bar_ticks
        return Section(
            part.tag,
            max(bar, 1),
            tuple(ChordChange(at, symbol) for at, symbol in sorted(changes.items()) if at < end),
            notes_of(played),
            **part.settings,
        )

    def placed(self, rows: list[tuple[int, Measure]]) -> Iterator[tuple[Fraction, int, Measure]]:
        """Where each measure starts; a pickup is moved to the end of its bar, and two halves make one bar."""
        position, full = Fraction(0), self.bar_ticks
        for index, (verse, measure) in enumerate(rows):
            into = position % full
            filled, last = measure.length + into, index == len(rows) - 1
            if filled > full or (into and filled != full and not last):
                raise ScoreError(
                    f"ABC line {measure.line}: a bar has {quarters(filled)} quarter notes, "
                    f"the metre asks for {quarters(full)}"
                )
            if index == 0 and measure.length < full and len(rows) > 1:
                position = full - measure.length
            yield position, verse, measure
            position += measure.length


def read(text: str) -> Score:
    """The first tune of an ABC text. Raises ScoreError naming the line."""
    reader = _Reader()
    try:
        reader.read(text)
        return reader.score()
    except (ValueError, KeyError, ArithmeticError) as error:
        raise ScoreError(f"ABC line {reader.number}: {error}") from error
