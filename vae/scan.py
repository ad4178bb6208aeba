"""Which files of a folder are good enough to train on, by the ear-VAE paper's two-stage filter.

python -m vae.scan music/ music.jsonl --stage 2 --workers 8

Stage 1 asks for a native rate of at least 44.1 kHz and −22 to −5 LUFS, stage 2 for a true peak below
+1 dB too; stage 0 for a readable header alone. The list has a line for every file, with the reason
where it was turned away; run again, the command judges new files only. `vae.train --manifest music.jsonl`
reads the list, or scans a folder itself.

Source: Wang et al. 2025 "Back to Ear", section 4.2 (`corpus.quality`).
"""

import argparse
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import soundfile
from tqdm import tqdm

from common.errors import ManifestError, run_command
from corpus.quality import judge

logger = logging.getLogger(__name__)

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")
_FORMAT = "vae.scan 1"
_FAULTS = {  # how a reason begins, a number before it aside → what is said of all files with it
    "unreadable": "unreadable",
    "no samples": "without samples",
    "channels": "neither mono nor stereo",
    "sample rate": "with too low a sample rate",
    "loudness": "too loud or too quiet",
    "true peak": "with too high a peak",
}


@dataclass(frozen=True)
class Judged:
    """A line of the list."""

    path: str  # relative to the list's folder
    stage: int
    size: int  # bytes, to see whether the file has changed
    kept: bool
    reason: str = ""  # empty when kept
    duration: float | None = None  # s
    sample_rate: int | None = None  # Hz
    loudness: float | None = None  # LUFS
    peak: float | None = None  # dBTP


def sounds(folder: Path) -> Iterator[Path]:
    """Sound files below a folder by suffix, in order of name, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def judge_file(path: Path, root: Path, stage: int) -> Judged:
    """The verdict on one file; one that can't be read is turned away, never an error."""
    name, size = os.path.relpath(path, root), path.stat().st_size
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        return Judged(name, stage, size, False, f"unreadable: {' '.join(str(error).split())}")
    seen = (float(info.duration), int(info.samplerate))
    if info.channels > 2:
        return Judged(name, stage, size, False, f"{info.channels} channels, not mono or stereo", *seen)
    if not info.frames:
        return Judged(name, stage, size, False, "no samples", *seen)
    if stage == 0:
        return Judged(name, stage, size, True, "", *seen)
    found = judge(path, cast(Literal[1, 2], stage))
    return Judged(name, stage, size, found.kept, found.reason, *seen, found.loudness, found.peak)


def scan(folder: Path, stage: int, out: Path | None = None, workers: int = 1) -> list[Judged]:
    """Judge all files of a folder; with `out`, write the list and keep what it already says.

    Raises:
        ManifestError: there is no folder, no sound file in it, or `out` is a file of another kind.
    """
    if not folder.is_dir():
        raise ManifestError(f"there is no folder {folder}")
    root = folder if out is None else out.parent
    known = _known(out, stage)
    found, fresh = [], []
    for path in sounds(folder):
        old = known.get(os.path.relpath(path, root))
        if old is not None and old.size == path.stat().st_size:
            found.append(old)
        else:
            fresh.append(path)
    if not found and not fresh:
        raise ManifestError(f"{folder} holds no sound files ({', '.join(SUFFIXES)})")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_list(out, found)
    for row in _judged(fresh, root, stage, workers):
        found.append(row)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(_line(row))
    report(found)
    return found


