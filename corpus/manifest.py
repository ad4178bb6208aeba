"""The manifest of a corpus: a JSONL file with one validated record per song.

    for record in iterate("data/songs/manifest.jsonl"):
        ...

What isn't known of a song is absent from its line, or null, and None in the record. A record that breaks the
schema raises an error that names its line and field; nothing is guessed or dropped.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, get_args

from common.description import Audience, Description, Length
from common.errors import ManifestError, SongError
from common.lyrics import Lyrics
from common.score import Score
from common.theory import Key
from corpus.record import Singer, SongRecord, Split, TimedLine, TimedSyllable

T = TypeVar("T")
STEMS = ("vocals", "drums", "bass", "harmony", "lead")
HELD_OUT = ("phrasing", "combination")
IDENTIFIER = r"[\w.-]{1,80}"
_FIELDS = tuple(field.name for field in fields(SongRecord))


# ---- files -----------------------------------------------------------------------------------


def read(path: str | Path) -> list[SongRecord]:
    """All records of a manifest.

    Raises:
        ManifestError: the file can't be read, or a record breaks the schema; line and field are named.
    """
    return list(iterate(path))


def iterate(path: str | Path) -> Iterator[SongRecord]:
    """The records one by one, in constant memory but for their ids. Raises as `read` does."""
    path = Path(path)
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:  # a mark that editors put first is no fault
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _of_line(line, f"{path.name}, line {number}", seen, number)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"the manifest {path} can't be read: {error}") from error


def _of_line(line: str, where: str, seen: dict[str, int], number: int) -> SongRecord:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, or brackets without end
        raise ManifestError(f"{where}: this is no JSON object: {error}") from error
    record = from_json(data, where)
    if record.id in seen:
        raise ManifestError(
            f"{where}, field 'id': {record.id!r} is already the song of line {seen[record.id]}"
        )
    seen[record.id] = number
    return record


def write(path: str | Path, records: Iterable[SongRecord]) -> None:
    """Write a manifest whole or not at all: under a temporary name first.

    Raises:
        ManifestError: a record breaks the schema, or an id comes twice.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    seen: dict[str, int] = {}
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for number, record in enumerate(records, 1):
                line = json.dumps(to_json(record), ensure_ascii=False)
                _of_line(line, f"record {number}", seen, number)
                file.write(line + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ---- one record ------------------------------------------------------------------------------


def to_json(record: SongRecord) -> dict[str, Any]:
    """A JSON object without what is unknown or empty; `from_json` reads it back to an equal record."""
    data = {name: getattr(record, name) for name in _FIELDS}
    data["lyrics"] = None if record.lyrics is None else str(record.lyrics)
    data["score"] = None if record.score is None else record.score.to_json()
    data["timing"] = [_bare(asdict(line)) for line in record.timing]
    data["descriptions"] = [asdict(d) for d in record.descriptions]
    return {k: v for k, v in data.items() if v is not None and (v not in ((), [], {}) or k == "instruments")}


def _bare(line: dict[str, Any]) -> dict[str, Any]:
    syllables = [{k: v for k, v in s.items() if v is not None} for s in line.pop("syllables")]
    return line | ({"syllables": syllables} if syllables else {})


def from_json(data: Any, where: str = "record") -> SongRecord:
    """The record of a JSON object.

    Args:
        where: begins the message of an error, such as "manifest.jsonl, line 3".
    Raises:
        ManifestError: a field is missing, unknown, of the wrong type or out of range, with its name.
    """
    given = _Object(data, where, _FIELDS)
    singer, split = get_args(Singer), get_args(Split)
    record = SongRecord(
        id=given.need("id", _identifier),
        source=given.need("source", _text),
        licence=given.need("licence", _text),
        split=given.need("split", _one_of(*split)),
        duration=given.need("duration", _above_zero),
        audio=given.get("audio", _inner_path),
        seed=given.get("seed", _whole),
        stems=given.get("stems", _mapping(STEMS, _inner_path)) or {},
        lyrics=given.get("lyrics", _lyrics),
        timing=given.get("timing", _list(_timed_line)) or (),
        score=given.get("score", Score.from_json),
        descriptions=given.get("descriptions", _list(_description)) or (),
        genre=given.get("genre", _text),
        mood=given.get("mood", _text),
        theme=given.get("theme", _text),
        tempo=given.get("tempo", _above_zero),
        key=given.get("key", _key),
        instruments=given.get("instruments", _list(_text)),
        singer=given.get("singer", _one_of(*singer)),
        held_out=given.get("held_out", _list(_one_of(*HELD_OUT))) or (),
        provenance=given.get("provenance", _mapping(_FIELDS, _text)) or {},
    )
    _check_times(record, where)
    return record


def _check_times(record: SongRecord, where: str) -> None:
    for number, line in enumerate(record.timing, 1):
        if line.end > record.duration + 0.5:
            raise ManifestError(
                f"{where}, field 'timing': line {number} ends at {line.end:g} s, "
                f"but the song lasts {record.duration:g} s"
            )


# ---- fields ----------------------------------------------------------------------------------


class _Wrong(Exception):
    """A value breaks the schema; the message says what was needed."""


class _Object:
    """A JSON object whose fields are asked for one by one; errors name the field."""

    def __init__(self, data: Any, where: str, known: tuple[str, ...]):
        if not isinstance(data, dict):
            raise ManifestError(f"{where}: an object is needed, but {_shown(data)} came")
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ManifestError(f"{where}, field {unknown[0]!r} is unknown; known are {', '.join(known)}")
        self.data, self.where = data, where

    def get(self, name: str, reader: Callable[[Any], T]) -> T | None:
        value = self.data.get(name)
        if value is None:
            return None
        try:
            return reader(value)
        except _Wrong as error:
            raise ManifestError(f"{self.where}, field {name!r}: {error}") from error
        except SongError as error:
            raise ManifestError(f"{self.where}, field {name!r}: {error}") from error

    def need(self, name: str, reader: Callable[[Any], T]) -> T:
        value = self.get(name, reader)
        if value is None:
            raise ManifestError(f"{self.where}, field {name!r} is missing")
        return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 60 else text[:57] + "..."


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"a text that isn't empty is needed, but {_shown(value)} came")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong(f"a whole number is needed, but {_shown(value)} came")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e9:
        raise _Wrong(f"a number is needed, but {_shown(value)} came")
    return float(value)


