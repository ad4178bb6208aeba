"""The reader of MuChin: Chinese songs described by professionals and amateurs.

    same = overlap("MuChin-V2/muchin_5790_1000_overlap.jsonl")
    records = merge(read("MuChin/dataset", 1), read("MuChin-V2", 2), same)

A song is a folder of seven files without suffix; `qidmap.json`, `subqidmap.json` and `opidmap.json`
lie above the songs. The lyrics and recordings belong to their owners and may be used for research
only: nothing of them is in this repository, and the test fixture is invented.

What the data set says of itself is heeded: times come from `raw_lyric`, as those of `tknz_json` are
wrong; the 724 songs of both versions keep the annotations of the first. Its other peculiarities were
met in the files: lists of the second version begin with the name of their question, some of its
`raw_lyric` hold a description instead, and in its published sample the professionals' answers lie in
`amat_desc_json` and the amateurs' in `prof_desc_json`. So who speaks is told by the questions, as each
audience was asked some that the other wasn't.

Source: Wang et al. 2024, arXiv 2402.09871.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.description import Audience, Description, Length
from common.errors import LyricsError, ManifestError
from common.lyrics import Lyrics
from common.seeds import derive_seed
from corpus.record import Singer, SongRecord, Split, TimedLine

log = logging.getLogger(__name__)

LICENCE = "research only; lyrics and recordings belong to their owners"
DESCRIPTION_FILES = {Audience.PROFESSIONAL: "prof_desc_json", Audience.AMATEUR: "amat_desc_json"}
AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg")
SIMILAR = 0.6  # share of common lines from which two songs are the same
# What only one audience was asked.
_ASKED = {
    Audience.PROFESSIONAL: frozenset({"风格或流派", "速度与节奏"}),
    Audience.AMATEUR: frozenset({"特色感受", "快慢感受"}),
}
_SPLITS: tuple[tuple[int, Split], ...] = ((80, "train"), (90, "valid"), (100, "test"))  # percent
_GENRES = {
    "pop": "流行", "rock": "摇滚", "folk": "民谣", "rap/hip hop": "嘻哈", "electronica": "电子",
    "jazz": "爵士", "r&b": "节奏布鲁斯", "country": "乡村", "reggae": "雷鬼", "funk": "放克",
}  # fmt: skip
_SINGERS: dict[str, Singer] = {"女声": "female", "男声": "male", "童声": "child"}
_NOTHING = frozenset({"", "无", "暂无", "没有"})
_TIME = re.compile(r"\[(\d+):(\d+(?:\.\d+)?)\]")
_LONGEST_LINE = 10.0  # seconds that a line is sung at most, when a pause follows it
_SECONDS_A_LINE = 4.0  # of songs without times
_PHRASE = 14  # characters: what is longer is a sentence


@dataclass(frozen=True)
class Lookups:
    """Text of questions, subquestions and options by their ids."""

    questions: dict[str, str]
    subquestions: dict[str, str]
    options: dict[str, str]


# ---- a folder --------------------------------------------------------------------------------


def read(folder: str | Path, version: int = 1) -> list[SongRecord]:
    """Read every song below a folder.

    Args:
        version: 1 (1,000 songs) or 2 (5,790); it names the source of the records.
    Returns:
        Records sorted by id, each in the split that its lyrics fall into.
    Raises:
        ManifestError: there is no song or no lookup, or a file is missing or broken; the file, and the
            field in it, are named.
    """
    folder = Path(folder)
    if version not in (1, 2):
        raise ManifestError(f"MuChin has the versions 1 and 2, but {version!r} was asked")
    songs = sorted({path.parent for name in DESCRIPTION_FILES.values() for path in folder.rglob(name)})
    if not songs:
        raise ManifestError(
            f"{folder} has no folder with a prof_desc_json: give the folder that holds the songs"
        )
    places: dict[str, Path] = {}
    for song in songs:
        if (other := places.setdefault(song.name, song)) != song:
            raise ManifestError(f"{song} and {other} have the same id: keep one of them")
    lookups = _lookups(folder)
    return [_song(song, folder, version, lookups) for song in songs]


def _lookups(folder: Path) -> Lookups:
    """The three maps of the folder, or of one of the two above it."""
    for place in (folder, *folder.resolve().parents[:2]):
        paths = [place / name for name in ("qidmap.json", "subqidmap.json", "opidmap.json")]
        if all(path.is_file() for path in paths):
            return Lookups(*(_string_map(path) for path in paths))
    raise ManifestError(f"{folder} needs qidmap.json, subqidmap.json and opidmap.json beside its songs")


def _string_map(path: Path) -> dict[str, str]:
    data = _json(path)
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise ManifestError(f"{path} has to map ids to texts")
    return data


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} can't be read: {error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path} is no JSON: {error}") from error


# ---- a song ----------------------------------------------------------------------------------


def _song(song: Path, folder: Path, version: int, lookups: Lookups) -> SongRecord:
    lyrics = _lyrics(song / "str_lyric")
    stamped = _stamped(song / "raw_lyric")
    audio = _audio(song)
    duration, how = _duration(audio, stamped, lyrics)
    descriptions = tuple(
        d for a, name in DESCRIPTION_FILES.items() for d in _descriptions(song / name, a, lookups)
    )
    meta = _meta(song / "meta_info")
    genre = meta.get("genre") or None
    known = {"lyrics": "annotated", "descriptions": "annotated", "duration": how, "split": "lyrics"}
    singer = _singer(descriptions)
    timing = _timing(stamped, lyrics, duration)
    for name, value in (("genre", genre), ("singer", singer), ("timing", timing)):
        if value:
            known[name] = "annotated"
    return SongRecord(
        id=f"muchin-{song.name}",
        source=f"muchin-v{version}",
        licence=LICENCE,
        split=split_of(lyrics),
        duration=duration,
        audio=audio.relative_to(folder).as_posix() if audio else None,
        lyrics=lyrics,
        timing=timing,
        descriptions=descriptions,
        genre=_GENRES.get(genre.lower(), genre) if genre else None,
        singer=singer,
        provenance=known,
    )


def _lyrics(path: Path) -> Lyrics:
    try:
        return Lyrics.parse(_text(path))
    except LyricsError as error:
        raise ManifestError(f"{path}: {error}") from error


def _meta(path: Path) -> dict[str, str]:
    """name, singer, genre and album, as far as they are known."""
    pairs = [line.split(":", 1) for line in _text(path).splitlines() if ":" in line]
    return {name.strip(): value.strip() for name, value in pairs}


def _audio(song: Path) -> Path | None:
    """The recording inside the song's folder or beside it; the data set is mostly spread without."""
    names = (f"{song.name}{tail}{suffix}" for suffix in AUDIO_SUFFIXES for tail in ("", "_src"))
    places = [place / name for name in names for place in (song, song.parent)]
    return next((path for path in places if path.is_file() and not _is_pointer(path)), None)


