"""Scores as standard MIDI files, and lead sheets out of other people's.

We write four tracks: tempo, metre, key and section markers; the melody with a lyric event a
syllable; the chords; the drums. What MIDI has no event for goes into a text event that begins
with `baihua `, which other programs pass over, so that our own files come back whole.

From other files the melody is the track named melody or vocals, else the one with lyrics, else
the highest that isn't drums; chords are recognised bar by bar from the other tracks.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
from mido.midifiles.meta import KeySignatureError

from common.abc_write import default_readings
from common.errors import ScoreError
from common.lyrics import tag_of
from common.score import DRUMS, HOLD, TICKS, ChordChange, Drum, Groove, Note, Score, Section, check_metre
from common.theory import CHORDS, NOTE_NAMES, Chord, Key

logger = logging.getLogger(__name__)

PPQ = 480  # of the files we write; 40 to a tick
_SCALE = PPQ // TICKS
_DRUM_KEYS = {"kick": 36, "snare": 38, "hat": 42}
_DRUM_OF: dict[int, Drum] = {
    35: "kick", 36: "kick", 37: "snare", 38: "snare", 40: "snare", 42: "hat", 44: "hat", 46: "hat",
}  # fmt: skip
_MARK = "baihua "
# What mido raises on a file that breaks the format, beside OSError and EOFError.
_DAMAGED = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, KeySignatureError)
_TEXTS = {"track_name": "name", "lyrics": "text", "text": "text", "marker": "text"}  # their attribute
_KARAOKE = re.compile(r"(?i)words|lyric|karaoke|歌词")  # a track of .kar files whose texts are sung
_NEAR = TICKS // 2  # ticks that a word may lie beside its note
_VELOCITIES = {"x": 72, "X": 112}
_QUALITIES = ("", "m", "7", "m7", "maj7", "sus4", "dim")  # that chords are recognised as
_MIDI_MODES = {"major": "", "minor": "m"}


@dataclass
class _Track:
    """A track of a file, in its own ticks."""

    name: str = ""
    notes: list[tuple[int, int, int, int]] = field(default_factory=list)  # start, end, pitch, velocity
    words: list[tuple[int, str]] = field(default_factory=list)
    drums: bool = False


# ---- writing -----------------------------------------------------------------------------------


def to_midi(score: Score, path: str | Path) -> None:
    """Write a score; `from_midi` reads it back. Raises ScoreError when the file can't be written."""
    file = mido.MidiFile(ticks_per_beat=PPQ, charset="utf-8")
    for events in (_conductor(score), _melody(score), _chords(score), _drums(score)):
        file.tracks.append(_deltas(events))
    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    try:
        file.save(str(temporary))
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ScoreError(f"the MIDI file {path} can't be written: {error.strerror or error}") from error


Event = tuple[int, int, mido.Message | mido.MetaMessage]  # ticks of the score, order within them, message


def _deltas(events: Iterable[Event]) -> mido.MidiTrack:
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick * _SCALE - now))
        now = tick * _SCALE
    return track


def _text(tick: int, data: dict[str, Any]) -> Event:
    return tick, 1, mido.MetaMessage("text", text=_MARK + json.dumps(data, ensure_ascii=False))


def _conductor(score: Score) -> Iterator[Event]:
    yield 0, 0, mido.MetaMessage("track_name", name=score.title)
    yield 0, 0, mido.MetaMessage("set_tempo", tempo=round(6e7 / score.tempo))
    yield 0, 0, mido.MetaMessage("time_signature", numerator=score.metre[0], denominator=score.metre[1])
    family = "" if score.key.family == "major" else "m"
    yield 0, 0, mido.MetaMessage("key_signature", key=_key_name(score.key.tonic, family))
    whole = {
        "tempo": score.tempo, "key": str(score.key), "swing": score.swing, "lead_in": score.lead_in,
        "tail": score.tail, "meta": score.meta, "bars": score.bars,
    }  # fmt: skip
    yield _text(0, whole)
    for offset, section in zip(score.section_offsets(), score.sections):
        yield offset, 0, mido.MetaMessage("marker", text=section.tag)
        data: dict[str, Any] = {"energy": section.energy, "fill": section.fill}
        if section.groove:
            data["groove"] = [getattr(section.groove, drum) for drum in DRUMS]
        data["chords"] = [[change.start, change.symbol] for change in section.chords]
        yield _text(offset, data)


