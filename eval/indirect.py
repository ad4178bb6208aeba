"""Whether plans follow descriptions that go around the word: “站台上不敢回头” for a song of parting.

    python -m eval.indirect --out scores/indirect
    python -m eval.indirect --model runs/lyrics/model --requests mine.yaml --out scores/mine
    python -m eval.indirect --encoder runs/chinmu/model --manifest data/corpus/pool/manifest.jsonl \
        --vectors runs/vectors --out scores/found

The requests (`eval/indirect.yaml`, 360 written by hand) say what a sensible listener would accept as their
theme, mood and genre, who is to sing and how fast, where they hint at it. The writer plans a song for each;
a kind is judged in the requests that hint at it, and a plan is right that has one of the accepted labels.
They are in three parts: `known`, whose results were looked at one by one while the reader of hints was made,
`kept`, of which nothing but the shares was, and `fresh`, written last, by which nothing was chosen.

Chance is what a plan with labels drawn evenly would get. Intervals are Wilson's, over requests.

With `--encoder` songs are sought instead: of the ten songs of a pool whose vectors are nearest to a
request's, the share that has an accepted label, its mean over requests, and chance, the share of the whole
pool.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common import config as configs
from common.errors import ConfigError, ManifestError, RequestError, command
from common.statistics import Estimate, bootstrap, finite, wilson
from corpus import manifest
from corpus.attributes import tempo_class
from corpus.record import SongRecord
from eval.retrieval import system
from eval.zero_shot import KINDS as LABELS
from lyrics_llm import tokens
from lyrics_llm.author import load
from lyrics_llm.hints import KINDS
from lyrics_llm.sketch import SongSketch

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).with_suffix(".yaml")
PARTS = ("known", "kept", "fresh")
_PACES = ("slow", "medium", "fast")
_ALLOWED = {kind: frozenset(tokens.PLAN_FIELDS[kind]) for kind in KINDS[:-1]} | {"pace": frozenset(_PACES)}


@dataclass(frozen=True)
class Config:
    """What is asked of whom."""

    out: str  # folder of the report
    model: str = "demo"  # of the writer: as `lyrics_llm.author.load` takes it
    requests: str = str(BUNDLED)
    seed: int = 1
    batch: int = 24  # plans at a time
    encoder: str | None = None  # folder of a ChinMu that is asked for songs instead
    manifest: str | None = None  # of the songs that it seeks among
    vectors: str | None = None  # folder of chinmu.embed with these songs' vectors
    nearest: int = 10  # songs that it finds for each request

    def __post_init__(self) -> None:
        configs.check_least(self, 1, "batch", "nearest")
        if (self.encoder is None) != (self.manifest is None):
            raise ConfigError("an encoder seeks among the songs of a manifest: name both, or neither")
        if self.vectors is not None and self.encoder is None:
            raise ConfigError("vectors are those of an encoder: name it, too")


@dataclass(frozen=True)
class Indirect:
    """A request, and for each kind that it hints at the labels that are accepted."""

    said: str
    accepted: Mapping[str, tuple[str, ...]]


def read(path: str | Path) -> dict[str, list[Indirect]]:
    """The requests of each part.

    Raises:
        ConfigError: the file can't be read, or a request has no words, an unknown kind or an unknown label.
    """
    try:
        parts = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"requests can't be read from {path}: {error}") from error
    lists = isinstance(parts, dict) and all(isinstance(rows, list) for rows in parts.values())
    if not lists or not set(parts) <= set(PARTS):
        raise ConfigError(f"{path}: requests are lists under {', '.join(PARTS)}")
    return {
        part: [_request(row, f"{path}, {part}, request {number}") for number, row in enumerate(rows, 1)]
        for part, rows in parts.items()
    }


def _request(row: Any, where: str) -> Indirect:
    if not isinstance(row, dict) or not str(row.get("said") or "").strip():
        raise ConfigError(f"{where}: there is nothing `said`")
    accepted = {kind: tuple(str(labels).split()) for kind, labels in row.items() if kind != "said"}
    for kind, labels in accepted.items():
        if kind not in KINDS:
            raise ConfigError(f"{where}: {kind!r} isn't one of {', '.join(KINDS)}")
        if not labels or not _ALLOWED[kind].issuperset(labels):
            raise ConfigError(f"{where}: of {kind} there are {'、'.join(sorted(map(str, _ALLOWED[kind])))}")
    return Indirect(str(row["said"]), accepted)


def planned(sketch: SongSketch) -> dict[str, str]:
    """The label of each kind that a plan has."""
    return {kind: str(getattr(sketch, kind)) for kind in KINDS[:-1]} | {"pace": tempo_class(sketch.tempo)}


def shares(requests: Sequence[Indirect], sketches: Sequence[SongSketch]) -> dict[str, Estimate]:
    """By kind, the share of the requests hinting at it whose plan has an accepted label.

    Raises:
        RequestError: there are more plans than requests, or fewer.
    """
    if len(requests) != len(sketches):
        raise RequestError(f"{len(requests)} requests and {len(sketches)} plans")
    found: dict[str, Estimate] = {}
    for kind in KINDS:
        rows = [
            (r.accepted[kind], planned(s)[kind]) for r, s in zip(requests, sketches) if kind in r.accepted
        ]
        if rows:
            chance = sum(len(set(labels)) for labels, _ in rows) / len(rows) / len(_ALLOWED[kind])
            found[kind] = wilson(sum(label in labels for labels, label in rows), len(rows), chance=chance)
    return found


def plans(writer: Any, requests: Sequence[Indirect], seed: int, batch: int) -> list[SongSketch]:
    """A plan of half a minute for each request."""
    said = [request.said for request in requests]
    if not hasattr(writer, "plans"):  # a chat model plans one song at a time
        return [writer.plan(text, seed, 30.0) for text in said]
    groups = [said[k : k + batch] for k in range(0, len(said), batch)]
    return [s for texts in groups for s in writer.plans(texts, [seed] * len(texts), [30.0] * len(texts))]


def nearest(texts: np.ndarray, songs: np.ndarray, count: int) -> np.ndarray:
    """(requests, count) the songs nearest to each request, the nearest first; all of them if there are fewer.

    Args:
        texts: unit vectors (requests, D).
        songs: unit vectors (songs, D).
    """
    return np.argsort(-(texts @ songs.T), axis=1, kind="stable")[:, :count]


def found(
    requests: Sequence[Indirect], best: np.ndarray, records: Sequence[SongRecord]
) -> dict[str, Estimate]:
    """By kind, the mean share of the nearest songs that have a label which the request accepts.

    Args:
        best: (requests, K) places in `records` of the songs that were found.
    """
    out: dict[str, Estimate] = {}
    for kind in KINDS:
        truth = [LABELS["tempo" if kind == "pace" else kind](record) for record in records]
        asked = [row for row, request in enumerate(requests) if kind in request.accepted]
        fits = [
            np.array([not set(requests[row].accepted[kind]).isdisjoint(labels) for labels in truth])
            for row in asked
        ]
        if asked:
            values = [float(right[best[row]].mean()) for row, right in zip(asked, fits)]
            out[kind] = bootstrap(values, chance=float(np.mean([right.mean() for right in fits])))
    return out


def _seek(config: Config, parts: Mapping[str, Sequence[Indirect]], out: Path) -> dict[str, Estimate]:
    """What an encoder finds, by kind and part; the songs of each request go to `songs.jsonl`."""
    assert config.encoder is not None and config.manifest is not None, "checked by the configuration"
    records = list(manifest.iterate(config.manifest))
    if not records:
        raise ManifestError(f"{config.manifest} holds no songs")
    encoder = system("", config.encoder, config.vectors)
    songs = encoder.songs(records, Path(config.manifest).parent)
    report: dict[str, Estimate] = {}
    with (out / "songs.jsonl").open("w", encoding="utf-8") as file:
        for part, requests in parts.items():
            if not requests:
                continue
            texts = encoder.texts([request.said for request in requests])
            best = nearest(texts, songs, config.nearest)
            for request, row in zip(requests, best):
                ids = [records[k].id for k in row]
                line = {"part": part, "said": request.said, "accepted": request.accepted, "songs": ids}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            kinds = found(requests, best, records)
            report |= {f"{kind}, {part}": estimate for kind, estimate in kinds.items()}
    return report


def _plan(config: Config, parts: Mapping[str, Sequence[Indirect]], out: Path) -> dict[str, Estimate]:
    """How plans fit, by kind and part; each request's plan goes to `plans.jsonl`."""
    writer = load(config.model)
    report: dict[str, Estimate] = {}
    with (out / "plans.jsonl").open("w", encoding="utf-8") as file:
        for part, requests in parts.items():
            sketches = plans(writer, requests, config.seed, config.batch)
            for request, sketch in zip(requests, sketches):
                row = {"part": part, "said": request.said, "accepted": request.accepted}
                file.write(json.dumps(row | {"planned": planned(sketch)}, ensure_ascii=False) + "\n")
            report |= {f"{kind}, {part}": share for kind, share in shares(requests, sketches).items()}
    return report


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: a table, `report.json`, and `plans.jsonl` or `songs.jsonl` in the folder."""
    logging.basicConfig(level=logging.ERROR)
    config = configs.parse(Config, argv)
    parts = read(config.requests)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    report = (_plan if config.encoder is None else _seek)(config, parts, out)
    for name, estimate in report.items():
        kind, part = name.split(", ")
        print(f"{part:6s} {kind:7s} {estimate}")
    rows = {name: asdict(estimate) for name, estimate in report.items()}
    (out / "report.json").write_text(json.dumps(finite(rows), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