def _is_pointer(path: Path) -> bool:
    """Whether git left a note of a large file instead of the file."""
    with path.open("rb") as file:
        pointer = file.read(40).startswith(b"version https://git-lfs")
    if pointer:
        log.warning("%s is a pointer of git-lfs: fetch the recording to use it", path)
    return pointer


def _duration(audio: Path | None, stamped: Sequence[tuple[float, str]], lyrics: Lyrics) -> tuple[float, str]:
    """Seconds, and how they are known: of the recording, to the last time stamp, or by counting lines."""
    if audio is not None:
        import soundfile

        try:
            return float(soundfile.info(audio).duration), "measured"
        except RuntimeError as error:
            raise ManifestError(f"{audio} can't be read as audio: {error}") from error
    if stamped and stamped[-1][0] > 0:
        return stamped[-1][0] + _SECONDS_A_LINE, "last time stamp"
    return _SECONDS_A_LINE * max(1, len(lyrics.lines)), "estimated"


def split_of(lyrics: Lyrics) -> Split:
    """80 % train, 10 % valid, 10 % test, by the characters of the lyrics: sung again, a song stays there."""
    share = derive_seed(0, "muchin split", _characters("".join(lyrics.lines))) % 100
    return next(split for limit, split in _SPLITS if share < limit)


def _characters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


# ---- times -----------------------------------------------------------------------------------


def _stamped(path: Path) -> list[tuple[float, str]]:
    """(seconds, text) of every line of an LRC file, in order of time."""
    text = _text(path)
    if text.lstrip().startswith("{"):
        log.warning("%s holds a description instead of lyrics: its song has no times", path)
        return []
    lines = []
    for line in text.splitlines():
        words = _TIME.sub("", line).strip()
        lines += [(60 * int(m[1]) + float(m[2]), words) for m in _TIME.finditer(line)]
    if not lines and text.strip():
        raise ManifestError(f"{path} has no time stamp such as [00:33.13]")
    return sorted(lines, key=lambda pair: pair[0])


