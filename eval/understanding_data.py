"""Labelled and captioned songs as their data sets publish them.

    kind        audio                              labels
    folders     <label>/<song>.wav                 the folder's name (Music_Classification)
    gtzan       the same                           the fault-filtered lists: --list test_filtered.txt
    fma         000/000002.mp3                     tracks.csv: track.genre_top of a subset and split
    mirex       Audio/001.mp3                      clusters.txt, one line a song
    musiccaps   <ytid>.wav, or <ytid>-<…>.wav      musiccaps-public.csv: caption

GTZAN has repeated, mislabelled and distorted songs (Sturm 2013): an accuracy without the filtered
list isn't comparable, and a warning says so.
"""

import csv
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import RequestError
from eval.embeddings import SUFFIXES

logger = logging.getLogger(__name__)

GTZAN = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
# Of the survey (Li 2024, section 2.1): what the five clusters of the multi-modal set are called.
MIREX = ("passionate", "rollicking", "literate", "humorous", "aggressive")
_UNREADABLE = {"jazz.00054"}  # its published file is no audio


@dataclass(frozen=True)
class Item:
    """A song and what is known of it: a label, or captions."""

    audio: Path
    label: str | None = None
    captions: tuple[str, ...] = ()


def folders(root: Path, listed: Path | None = None) -> list[Item]:
    """Songs in folders called by their label, all or those that a list names."""
    if listed is not None:
        return [_listed(root, name, f"{listed}, line {number}") for number, name in _lines(listed)]
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        found += [Item(p, folder.name) for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    return [item for item in found if item.audio.stem not in _UNREADABLE]


def _listed(root: Path, name: str, where: str) -> Item:
    """The song of a list's line, whose folder is its label."""
    parts = Path(name).parts
    if len(parts) < 2:
        raise RequestError(f"{where}: a song is named with the folder that is its label, but got {name!r}")
    return Item(_song(root, name, where), parts[-2])


def gtzan(root: Path, listed: Path | None = None) -> list[Item]:
    """GTZAN by a fault-filtered list (443 training, 197 validation, 290 test songs)."""
    if listed is None:
        logger.warning(
            "GTZAN without a fault-filtered list (--list test_filtered.txt) has repeats and faults"
        )
    return folders(root, listed)


def _song(root: Path, name: str, where: str) -> Path:
    """The file of a list's line, whatever its suffix now is: GTZAN was .au and is handed on as .wav."""
    wanted = root / name
    for path in (wanted, *(wanted.with_suffix(s) for s in SUFFIXES)):
        if path.is_file():
            return path
    raise RequestError(f"{where}: {root} lacks {name}, which the list names")


def fma(root: Path, listed: Path | None = None, subset: str = "small", split: str = "test") -> list[Item]:
    """FMA by tracks.csv, which has three lines of heads; songs without a top genre are left out."""
    path = listed or root / "tracks.csv"
    rows = _rows(path)
    (_, upper), (_, lower) = _heads(rows, path), _heads(rows, path)
    heads = {pair: place for place, pair in enumerate(zip(upper, lower))}
    try:
        places = [heads[pair] for pair in (("set", "subset"), ("set", "split"), ("track", "genre_top"))]
    except KeyError as error:
        raise RequestError(f"{path} isn't FMA's tracks.csv: it has no column {error}") from error
    _heads(rows, path)
    found = []
    for line, row in rows:
        if not row:
            continue
        if len(row) <= max(places) or not row[0].isdecimal():
            raise RequestError(
                f"{path}, line {line}: a number and {max(places)} cells or more are needed, but got "
                f"{len(row)} cells, the first {row[0]!r}"
            )
        in_subset, in_split, genre = (row[place] for place in places)
        number = f"{int(row[0]):06}"
        audio = root / number[:3] / f"{number}.mp3"
        if (in_subset, in_split) == (subset, split) and genre and audio.is_file():
            found.append(Item(audio, genre))
    return found


def _heads(rows: Iterator[tuple[int, list[str]]], path: Path) -> tuple[int, list[str]]:
    head = next(rows, None)
    if head is None:
        raise RequestError(f"{path} isn't FMA's tracks.csv: it lacks its three lines of heads")
    return head


def mirex(root: Path, listed: Path | None = None) -> list[Item]:
    """The multi-modal MIREX-like set: songs in order, a line "Cluster n" each."""
    path = listed or root / "clusters.txt"
    lines = _lines(path)
    audio = sorted((root / "Audio").glob("*.mp3")) or sorted((root / "Audio").glob("*.wav"))
    if len(lines) != len(audio):
        raise RequestError(f"{root} has {len(audio)} songs in Audio, but {len(lines)} lines of clusters")
    found = []
    for song, (line, words) in zip(audio, lines):
        number = re.search(r"[1-5]", words)
        if not number:
            raise RequestError(f"{path}, line {line}: a cluster is 1 to 5, but {song.name} has {words!r}")
        found.append(Item(song, MIREX[int(number.group()) - 1]))
    return found


def musiccaps(root: Path, listed: Path | None = None) -> list[Item]:
    """MusicCaps: clips called by their YouTube id, captions from the CSV."""
    path = listed or root / "musiccaps-public.csv"
    lines = _rows(path)
    _, heads = next(lines, (0, []))
    if not {"ytid", "caption"} <= set(heads):
        raise RequestError(f"{path} isn't MusicCaps' CSV: it needs the columns ytid and caption")
    rows = []
    for line, cells in lines:
        if cells and len(cells) != len(heads):
            raise RequestError(f"{path}, line {line}: {len(heads)} cells are needed, but got {len(cells)}")
        if cells:
            rows.append(dict(zip(heads, cells)))
    clips = {p.stem: p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES}
    found = []
    for row in rows:
        name = row["ytid"]
        # An id may itself hold a dash: the plain name first, then one with its times behind.
        clip = clips.get(name) or next((p for stem, p in clips.items() if stem.startswith(f"{name}-")), None)
        if clip is not None:
            found.append(Item(clip, captions=(row["caption"],)))
    if len(found) < len(rows):
        logger.warning("%d of MusicCaps' %d clips are here: they vanish from YouTube", len(found), len(rows))
    return found


KINDS: dict[str, Callable[[Path, Path | None], list[Item]]] = {
    "folders": folders,
    "gtzan": gtzan,
    "fma": fma,
    "mirex": mirex,
    "musiccaps": musiccaps,
}


def read(kind: str, root: str | Path, listed: str | Path | None = None) -> list[Item]:
    """The songs of a data set.

    Raises:
        RequestError: an unknown kind, a missing folder or list, or nothing in it.
    """
    if kind not in KINDS:
        raise RequestError(f"a data set is one of {', '.join(KINDS)}, but got {kind!r}")
    if not Path(root).is_dir():
        raise RequestError(f"there is no folder {root}")
    found = KINDS[kind](Path(root), Path(listed) if listed else None)
    if not found:
        raise RequestError(f"{root} holds no songs in the layout of {kind}")
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list that say something, with their numbers."""
    lines = enumerate(_text(path).splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with the numbers of their last lines."""
    rows = csv.reader(io.StringIO(_text(path), newline=""))
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise RequestError(f"{path}, line {rows.line_num}: this is no row of a table: {error}") from error


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"the list {path} can't be read: {error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}, line {line}: this isn't UTF-8: save the list as UTF-8") from error
