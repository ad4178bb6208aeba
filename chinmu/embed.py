"""Embed a corpus: audio vectors of every song of a manifest, streamed, resumed after a kill.

    python -m chinmu.embed data/corpus/pool/manifest.jsonl runs/vectors --model app/models/demo/chinmu

OUT gets one safetensors file per `--shard` songs: `vectors` (n, dim) float32, and in its metadata the
songs' ids, what was skipped and why, and how far the manifest was read. A file is written whole or not
at all, so running the same command again goes on behind the last one. One song is in memory at a time,
and the vectors of one shard. A song that can't be read is skipped and named, and the exit status is
still 0; `load` gives all vectors back.
"""

import argparse
import hashlib
import itertools
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from common.audio import Audio, read_audio
from common.errors import AudioError, CheckpointError, ManifestError, RequestError, command
from corpus import manifest
from corpus.record import SongRecord

if TYPE_CHECKING:
    from chinmu.model import ChinMu

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parents[1] / "app/models/demo/chinmu"


@dataclass
class Shard:
    """Songs that were embedded together."""

    first: int  # place in the manifest of its first record
    ids: list[str] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # id → why

    def __len__(self) -> int:
        return len(self.ids) + len(self.skipped)

    def skip(self, name: str, why: str) -> None:
        """Note a song that can't be embedded."""
        logger.warning("skipped %s: %s", name, why)
        self.skipped[name] = why


@dataclass
class Report:
    """What is in the folder after a run."""

    songs: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    resumed: int = 0  # records that earlier runs had read already

    def add(self, shard: Shard) -> None:
        """Count a shard that is written."""
        self.songs += len(shard.ids)
        self.skipped |= shard.skipped


def embed(manifest_path: Path, out: Path, model: Path, shard: int = 256) -> Report:
    """Embed every song that the folder lacks.

    Args:
        shard: songs of one file of vectors.
    Raises:
        SongError: the model or the manifest can't be used, or the folder holds another model's vectors.
    """
    from chinmu.model import ChinMu

    chinmu, digest = ChinMu.from_pretrained(model), digest_of(model)
    out.mkdir(parents=True, exist_ok=True)
    done = _done(out, digest)
    report = Report(resumed=sum(len(d) for d in done))
    for earlier in done:
        report.add(earlier)
    if done:
        logger.info("%d songs were read by an earlier run", report.resumed)
    records = _behind(manifest_path, done)
    for current in _shards(chinmu, records, manifest_path.parent, report.resumed, shard):
        _put(out, current, digest, chinmu.config.dim)
        report.add(current)
        logger.info("%d songs embedded, %d skipped", report.songs, len(report.skipped))
    if not report.songs and not report.skipped:
        raise ManifestError(f"{manifest_path} holds no songs: name a manifest that has some")
    return report


def _shards(
    chinmu: "ChinMu", records: Iterator[SongRecord], root: Path, first: int, size: int
) -> Iterator[Shard]:
    """The songs in groups, one song's audio at a time."""
    current = Shard(first)
    for record, audio in _heard(records, root):
        if isinstance(audio, str):
            current.skip(record.id, audio)
        else:
            try:
                wav = torch.from_numpy(audio.samples)[None]
                vector = chinmu.embed_audio(wav, audio.sample_rate)[0].cpu().numpy()
            except AudioError as error:
                current.skip(record.id, str(error))
            else:
                current.ids.append(record.id)
                current.vectors.append(vector)
        if len(current) == size:
            yield current
            current = Shard(current.first + size)
    if len(current):
        yield current