def _timing(stamped: Sequence[tuple[float, str]], lyrics: Lyrics, duration: float) -> tuple[TimedLine, ...]:
    """The stamped lines that are sung: titles and credits aren't in the structured lyrics.

    Lines behind the end, of a recording that is an excerpt, aren't heard.

    A line ends where the next stamp is, or after `_LONGEST_LINE` seconds if a pause follows.
    """
    sung = _characters("".join(lyrics.lines))
    ends = [start for start, _ in stamped[1:]] + [duration]
    return tuple(
        TimedLine(text, start, max(start, min(end, start + _LONGEST_LINE, duration)))
        for (start, text), end in zip(stamped, ends)
        if start < duration and _characters(text) and _characters(text) in sung
    )


def rhyme_marks(song: str | Path) -> tuple[tuple[bool, ...], ...]:
    """Whether each line of each section ends in a rhyme (R in `str_rhyme`).

    Raises:
        ManifestError: a section or line is missing beside `str_lyric`.
    """
    path = Path(song) / "str_rhyme"
    marks, lyrics = _lyrics(path), _lyrics(Path(song) / "str_lyric")
    for number, (left, right) in enumerate(zip(marks.sections, lyrics.sections), 1):
        if left.tag != right.tag or len(left.lines) != len(right.lines):
            raise ManifestError(
                f"{path}: section {number} is {left.tag} with {len(left.lines)} lines, "
                f"but {right.tag} with {len(right.lines)} in str_lyric"
            )
    if len(marks.sections) != len(lyrics.sections):
        raise ManifestError(f"{path} has {len(marks.sections)} sections, str_lyric {len(lyrics.sections)}")
    return tuple(tuple(line.endswith("R") for line in section.lines) for section in marks.sections)


# ---- descriptions ----------------------------------------------------------------------------


def _descriptions(path: Path, audience: Audience, lookups: Lookups) -> list[Description]:
    """What one audience answered: tags are words, free texts are phrases or sentences by their length."""
    data = _json(path)
    if not isinstance(data, dict) or not isinstance(data.get("ans"), list):
        raise ManifestError(f"{path}, field 'ans': a list of answers is needed")
    said = [
        (dimension, text.strip(), length)
        for number, answer in enumerate(data["ans"], 1)
        for dimension, text, length in _answer(answer, f"{path}, answer {number}", lookups)
    ]
    speaker = _speaker({dimension for dimension, _, _ in said}, audience)
    out = {
        (dimension, text): Description(text, speaker, dimension, length or _length(text))
        for dimension, text, length in said
        if text not in _NOTHING and text != dimension
    }
    return list(out.values())


def _speaker(dimensions: set[str], named: Audience) -> Audience:
    """Who was asked these questions; the one that the file is named after, if both may have been."""
    asked = [audience for audience, own in _ASKED.items() if own & dimensions]
    return asked[0] if len(asked) == 1 else named


def _answer(answer: Any, where: str, lookups: Lookups) -> Iterator[tuple[str, str, Length | None]]:
    """(dimension, text, length) of everything said in one answer."""
    question = _known(answer, "id", lookups.questions, where)
    if answer.get("desc") and answer["desc"] != question:
        yield "描述", _string(answer["desc"], where, "desc"), None
    for field in ("tags", "options"):
        if not isinstance(answer.get(field) or [], list):
            raise ManifestError(f"{where}, field {field!r}: a list is needed, but {answer[field]!r} came")
    for tag in answer.get("tags") or ():
        dimension = _known(tag, "tid", lookups.subquestions, where)
        values = tag.get("value")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ManifestError(f"{where}, field 'value': a list of texts is needed, but {values!r} came")
        yield from ((dimension, value, "word") for value in values)
        if tag.get("desc"):
            yield dimension, _string(tag["desc"], where, "desc"), None
    for option in answer.get("options") or ():
        dimension = _known(option, "oid", lookups.subquestions, where)
        yield dimension, _option(dimension, _known(option, "opid", lookups.options, where)), "word"
        if option.get("desc"):
            yield dimension, _string(option["desc"], where, "desc"), None