def _judged(paths: Sequence[Path], root: Path, stage: int, workers: int) -> Iterator[Judged]:
    def bar(rows: Iterable[Judged]) -> Iterable[Judged]:
        return tqdm(rows, total=len(paths), desc="judged", unit="file", leave=False, disable=None)

    if workers <= 1:
        yield from bar(judge_file(path, root, stage) for path in paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from bar(pool.map(judge_file, paths, [root] * len(paths), [stage] * len(paths), chunksize=4))


def report(rows: Sequence[Judged]) -> None:
    """Log how many were kept, and name what was turned away."""
    hours = sum(r.duration or 0.0 for r in rows if r.kept) / 3600
    logger.info("%d of %d files kept, %.2f hours", sum(r.kept for r in rows), len(rows), hours)
    turned = Counter(_in_general(r.reason) for r in rows if not r.kept)
    if turned:
        logger.info("turned away: %s", ", ".join(f"{count} {what}" for what, count in turned.most_common()))
    for row in rows:
        if not row.kept:
            logger.info("  %s: %s", row.path, row.reason)


def _in_general(reason: str) -> str:
    """A reason without the figures of its file."""
    start = reason.lstrip("0123456789 ")
    return next((told for fault, told in _FAULTS.items() if start.startswith(fault)), reason)


# ---- the list --------------------------------------------------------------------------------


def _line(row: Judged) -> str:
    return json.dumps({"format": _FORMAT} | asdict(row), ensure_ascii=False) + "\n"


def _line_start() -> str:
    """How every line that `_line` writes begins."""
    return json.dumps({"format": _FORMAT}).removesuffix("}")


def write_list(path: Path, rows: Sequence[Judged]) -> None:
    """Write a list, whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    part.write_text("".join(map(_line, rows)), encoding="utf-8")
    part.replace(path)


def is_list(path: Path) -> bool:
    """Whether a file is a list of this module, by its first line."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError):
        return False
    try:
        data = json.loads(first)
    except (ValueError, RecursionError):  # cut off, when the first verdict was interrupted
        return first.startswith(_line_start())
    return isinstance(data, dict) and data.get("format") == _FORMAT


def read_list(path: Path) -> list[Judged]:
    """All lines of a list.

    Raises:
        ManifestError: a line can't be read; it is named.
    """
    return _read(path, path.read_bytes())


def _read(path: Path, text: bytes) -> list[Judged]:
    rows = []
    # By line feeds alone: a file's name may hold what Python calls another end of a line.
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n") if text else [], 1):
        try:
            data = json.loads(line.decode())
            data.pop("format")
            rows.append(_checked(Judged(**data)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{path}, line {number} is no verdict of vae.scan: {error}") from error
    return rows


def _checked(row: Judged) -> Judged:
    """The verdict itself; a ValueError where a training couldn't use a file that was kept."""
    if not isinstance(row.path, str):
        raise ValueError(f"a path is text, but got {row.path!r}")
    if row.kept and not (isinstance(row.duration, int | float) and 0 < row.duration < math.inf):
        raise ValueError(f"a file that was kept lasts more than 0 s, but got {row.duration!r}")
    return row


def kept(rows: Path | Sequence[Judged]) -> list[Judged]:
    """The lines of files that were kept."""
    return [row for row in (read_list(rows) if isinstance(rows, Path) else rows) if row.kept]


def _known(out: Path | None, stage: int) -> dict[str, Judged]:
    """Verdicts of the same stage; a last line that was cut off is judged again. Nothing is written.

    Raises:
        ManifestError: what is at `out` is no list of this module, so it isn't ours to replace.
    """
    if out is None or not out.exists() or (out.is_file() and not out.stat().st_size):
        return {}
    if not is_list(out):
        raise ManifestError(
            f"{out} is no list of vae.scan, so it stays as it is: name another file for the list"
        )
    whole, end, _ = out.read_bytes().rpartition(b"\n")
    return {row.path: row for row in _read(out, whole + end) if row.stage == stage}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT.jsonl")
    parser.add_argument("--stage", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("common.audio").setLevel(logging.WARNING)
    rows = scan(options.folder, options.stage, options.out, options.workers)
    if not any(row.kept for row in rows):
        raise ManifestError(
            f"no file of {options.folder} passed stage {options.stage}: {options.out} says why"
        )
    print(f"{options.out}: {sum(row.kept for row in rows)} of {len(rows)} files kept")


if __name__ == "__main__":
    run_command(main)