def _key_name(tonic: int, family: str) -> str:
    """The name that MIDI's key signature has a number for."""
    names = {"": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")}
    names["m"] = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
    return names[family][tonic] + family


def _melody(score: Score) -> Iterator[Event]:
    yield 0, 0, mido.MetaMessage("track_name", name="melody")
    for offset, section in zip(score.section_offsets(), score.sections):
        for note in section.notes:
            start = offset + note.start
            if note.syllable is not None:
                yield start, 1, mido.MetaMessage("lyrics", text=note.syllable)
                said = {"word": note.syllable, "reading": note.reading, "ends_line": note.ends_line}
                yield _text(start, said)
            yield start, 2, mido.Message("note_on", note=note.pitch, velocity=96, channel=0)
            yield start + note.duration, -1, mido.Message("note_off", note=note.pitch, velocity=0, channel=0)


def _chords(score: Score) -> Iterator[Event]:
    yield 0, 0, mido.MetaMessage("track_name", name="chords")
    for offset, section in zip(score.section_offsets(), score.sections):
        ends = [c.start for c in section.chords[1:]] + [section.bars * score.bar_ticks]
        for change, end in zip(section.chords, ends):
            if change.symbol == "N":
                continue
            chord = Chord.parse(change.symbol)
            for pitch in (36 + chord.bass_class, *(48 + (c - 0) % 12 for c in chord.classes)):
                yield offset + change.start, 2, mido.Message("note_on", note=pitch, velocity=64, channel=1)
                yield offset + end, -1, mido.Message("note_off", note=pitch, velocity=0, channel=1)


def _drums(score: Score) -> Iterator[Event]:
    yield 0, 0, mido.MetaMessage("track_name", name="drums")
    step = TICKS // 4
    for offset, section in zip(score.section_offsets(), score.sections):
        for bar in range(section.bars if section.groove else 0):
            for drum in DRUMS:
                for index, mark in enumerate(getattr(section.groove, drum)):
                    if mark == ".":
                        continue
                    at, key = offset + bar * score.bar_ticks + index * step, _DRUM_KEYS[drum]
                    velocity = _VELOCITIES[mark]
                    yield at, 2, mido.Message("note_on", note=key, velocity=velocity, channel=9)
                    yield at + step, -1, mido.Message("note_off", note=key, velocity=0, channel=9)


# ---- reading -----------------------------------------------------------------------------------


def from_midi(path: str | Path) -> Score:
    """Read a lead sheet.

    Raises:
        ScoreError: the file can't be read, or has no melody; the message says which.
    """
    try:
        # Latin-1 keeps every byte: the reader finds out what the texts are written in.
        file = mido.MidiFile(str(path), charset="latin-1", clip=True)
    except FileNotFoundError as error:
        raise ScoreError(f"there is no MIDI file {path}") from error
    except (*_DAMAGED, OSError, EOFError) as error:
        reason = str(error) or "it ends too soon"
        raise ScoreError(f"{path} is no MIDI file that can be read: {reason}") from error
    if file.ticks_per_beat <= 0 or file.type == 2:
        raise ScoreError(
            f"{path} counts time in frames or holds several songs: save it as an ordinary MIDI file"
        )
    try:
        return _Reader(file, str(path)).score()
    except ScoreError as error:
        raise ScoreError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


class _Reader:
    def __init__(self, file: mido.MidiFile, path: str) -> None:
        self.path, self.ppq = path, file.ticks_per_beat
        self.tempo, self.metre = 120.0, (4, 4)
        self.key: Key | None = None
        self.title = ""
        self.markers: list[tuple[int, str]] = []
        self.texts: list[tuple[int, dict[str, Any]]] = []
        self.tracks: list[_Track] = []
        self.words: list[tuple[int, str]] = []  # of tracks without notes
        self.encoding = _encoding(file, path)
        tempi: set[int] = set()
        metres: set[tuple[int, int]] = set()
        for number, track in enumerate(file.tracks):
            self._walk(track, number, tempi, metres)
        if len(tempi) > 1 or len(metres) > 1:
            logger.warning("%s changes its tempo or metre: the first of each is kept", path)

    def _walk(self, track: mido.MidiTrack, number: int, tempi: set, metres: set) -> None:
        now, by_channel = 0, {}  # type: ignore[var-annotated]
        sounding: dict[tuple[int, int], tuple[int, int]] = {}
        name, words, karaoke = "", [], []  # type: ignore[var-annotated]
        for message in track:
            now += message.time
            kind = message.type
            if kind in ("note_on", "note_off"):
                part = by_channel.setdefault(message.channel, _Track(drums=message.channel == 9))
                place = message.channel, message.note
                if place in sounding:
                    start, velocity = sounding.pop(place)
                    part.notes.append((start, now, message.note, velocity))
                if kind == "note_on" and message.velocity:
                    sounding[place] = now, message.velocity
            elif kind == "track_name":
                name = self.text(message.name)
            elif kind == "lyrics":
                words.append((now, self.text(message.text)))
            elif kind == "text" and message.text.startswith(_MARK):
                self.texts.append((now, _said(self.text(message.text))))
            elif kind == "text" and not message.text.startswith("@"):  # @ tells facts of a karaoke file
                karaoke.append((now, self.text(message.text)))
            elif kind == "marker":
                self.markers.append((now, self.text(message.text)))
            elif kind == "set_tempo":
                if not message.tempo:
                    raise ScoreError("a tempo of 0 microseconds a quarter note can't be played")
                self.tempo = self.tempo if tempi else 6e7 / message.tempo
                tempi.add(message.tempo)
            elif kind == "time_signature":
                check_metre((message.numerator, message.denominator))
                self.metre = self.metre if metres else (message.numerator, message.denominator)
                metres.add((message.numerator, message.denominator))
            elif kind == "key_signature" and self.key is None:
                self.key = _key_of(message.key)
        self.title = name if number == 0 and not by_channel else self.title
        if not words and not by_channel and _KARAOKE.search(name):
            words = karaoke
        if not by_channel:
            self.words += words
        for part in by_channel.values():
            part.name, part.words = name, words
            self.tracks.append(part)

    def text(self, bytes_of_latin_1: str) -> str:
        return bytes_of_latin_1.encode("latin-1").decode(self.encoding)

    def ticks(self, midi_ticks: float) -> int:
        return round(midi_ticks * TICKS / self.ppq)

    @property
    def bar_ticks(self) -> int:
        return TICKS * 4 * self.metre[0] // self.metre[1]

    # ---- the parts of the score ----------------------------------------------------------

    def score(self) -> Score:
        melody = self._melody_track()
        whole = self._own()
        notes = self._notes(melody)
        end = max(note.start + note.duration for note in notes) if notes else 0
        bars = whole["bars"] if whole else max(1, -(-end // self.bar_ticks))
        key = Key.parse(whole["key"]) if whole else self.key or _guess_key(notes)
        options = {k: whole[k] for k in ("swing", "lead_in", "tail", "meta")} if whole else {}
        tempo = whole["tempo"] if whole else self.tempo
        chords = [] if whole else self._chord_changes(melody, bars, key)
        sections = tuple(self._sections(notes, chords, bars))
        return Score(tempo, key, sections, self.metre, title=self.title, **options)

    def _own(self) -> dict[str, Any] | None:
        """What our own files say of the whole song."""
        return next((data for _, data in self.texts if "bars" in data), None)

    def _melody_track(self) -> _Track:
        sung = [track for track in self.tracks if not track.drums and track.notes]
        if self._own():
            return next((track for track in sung if track.name == "melody"), _Track())
        named = [t for t in sung if re.search(r"melod|vocal|voice|sing|lead|主旋律|人声", t.name.lower())]
        worded = [track for track in sung if track.words]
        if not sung:
            raise ScoreError(f"{self.path} has no notes besides drums: a score needs a melody")
        if not named and not worded and self.words:
            worded = self._best_for(self.words, sung)
        pick = named or worded or [t for t in sung if _overlap(t) < 0.1] or sung
        return max(pick, key=lambda track: sum(n[2] for n in track.notes) / len(track.notes))

    def _best_for(self, words: list[tuple[int, str]], tracks: list[_Track]) -> list[_Track]:
        """The tracks on whose notes most of the words fall."""
        starts = [{self.ticks(note[0]) for note in track.notes} for track in tracks]
        hits = [sum(self.ticks(at) in places for at, _ in words) for places in starts]
        return [track for track, count in zip(tracks, hits) if count == max(hits)]

    def _notes(self, track: _Track) -> list[Note]:
        """The melody in ticks from the start of the song, one note at a time, with its words."""
        notes: list[Note] = []
        moved = 0
        starts = sorted({self.ticks(note[0]) for note in track.notes})
        words, lost = _placed([(self.ticks(at), text) for at, text in track.words or self.words], starts)
        if lost:
            logger.warning(
                "%s: words that lie on no note of the melody are left out: %s", self.path, " ".join(lost)
            )
        said = {self.ticks(at): data for at, data in self.texts if "word" in data}
        for start, end, pitch, _ in sorted(track.notes, key=lambda n: (n[0], -n[2])):
            left, right = self.ticks(start), max(self.ticks(end), self.ticks(start) + 1)
            moved += abs(left * self.ppq / TICKS - start) > 1 or abs(right * self.ppq / TICKS - end) > 1
            if notes and left == notes[-1].start:
                continue  # the highest of a chord is the melody
            if notes and left < notes[-1].start + notes[-1].duration:
                notes[-1] = replace(notes[-1], duration=left - notes[-1].start)
            word, begins, ends = _clean(words.get(left))
            if begins and notes:
                _end_line(notes)
            ends = ends or said.get(left, {}).get("ends_line", False)
            notes.append(Note(left, right - left, pitch, word, None, bool(ends and word)))
        if moved:
            logger.warning(
                "%s: %d notes were moved to the nearest twelfth of a quarter note", self.path, moved
            )
        return _with_readings(notes, said)

    def _sections(self, notes: list[Note], chords: list[ChordChange], bars: int) -> Iterator[Section]:
        full = self.bar_ticks
        starts = sorted({self.ticks(at) // full: text for at, text in self.markers}.items()) or [(0, "verse")]
        if starts[0][0] > 0:
            starts.insert(0, (0, "intro"))
        told = {self.ticks(at) // full: data for at, data in self.texts if "energy" in data}
        ends = [bar for bar, _ in starts[1:]] + [max(bars, starts[-1][0] + 1)]
        for (bar, label), end in zip(starts, ends):
            low, high = bar * full, end * full
            data = told.get(bar, {})
            own = [replace(c, start=c.start - low) for c in chords if low <= c.start < high]
            own = [ChordChange(at, symbol) for at, symbol in data.get("chords", [])] or own
            inside = [replace(n, start=n.start - low) for n in notes if low <= n.start < high]
            groove = _groove_of(data["groove"]) if data.get("groove") else None
            if not told:
                groove = self._groove(bar, end)
            tag = tag_of(label)
            if tag is None:
                logger.warning("%s: section %r is taken for a verse", self.path, label)
            extra = {k: data[k] for k in ("energy", "fill") if k in data}
            yield Section(tag or "verse", end - bar, tuple(own), _fitted(inside, high - low), groove, **extra)

    def _groove(self, first: int, end: int) -> Groove | None:
        """The bar of drums that best stands for the bars of a section; None when it has none."""
        steps = self.bar_ticks * 4 // TICKS
        counts = {drum: np.zeros(steps) for drum in DRUMS}
        loud = {drum: np.zeros(steps) for drum in DRUMS}
        for track in self.tracks:
            for start, _, pitch, velocity in track.notes if track.drums else ():
                bar, within = divmod(self.ticks(start), self.bar_ticks)
                if pitch in _DRUM_OF and first <= bar < end:
                    counts[_DRUM_OF[pitch]][within * 4 // TICKS] += 1
                    loud[_DRUM_OF[pitch]][within * 4 // TICKS] += velocity
        if not any(c.any() for c in counts.values()):
            return None
        rows = {}
        for drum in DRUMS:
            mean = loud[drum] / np.maximum(counts[drum], 1)
            often = counts[drum] >= 0.5 * (end - first)
            rows[drum] = "".join(("X" if m >= 96 else "x") if o else "." for o, m in zip(often, mean))
        return Groove(**rows)

    def _chord_changes(self, melody: _Track, bars: int, key: Key) -> list[ChordChange]:
        """The chord of every half bar whose notes name one, from the tracks beside the melody."""
        others = [t for t in self.tracks if t is not melody and not t.drums]
        others = others or ([melody] if _in_chords(melody) else [])
        half = self.bar_ticks // 2 if self.bar_ticks % 24 == 0 else self.bar_ticks
        heard = np.zeros((bars * self.bar_ticks // half + 1, 12))
        lowest = np.full(len(heard), 128)
        for track in others:
            for start, end, pitch, _ in track.notes:
                left, right = self.ticks(start), self.ticks(end)
                for slot in range(left // half, min(len(heard) - 1, (right - 1) // half) + 1):
                    length = min(right, (slot + 1) * half) - max(left, slot * half)
                    heard[slot, pitch % 12] += max(length, 0)
                    lowest[slot] = min(lowest[slot], pitch)
        changes: list[ChordChange] = []
        for slot, row in enumerate(heard[: bars * self.bar_ticks // half]):
            symbol = _recognised(row, int(lowest[slot]) % 12) if row.any() else None
            if symbol and (not changes or changes[-1].symbol != symbol):
                changes.append(ChordChange(slot * half, symbol))
        return changes


def _in_chords(track: _Track) -> bool:
    """Whether three notes ever sound at once: a melody alone names no chord."""
    ends: list[float] = []
    for start, end, *_ in sorted(track.notes):
        ends = [e for e in ends if e > start] + [end]
        if len(ends) > 2:
            return True
    return False


def _said(text: str) -> dict[str, Any]:
    """What one of our text events says. Raises ScoreError when it isn't as `to_midi` writes it."""
    try:
        data = json.loads(text[len(_MARK) :])
    except (ValueError, RecursionError):
        data = None
    kind = next((k for k in _SAID if k in data), None) if isinstance(data, dict) else None
    if kind is None:
        raise ScoreError(f"the text event {text[:60]!r} begins as ours do, but can't be read: remove it")
    for name, right in _SAID[kind].items():
        if name not in data or not right(data[name]):
            raise ScoreError(f"the text event {text[:60]!r} has a missing or wrong {name!r}")
    return data


def _groove_of(rows: Any) -> Groove:
    if not isinstance(rows, list) or len(rows) != 3 or not all(map(_is_text, rows)):
        raise ScoreError(f"a groove is a row each for {', '.join(DRUMS)}, but got {rows!r}")
    return Groove(*rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_changes(value: object) -> bool:
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(p, list) and len(p) == 2 and _is_whole(p[0]) and _is_text(p[1]) for p in pairs)


# The fields of our three kinds of text event: of the whole song, of a section, of a sung note.
_SAID: dict[str, dict[str, Callable[[Any], bool]]] = {
    "bars": {
        "bars": lambda v: _is_whole(v) and v > 0, "tempo": _is_number, "key": _is_text, "swing": _is_number,
        "lead_in": _is_number, "tail": _is_number, "meta": lambda v: isinstance(v, dict),
    },
    "energy": {
        "energy": _is_number, "fill": lambda v: isinstance(v, bool), "chords": _are_changes,
    },
    "word": {
        "word": _is_text, "reading": lambda v: v is None or _is_text(v),
        "ends_line": lambda v: isinstance(v, bool),
    },
}  # fmt: skip


def _encoding(file: mido.MidiFile, path: str) -> str:
    """What the texts are written in: MIDI doesn't say it."""
    texts = [
        getattr(message, _TEXTS[message.type]).encode("latin-1")
        for track in file.tracks
        for message in track
        if message.type in _TEXTS
    ]
    for encoding in ("utf-8", "gb18030"):
        try:
            for text in texts:
                text.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    logger.warning("%s: its texts are neither UTF-8 nor GBK, they are read as Latin letters", path)
    return "latin-1"


def _placed(words: list[tuple[int, str]], starts: list[int]) -> tuple[dict[int, str], list[str]]:
    """Words by the starts of their notes, and those that lie near none.

    A word takes the note that begins with it, else the nearest that is free; breaks of lines that stand
    alone go to the word before them.
    """
    joined: dict[int, str] = {}
    for at, text in words:
        if not text.strip().strip("/\\") and joined:
            at = next(reversed(joined))
        joined[at] = joined.get(at, "") + text
    free = [start for start in starts if start not in joined]
    placed: dict[int, str] = {}
    lost: list[str] = []
    for at, text in joined.items():
        near = at if at in starts else min(free, key=lambda start: abs(start - at), default=at + 2 * _NEAR)
        if abs(near - at) <= _NEAR:
            placed[near] = text
            free = [start for start in free if start != near]
        elif text.strip():
            lost.append(text.strip())
    return placed, lost


def _clean(word: str | None) -> tuple[str | None, bool, bool]:
    """A lyric event's syllable, and whether it begins and ends a line, as karaoke files mark it."""
    if word is None:
        return None, False, False
    begins, ends = word.startswith(("\\", "/", "\n", "\r")), word.endswith(("\n", "\r", "/", "\\"))
    text = word.strip().strip("/\\").strip()
    if text in ("-", "_", "+", "ー"):
        return HOLD, begins, ends
    return ("".join(text.split()).rstrip("-") or None), begins, ends


def _end_line(notes: list[Note]) -> None:
    """The last word of the notes ends its line."""
    place = next((i for i in reversed(range(len(notes))) if notes[i].sung), None)
    if place is not None:
        notes[place] = replace(notes[place], ends_line=True)


def _with_readings(notes: list[Note], said: dict[int, dict[str, Any]]) -> list[Note]:
    """Readings as our own file says them, unless its words were edited; else by the phrase of the line."""
    out: list[Note] = []
    line: list[Note] = []
    singing = False
    for note in notes:
        if note.syllable == HOLD and not singing:  # nothing to hold on: it is played
            note = replace(note, syllable=None, ends_line=False)
        singing = note.sung
        line.append(note)
        if note.ends_line:
            out += _line_read(line, said)
            line = []
    return out + _line_read(line, said)


def _line_read(line: list[Note], said: dict[int, dict[str, Any]]) -> list[Note]:
    out = []
    for note, reading in zip(line, default_readings([n.syllable or "" for n in line])):
        told = said.get(note.start, {})
        if told.get("word") == note.syllable:
            reading = told.get("reading")
        out.append(replace(note, reading=reading if note.sung else None))
    return out


def _fitted(notes: list[Note], length: int) -> tuple[Note, ...]:
    """Notes that sound on behind their section end with it."""
    return tuple(replace(n, duration=min(n.duration, length - n.start)) for n in notes)


def _overlap(track: _Track) -> float:
    """Share of notes that begin while another sounds."""
    notes = sorted(track.notes)
    return sum(b[0] < a[1] - 1 for a, b in zip(notes, notes[1:])) / len(notes)


def _recognised(row: np.ndarray, bass: int) -> str | None:
    """The chord whose tones hold most of what is heard: Jaccard-like, with a bonus for root in the bass."""
    best, score = None, 0.35
    share = row / row.sum()
    for root in range(12):
        for quality in _QUALITIES:
            classes = [(root + step) % 12 for step in CHORDS[quality]]
            inside = share[classes].sum()
            present = (share[classes] > 0.04).mean()
            value = inside * present - 0.03 * len(classes) + 0.1 * (root == bass)
            if value > score:
                best, score = NOTE_NAMES[root] + quality, value
    return best


def _key_of(name: str) -> Key:
    minor = name.endswith("m")
    return Key.parse(name.removesuffix("m") + (" minor" if minor else " major"))


def _guess_key(notes: Sequence[Note]) -> Key:
    """The major or minor key whose scale holds most of the melody; ties go to its last note."""
    weight = np.zeros(12)
    for note in notes:
        weight[note.pitch % 12] += note.duration
    if notes:
        weight[notes[-1].pitch % 12] += 0.1 * weight.sum()
    keys = [Key(tonic, scale) for tonic in range(12) for scale in ("major", "minor")]
    logger.warning("the MIDI file names no key: it is taken from the melody")
    return max(keys, key=lambda k: weight[list(k.classes)].sum() + 0.5 * weight[k.tonic])