def _known(data: Any, field: str, table: Mapping[str, str], where: str) -> str:
    """The text behind an id."""
    if not isinstance(data, dict) or field not in data:
        raise ManifestError(f"{where}, field {field!r} is missing")
    if str(data[field]) not in table:
        raise ManifestError(f"{where}, field {field!r}: {data[field]!r} isn't in the lookup")
    return table[str(data[field])]


def _string(value: Any, where: str, field: str) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{where}, field {field!r}: a text is needed, but {value!r} came")
    return value


def _option(dimension: str, option: str) -> str:
    """音质 + 清晰 → 音质清晰; 现场版 + 否 → 不是现场版."""
    return {"是": f"是{dimension}", "否": f"不是{dimension}"}.get(option, dimension + option)


def _length(text: str) -> Length:
    return "phrase" if len(text) <= _PHRASE else "sentence"


def _singer(descriptions: Iterable[Description]) -> Singer | None:
    """The singer, when the tags name exactly one kind of voice."""
    said = {_SINGERS[d.text] for d in descriptions if d.length == "word" and d.text in _SINGERS}
    return said.pop() if len(said) == 1 else None


# ---- both versions ---------------------------------------------------------------------------


def overlap(path: str | Path) -> dict[str, str]:
    """Ids of the second version → ids of the same songs in the first, from the data set's list of matches.

    Raises:
        ManifestError: the file can't be read, or a line isn't as expected; the line is named.
    """
    path, same = Path(path), {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            match = json.loads(line)
            best = max(match["matches"], key=lambda found: found["score"])
            same[_id_of(match["query"])] = _id_of(best["path"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{path}, line {number}: a query and its matches are needed ({error})"
            ) from error
    return same


def _id_of(path: str) -> str:
    return "muchin-" + Path(path).name.removesuffix(".json").removesuffix("_src")


def merge(
    v1: Sequence[SongRecord], v2: Sequence[SongRecord], same: Mapping[str, str] | None = None
) -> list[SongRecord]:
    """One corpus of both versions, each song once and every recording of its words in one split.

    A song of both keeps the record of the first version, as the data set recommends. Songs are the same when
    `same` says so, or when most of their lines are.

    Args:
        same: id of the second version → id of the first, from `overlap`.
    """
    same = same or {}
    ids = {record.id for record in v1}
    lines, index = _lines_of(v1)
    further = [
        record
        for record in v2
        if same.get(record.id) not in ids
        and record.id not in ids
        and not _twin(_line_set(record), lines, index)
    ]
    kept = [*v1, *further]
    splits = _shared_splits(kept, *_lines_of(kept))
    return sorted((replace(r, split=splits[r.id]) for r in kept), key=lambda record: record.id)


def _lines_of(records: Sequence[SongRecord]) -> tuple[dict[str, frozenset[str]], dict[str, list[str]]]:
    """The lines of each song, and the songs of each line."""
    lines = {record.id: _line_set(record) for record in records}
    index: dict[str, list[str]] = {}
    for name, texts in lines.items():
        for text in texts:
            index.setdefault(text, []).append(name)
    return lines, index


def _line_set(record: SongRecord) -> frozenset[str]:
    found = {_characters(line) for line in record.lyrics.lines} if record.lyrics else set()
    return frozenset(line for line in found if len(line) > 3)


def _twin(
    texts: frozenset[str], lines: Mapping[str, frozenset[str]], index: Mapping[str, list[str]]
) -> str | None:
    """A song with most of these lines."""
    shared: dict[str, int] = {}
    for text in texts:
        for name in index.get(text, ()):
            shared[name] = shared.get(name, 0) + 1
    best = max(shared, key=lambda name: (shared[name], name), default=None)
    if best is None or shared[best] < SIMILAR * min(len(texts), len(lines[best])):
        return None
    return best


def _shared_splits(
    records: Sequence[SongRecord], lines: Mapping[str, frozenset[str]], index: Mapping[str, list[str]]
) -> dict[str, Split]:
    """The split of each song; one that is sung twice takes that of its first recording."""
    splits: dict[str, Split] = {}
    for record in records:
        known = {text: [n for n in index[text] if n in splits] for text in lines[record.id]}
        twin = _twin(lines[record.id], lines, known)
        splits[record.id] = splits[twin] if twin else record.split
    return splits