def load(folder: str | Path, digest: str | None = None) -> tuple[list[str], np.ndarray]:
    """Ids and vectors (N, dim) of an embedded corpus, in the manifest's order.

    Args:
        digest: of the model that they must be made by; see `digest_of`.
    Raises:
        RequestError: nothing is there.
        CheckpointError: a file is damaged, or was made by another model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    files = _files(Path(folder))
    if not files:
        raise RequestError(f"{folder} holds no vectors: make them with python -m chinmu.embed")
    ids, rows = [], []
    for file in files:
        shard, made_by = _read(file)
        if digest is not None and made_by != digest:
            raise CheckpointError(f"{file} was made by another model: embed the corpus with this one")
        ids += shard.ids
        try:
            rows.append(load_file(file)["vectors"])
        except (SafetensorError, KeyError) as error:
            raise CheckpointError(f"{file} can't be read: {error}") from error
    return ids, np.concatenate(rows)


def digest_of(model: Path) -> str:
    """The hash of a model's weights and configuration."""
    total = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if (model / name).is_file():
            with (model / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:24]


# ---- songs ---------------------------------------------------------------------------------


def _behind(path: Path, done: Sequence[Shard]) -> Iterator[SongRecord]:
    """The records behind those that were read.

    Raises:
        ManifestError: the manifest isn't the one that was begun with.
    """
    records = manifest.iterate(path)
    for shard in done:
        passed = {record.id for record in itertools.islice(records, len(shard))}
        if passed != {*shard.ids, *shard.skipped}:
            raise ManifestError(f"the vectors there are of another manifest than {path}: name another folder")
    return records


def _heard(records: Iterator[SongRecord], root: Path) -> Iterator[tuple[SongRecord, Audio | str]]:
    """Each record with its audio, or with why there is none; the next file is read meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        following = None
        for record in records:
            coming = record, reader.submit(_audio, record, root)
            if following is not None:
                yield following[0], following[1].result()
            following = coming
        if following is not None:
            yield following[0], following[1].result()


def _audio(record: SongRecord, root: Path) -> Audio | str:
    if record.audio is None:
        return "it has no audio file"
    try:
        return read_audio(root / record.audio)
    except AudioError as error:
        return str(error)


# ---- files ---------------------------------------------------------------------------------


def _files(out: Path) -> list[Path]:
    return sorted(out.glob("vectors-*.safetensors"))


def _done(out: Path, digest: str) -> list[Shard]:
    """The shards that are whole, which follow each other from the first record on."""
    done: list[Shard] = []
    for file in _files(out):
        shard, made_by = _read(file)
        if made_by != digest:
            raise CheckpointError(f"{file} was made by another model: name another folder")
        if shard.first != sum(len(d) for d in done):
            raise CheckpointError(f"{file} doesn't follow the one before it: remove it and those behind it")
        done.append(shard)
    return done


def _read(file: Path) -> tuple[Shard, str]:
    """A shard without its vectors, and the digest of its model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as opened:
            kept = json.loads(opened.metadata()["shard"])
        return Shard(kept["first"], kept["ids"], [], kept["skipped"]), kept["model"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read: {error}") from error


def _put(out: Path, shard: Shard, digest: str, dim: int) -> None:
    """Write a shard, whole or not at all."""
    from safetensors.numpy import save_file

    vectors = np.array(shard.vectors, dtype=np.float32).reshape(-1, dim)
    about = {"first": shard.first, "ids": shard.ids, "skipped": shard.skipped, "model": digest}
    file = out / f"vectors-{shard.first:08}.safetensors"
    temporary = file.with_suffix(".tmp")
    save_file({"vectors": vectors}, temporary, {"shard": json.dumps(about, ensure_ascii=False)})
    temporary.replace(file)


# ---- command -------------------------------------------------------------------------------


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence when something that the user gave is wrong."""
    parser = argparse.ArgumentParser(prog="python -m chinmu.embed", description="Embed a corpus.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=BUNDLED, help="folder of a ChinMu")
    parser.add_argument("--shard", type=int, default=256, help="songs of one file of vectors")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    if given.shard < 1:
        raise RequestError(f"a shard has at least one song, but got {given.shard}")
    report = embed(given.manifest, given.out, given.model, given.shard)
    print(f"{report.songs} songs in {given.out}, {len(report.skipped)} skipped")
    for name, why in report.skipped.items():
        print(f"  {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
