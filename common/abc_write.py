"""Writes a score as ABC 2.1 (see `common.abc` for the dialect)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from common.pinyin import is_han, read
from common.score import HOLD, TICKS, Note, Score, Section
from common.theory import LETTERS, NOTE_NAMES, Key, key_signature

EIGHTH = TICKS // 2  # L:1/8
# Lengths that one note head can show, in ticks: whole, dotted half … sixteenth.
_HEADS = (48, 36, 24, 18, 12, 9, 6, 3)
MODES = {"major": "", "minor": "m", "dorian": "dor", "mixolydian": "mix", "gong": "", "yu": "m", "blues": "m"}
OPEN = "%%baihua-open"  # the line of lyrics goes on in the next line of music
_BARS_A_LINE = 4


@dataclass(frozen=True)
class _Piece:
    """A part of a note or rest that one head shows."""

    start: int  # ticks from the start of the section
    end: int
    note: Note | None  # None: a rest
    first: bool = True  # the note begins here
    last: bool = True  # and ends here


def write(score: Score) -> str:
    """The ABC text of a score."""
    rows = ["%abc-2.1", "X:1", *_header(score)]
    for section in score.sections:
        rows += _section(score, section)
    return "\n".join(rows) + "\n"


def _header(score: Score) -> list[str]:
    plain = plain_title(score.title) == score.title
    tempo = f"{score.tempo:.0f}"
    rows = [
        "T:" + plain_title(score.title),
        f"M:{score.metre[0]}/{score.metre[1]}",
        "L:1/8",
        f"Q:1/4={tempo}",
    ]
    directives = {
        "title": None if plain else json.dumps(score.title),
        "tempo": None if float(tempo) == score.tempo else repr(score.tempo),
        "key": None if Key.parse(plain_key(score.key)) == score.key else str(score.key),
        "swing": repr(score.swing) if score.swing else None,
        "lead-in": repr(score.lead_in) if score.lead_in else None,
        "tail": repr(score.tail) if score.tail else None,
        "meta": json.dumps(score.meta, ensure_ascii=False) if score.meta else None,
    }
    rows += [f"%%baihua-{name} {value}" for name, value in directives.items() if value is not None]
    return [*rows, "K:" + plain_key(score.key)]


def plain_title(title: str) -> str:
    """A title as T: says it: empty where ABC would read it otherwise, and %%baihua-title tells it."""
    return "" if "\n" in title or set(title) & set("%\\") or title != title.strip() else title


def plain_key(key: Key) -> str:
    """A key as K: says it; %%baihua-key tells the scales that share a name."""
    return NOTE_NAMES[key.tonic] + MODES[key.scale]


def _section(score: Score, section: Section) -> Iterator[str]:
    yield f"P:{section.tag}"
    if section.energy != Section("verse", 1).energy:
        yield f"%%baihua-energy {section.energy!r}"
    if section.groove:
        yield f"%%baihua-groove {section.groove.kick}|{section.groove.snare}|{section.groove.hat}"
    if section.fill:
        yield "%%baihua-fill"
    lines = _music_lines(section, _pieces(section, score.bar_ticks), score.bar_ticks)
    chords = {change.start: change.symbol for change in section.chords}
    accidentals = _Accidentals(score.key)
    for line in lines:
        sung = [piece.note for piece in line if piece.note and piece.note.sung and piece.first]
        if sung and not sung[-1].ends_line:
            yield OPEN
        yield from _readings(sung)
        yield _music(line, chords, accidentals, score.bar_ticks, section.bars)
        if sung:
            yield "w:" + " ".join(_word(piece) for piece in line if piece.note)


# ---- cutting notes into heads --------------------------------------------------------------


def _pieces(section: Section, bar_ticks: int) -> list[_Piece]:
    """The section as heads and rests: cut at bars, chord changes and where a head can't show a length."""
    end = section.bars * bar_ticks
    cuts = {*range(0, end, bar_ticks), *(change.start for change in section.chords)}
    edges = cuts | {n.start for n in section.notes} | {n.start + n.duration for n in section.notes}
    beats = _triplet_beats(edges, end, bar_ticks)
    cuts |= {tick for beat in beats for tick in (beat, beat + TICKS)}
    thirds = {tick for beat in beats for tick in range(beat, beat + TICKS)}
    pieces, position = [], 0
    for note in section.notes:
        pieces += _cut(position, note.start, None, cuts, thirds)
        pieces += _cut(note.start, note.start + note.duration, note, cuts, thirds)
        position = note.start + note.duration
    return pieces + _cut(position, end, None, cuts, thirds)


