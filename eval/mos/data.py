"""Rated songs as MusicEval and the AudioMOS challenge publish them, and how they are split.

    lists      wav/audiomos2025-track1-S002_P044.wav, sets/{train,dev,test}_mos_list.txt with lines
               `file,impression,alignment`, and prompts in a TSV of id and text (prompt_info.txt)
    parquet    rows with the audio's bytes, the two scores and the prompt's text; the columns' names vary
               between copies, so those in `COLUMNS` are tried and others can be given

Conventions: scores from 1 to 5, the mean of five raters. A file name holds its system (S002) and prompt
(P044). Splits differ between sources, so figures of different papers needn't be comparable: `random` is
the paper's (15 % for test), `systems` keeps whole systems for test.
"""

import csv
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from common.audio import Audio, read_audio
from common.errors import AudioError, ManifestError
from common.seeds import generator

logger = logging.getLogger(__name__)

COLUMNS = {
    "audio": ("audio", "wav"),
    "impression": ("impression", "overall", "overall_mos", "mos_overall", "musical_impression"),
    "alignment": ("alignment", "textual", "textual_mos", "mos_textual", "textual_alignment", "coherence"),
    "text": ("text", "prompt", "prompt_text", "caption"),
    "system": ("system", "system_id", "model"),
    "name": ("name", "file", "file_name", "filename", "wav_name"),
}


@dataclass(frozen=True)
class Utterance:
    """A rated clip."""

    name: str
    system: str
    text: str
    impression: float
    alignment: float
    path: Path | None = None
    data: bytes | None = None  # the file itself, in a parquet

    def audio(self) -> Audio:
        """Its sound. Raises AudioError when it can't be decoded."""
        if self.path is not None:
            return read_audio(self.path)
        try:
            samples, rate = soundfile.read(io.BytesIO(self.data or b""), dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(f"{self.name} can't be read as audio: {error}") from error
        return Audio(samples.T, rate)


def names_of(file: str) -> tuple[str, str]:
    """System and prompt of a file name. Raises ManifestError when it holds none."""
    found = re.search(r"(S\d+)[_-](P\d+)", Path(file).stem)
    if not found:
        raise ManifestError(f"{file!r} names no system and prompt, as audiomos2025-track1-S002_P044.wav does")
    return found.group(1), found.group(2)


def read_lists(folder: str | Path, name: str, prompts: str | Path | None = None) -> list[Utterance]:
    """One list, such as `train`, of the published folder.

    Args:
        prompts: the TSV of prompts; prompt_info.txt or prompts.tsv in the folder when None.
    Raises:
        ManifestError: a file is missing, or a line isn't `file,impression,alignment`.
    """
    root = Path(folder)
    texts = _prompts(Path(prompts) if prompts else _first(root, ("prompt_info.txt", "prompts.tsv")))
    path = _first(root, (f"sets/{name}_mos_list.txt", f"{name}_mos_list.txt"))
    out = []
    for number, row in enumerate(csv.reader(path.read_text(encoding="utf-8").splitlines()), 1):
        try:
            file, impression, alignment = row[0], float(row[1]), float(row[2])
        except (IndexError, ValueError) as error:
            raise ManifestError(
                f"{path}, line {number}: file,impression,alignment are needed: {row}"
            ) from error
        system, prompt = names_of(file)
        if prompt not in texts:
            raise ManifestError(f"{path}, line {number}: the prompt {prompt} isn't among the prompts")
        audio = _first(root, (f"wav/{file}", file))
        out.append(Utterance(Path(file).stem, system, texts[prompt], impression, alignment, audio))
    return _checked(out, path)


def _first(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise ManifestError(f"{root} lacks {' or '.join(names)}")


def _prompts(path: Path) -> dict[str, str]:
    out = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            if len(row) >= 2 and re.fullmatch(r".*P\d+", row[0].strip()):
                out[re.sub(r".*(P\d+)$", r"\1", row[0].strip())] = row[1].strip()
    if not out:
        raise ManifestError(f"{path} holds no prompts: lines of an id such as P044, a tab and a text")
    return out


def read_parquet(paths: Sequence[str | Path], columns: dict[str, str] | None = None) -> list[Utterance]:
    """Rows of parquet files.

    Args:
        columns: what is called otherwise than in `COLUMNS`: our name → theirs.
    Raises:
        ManifestError: pyarrow isn't installed, a file can't be read, or lacks a column.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ManifestError("parquet needs pyarrow: pip install 'baihua[mos]'") from error
    out = []
    for path in paths:
        try:
            table = parquet.read_table(path)
        except Exception as error:  # pyarrow has its own tree of errors
            raise ManifestError(f"{path} can't be read as parquet: {error}") from error
        found = _columns(table.column_names, columns or {}, Path(path))
        for number, row in enumerate(table.to_pylist()):
            out.append(_of_row(row, found, f"{Path(path).stem}-{number}"))
    return _checked(out, Path(paths[0]))


def _columns(names: Sequence[str], given: dict[str, str], path: Path) -> dict[str, str]:
    out = {}
    for ours, theirs in COLUMNS.items():
        wanted = (given[ours],) if ours in given else theirs
        hit = next((name for name in wanted if name in names), None)
        if hit is not None:
            out[ours] = hit
        elif ours not in ("system", "name"):
            raise ManifestError(
                f"{path} has no column for {ours} ({', '.join(wanted)}), but {', '.join(names)}"
            )
    return out


def _of_row(row: dict[str, Any], columns: dict[str, str], fallback: str) -> Utterance:
    audio = row[columns["audio"]]
    data, inner = (audio.get("bytes"), audio.get("path")) if isinstance(audio, dict) else (audio, None)
    name = str(row[columns["name"]]) if "name" in columns else Path(inner or fallback).name
    system = str(row[columns["system"]]) if "system" in columns else names_of(name)[0]
    scores = (float(row[columns["impression"]]), float(row[columns["alignment"]]))
    return Utterance(Path(name).stem, system, str(row[columns["text"]]), *scores, data=data)


def _checked(utterances: list[Utterance], path: Path) -> list[Utterance]:
    for u in utterances:
        if not (1 <= u.impression <= 5 and 1 <= u.alignment <= 5):
            raise ManifestError(
                f"{path}: {u.name} has the scores {u.impression} and {u.alignment}, not in 1 to 5"
            )
    if not utterances:
        raise ManifestError(f"{path} holds no rated clips")
    return utterances


# ---- splits --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Places of utterances. Early stopping looks at `valid`, never at `test`."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split(
    systems: Sequence[str], kind: Literal["random", "systems"] = "random", share: float = 0.15, seed: int = 0
) -> Split:
    """Train, valid and test: at random, or with systems that are in one of them only.

    Args:
        share: of valid, and of test.
    Raises:
        ManifestError: too few utterances or systems for three parts.
    """
    names = sorted(set(systems))
    rng = generator(seed, "split", kind)
    count = len(systems) if kind == "random" else len(names)
    each = max(1, round(share * count))
    if count < 2 * each + 1:
        raise ManifestError(f"a split by {kind} needs at least 3 of them, but there are {count}")
    order = rng.permutation(count)
    parts = order[2 * each :], order[:each], order[each : 2 * each]
    if kind == "random":
        return Split(*(np.sort(p) for p in parts))
    places = np.array([names.index(s) for s in systems])
    return Split(*(np.flatnonzero(np.isin(places, p)) for p in parts))


def batches(count: int, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Shuffled places of one epoch, the same in every process."""
    order = generator(seed, "epoch", epoch).permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]