def _above_zero(value: Any) -> float:
    if _number(value) <= 0:
        raise _Wrong(f"a number above zero is needed, but {value:g} came")
    return float(value)


def _one_of(*known: str) -> Callable[[Any], Any]:
    def reader(value: Any) -> str:
        if value not in known:
            raise _Wrong(f"one of {', '.join(known)} is needed, but {_shown(value)} came")
        return str(value)

    return reader


def _list(reader: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def read_all(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise _Wrong(f"a list is needed, but {_shown(value)} came")
        return tuple(_numbered(reader, item, number) for number, item in enumerate(value, 1))

    return read_all


def _numbered(reader: Callable[[Any], T], item: Any, number: int) -> T:
    try:
        return reader(item)
    except (_Wrong, SongError) as error:
        raise _Wrong(f"item {number}: {error}") from error


def _mapping(known: tuple[str, ...], reader: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    def read_all(value: Any) -> dict[str, T]:
        given = _Object(value, "the object", known)
        return {name: given.need(name, reader) for name in value}

    return read_all


def _inner_path(value: Any) -> str:
    """A path that stays inside the manifest's folder."""
    path = PurePosixPath(_text(value))
    if not path.parts or any(ord(c) < 32 for c in value):
        raise _Wrong(f"the path of a file is needed, but {_shown(value)} came")
    if path.is_absolute() or ".." in path.parts or "\\" in value or ":" in path.parts[0]:
        raise _Wrong(f"a path inside the manifest's folder is needed, but {value!r} leaves it")
    return str(value)


def _identifier(value: Any) -> str:
    """A name that files can have, as `app.batch` asks of its songs."""
    if not re.fullmatch(IDENTIFIER, _text(value)) or value.startswith("."):
        raise _Wrong(f"up to 80 letters, digits, _ . and - are needed, but {_shown(value)} came")
    return str(value)


def _lyrics(value: Any) -> Lyrics:
    return Lyrics.parse(_text(value))


def _key(value: Any) -> str:
    Key.parse(_text(value))
    return str(value)


def _description(value: Any) -> Description:
    given = _Object(value, "the description", ("text", "audience", "dimension", "length"))
    return Description(
        text=given.need("text", _text),
        audience=Audience(given.need("audience", _one_of(*Audience))),
        dimension=given.need("dimension", _text),
        length=given.need("length", _one_of(*get_args(Length))),
    )


def _span(given: _Object) -> tuple[float, float]:
    start, end = given.need("start", _number), given.need("end", _number)
    if start < 0 or end < start:
        raise _Wrong(f"a time from 0 on that ends after its start is needed, but {start:g} to {end:g} s came")
    return start, end


def _timed_line(value: Any) -> TimedLine:
    given = _Object(value, "the line", ("text", "start", "end", "syllables"))
    start, end = _span(given)
    syllables = given.get("syllables", _list(_timed_syllable)) or ()
    return TimedLine(given.need("text", _text), start, end, syllables)


def _timed_syllable(value: Any) -> TimedSyllable:
    given = _Object(value, "the syllable", ("text", "start", "end", "reading", "pitch"))
    start, end = _span(given)
    reading, pitch = given.get("reading", _text), given.get("pitch", _whole)
    return TimedSyllable(given.need("text", _text), start, end, reading, pitch)