def _triplet_beats(edges: set[int], end: int, bar_ticks: int) -> set[int]:
    """Starts of the beats that are written as a triplet: their edges lie on thirds, not on sixteenths."""
    beats = set()
    for bar in range(0, end, bar_ticks):
        for beat in range(bar, bar + bar_ticks - TICKS + 1, TICKS):
            inside = [edge - beat for edge in edges if beat < edge < beat + TICKS]
            if any(e % 3 for e in inside) and not any(e % 4 for e in inside):
                beats.add(beat)
    return beats


def _cut(start: int, end: int, note: Note | None, cuts: set[int], thirds: set[int]) -> list[_Piece]:
    edges = [start, *sorted(cut for cut in cuts if start < cut < end), end]
    spans: list[tuple[int, int]] = []
    for left, right in zip(edges, edges[1:]):
        whole = left in thirds or (right - left) % 3 or left % 3
        spans += [(left, right)] if whole else _heads(left, right)
    spans = [span for span in spans if span[0] < span[1]]
    return [_Piece(a, b, note, a == start, b == end) for a, b in spans]


def _heads(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        length = next(head for head in _HEADS if head <= end - start)
        yield start, start + length
        start += length


def _music_lines(section: Section, pieces: list[_Piece], bar_ticks: int) -> list[list[_Piece]]:
    """Lines of music: each ends with a line of lyrics, and with the rests of its last bar."""
    lines: list[list[_Piece]] = [[]]
    ended = False
    for piece in pieces:
        bar_starts = piece.start % bar_ticks == 0
        within = piece.note is not None and not piece.first
        full = bool(lines[-1]) and bar_starts and piece.start - lines[-1][0].start >= _BARS_A_LINE * bar_ticks
        singing = _open_line(lines[-1])
        if lines[-1] and not within and ((ended and (piece.note or bar_starts)) or (full and not singing)):
            lines.append([])
            ended = False
        lines[-1].append(piece)
        ended = ended or bool(piece.note and piece.note.ends_line and piece.last)
    return lines


def _open_line(line: list[_Piece]) -> bool:
    sung = [piece.note for piece in line if piece.note and piece.note.sung]
    return bool(sung) and not sung[-1].ends_line


# ---- one line --------------------------------------------------------------------------------


class _Accidentals:
    """Spells pitches in a key and remembers what the bar has altered."""

    def __init__(self, key: Key) -> None:
        self.signature = key_signature(NOTE_NAMES[key.tonic], key.scale)
        self.sharp = sum(self.signature.values()) >= 0
        self.bar: dict[str, int] = {}

    def spell(self, pitch: int) -> str:
        letter, alteration = self._letter(pitch % 12)
        octave = (pitch - alteration) // 12 - 5
        # Programs differ in whether an accidental holds in other octaves: once altered, always said.
        said = alteration != self.signature[letter] or letter in self.bar
        if said:
            self.bar[letter] = alteration
        mark = {1: "^", 0: "=", -1: "_"}[alteration] if said else ""
        name = letter if octave <= 0 else letter.lower()
        return mark + name + ("," * -octave if octave < 0 else "'" * (octave - 1))

    def _letter(self, pitch_class: int) -> tuple[str, int]:
        for letter, natural in LETTERS.items():
            if (natural + self.signature[letter]) % 12 == pitch_class:
                return letter, self.signature[letter]
        for alteration in (0, 1, -1) if self.sharp else (0, -1, 1):
            for letter, natural in LETTERS.items():
                if (natural + alteration) % 12 == pitch_class:
                    return letter, alteration
        raise AssertionError("every pitch class is a natural, a sharp or a flat")


def _music(
    line: list[_Piece], chords: dict[int, str], accidentals: _Accidentals, bar_ticks: int, bars: int
) -> str:
    triplets = _triplet_groups(line, bar_ticks)
    out = []
    for index, piece in enumerate(line):
        if piece.start % bar_ticks == 0:
            accidentals.bar = {}
        if symbol := chords.get(piece.start):
            out.append(f' "{symbol}"')
        elif piece.start % bar_ticks % TICKS == 0:
            out.append(" ")
        length = piece.end - piece.start
        if index in triplets:
            out.append(f"(3:2:{triplets[index]}")
        in_triplet = any(i <= index < i + n for i, n in triplets.items())
        shown = _length(length * 3, EIGHTH * 2) if in_triplet else _length(length, EIGHTH)
        out.append((accidentals.spell(piece.note.pitch) if piece.note else "z") + shown)
        if piece.note and not piece.last:
            out.append("-")
        if piece.end % bar_ticks == 0:
            out.append(" |]" if piece.end == bars * bar_ticks else " |")
    return "".join(out).strip()


def _triplet_groups(line: Sequence[_Piece], bar_ticks: int) -> dict[int, int]:
    """First index → count of the pieces of each triplet beat."""
    groups: dict[int, int] = {}
    for index, piece in enumerate(line):
        beat = piece.start - piece.start % bar_ticks % TICKS
        members = [p for p in line if beat <= p.start < beat + TICKS]
        edges = {p.start - beat for p in members} | {p.end - beat for p in members}
        fits = edges <= {0, 4, 8, 12} and edges & {4, 8}
        if fits and piece.start == beat and members[-1].end == beat + TICKS:
            groups[index] = len(members)
    return groups


def _length(ticks: int, unit: int) -> str:
    """A multiple of the unit length as ABC writes it: "", "2", "3/2", "/2"."""
    value = Fraction(ticks, unit)
    top = "" if value.numerator == 1 else str(value.numerator)
    return top + ("" if value.denominator == 1 else f"/{value.denominator}")


def _word(piece: _Piece) -> str:
    assert piece.note is not None, "rests have no words"
    if not piece.note.sung:
        return "*"
    if not piece.first or piece.note.syllable == HOLD:
        return "_"
    return "".join("\\" + c if c in "\\-_*~|%" else c for c in piece.note.syllable or "")


def default_readings(syllables: Sequence[str]) -> list[str | None]:
    """The reading of each syllable of a line: None for what isn't one Han character, HOLD goes on."""
    characters = [_only_han(syllable) for syllable in syllables]
    readings = iter(read("".join(c or " " for c in characters)))
    out: list[str | None] = []
    for syllable, character in zip(syllables, characters):
        held = out[-1] if out and syllable == HOLD else None
        out.append(next(readings) if character else held)
    return out


def _only_han(syllable: str) -> str | None:
    letters = [c for c in syllable if c.isalnum()]
    return letters[0] if len(letters) == 1 and is_han(letters[0]) else None


def _readings(sung: Sequence[Note]) -> Iterator[str]:
    """Readings that the words alone don't give: place in the line and reading, `-` for none."""
    usual = default_readings([note.syllable or "" for note in sung])
    special, before = [], None
    for place, (note, reading) in enumerate(zip(sung, usual), 1):
        expected = before if note.syllable == HOLD else reading
        if note.reading != expected:
            special.append(f"{place}:{note.reading or '-'}")
        before = note.reading
    if special:
        yield "%%baihua-readings " + " ".join(special)
