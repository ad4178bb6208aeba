"""Finding a song by what is said of it: Top-K and mean reciprocal rank in a pool of songs.

    python -m eval.retrieval --model runs/chinmu/model --manifest data/corpus/pool/manifest.jsonl

Conventions: a description is ranked against a pool of N songs that holds its own; a song that is
exactly as similar counts as better, so a model that says nothing scores 0. Chance is K / N.
Intervals are over songs, since several descriptions of one song aren't independent. The oracle
beside each row knows the labels that a description names (genre, mood, tempo, singer, …) and
nothing else; it guesses among songs that fit equally well, and shows how much a text gives away.
Wang 2025, section 4.3.1, reports Top-5/10/15 for MuChin in a pool of about 666.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chinmu.model import ChinMu
from chinmu.telling import fits, joined
from common import config as configs
from common.audio import read_audio
from common.description import Audience, Description
from common.errors import ManifestError, SongError
from common.seeds import generator
from common.statistics import Estimate, bootstrap, mrr_chance, top_k_chance
from corpus import manifest
from corpus.attributes import attributes
from corpus.describe import prompt
from corpus.plan import plan_of
from corpus.record import SongRecord

logger = logging.getLogger(__name__)

KINDS = ("word", "phrase", "sentence", "prompt")
KS = (1, 5, 10)
EVERYONE = "both"


@dataclass(frozen=True)
class Query:
    """A text, the song it was said of (its place in the manifest), and by whom."""

    text: str
    song: int
    kind: str
    audience: str
    held_out: bool  # said in a phrasing that training never saw


@dataclass(frozen=True)
class Row:
    """Figures of one kind of text, audience and pool."""

    kind: str
    audience: str
    pool: int
    queries: int
    top: dict[int, Estimate]
    mrr: Estimate
    oracle: dict[int, float]  # Top-K of the one who knows the labels

    def __str__(self) -> str:
        shares = "  ".join(f"top-{k} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for k, e in self.top.items())
        chances = " ".join(f"{e.chance:.3f}" for e in self.top.values())
        oracle = " ".join(f"{v:.3f}" for v in self.oracle.values())
        return (
            f"{self.kind:9} {self.audience:13} N={self.pool:<4} {shares}  mrr {self.mrr.value:.3f}  "
            f"chance {chances}  oracle {oracle}  ({self.queries} texts, {self.mrr.count} songs)"
        )


# ---- queries -------------------------------------------------------------------------------


def queries_of(records: Sequence[SongRecord], each: int = 2, seed: int = 0) -> list[Query]:
    """Up to `each` texts of every song for each kind and audience."""
    out = []
    for song, record in enumerate(records):
        rare = "phrasing" in record.held_out
        for audience in Audience:
            rng = generator(seed, "query", song, audience)
            own = [d for d in record.descriptions if d.audience == audience]
            for kind in KINDS:
                texts = _texts(record, own, kind, each, rng)
                out += [Query(text, song, kind, audience.value, rare) for text in texts]
    return out


def _texts(
    record: SongRecord, own: list[Description], kind: str, each: int, rng: np.random.Generator
) -> list[str]:
    if kind == "prompt":
        return _prompts(record, own, each, rng)
    fitting = [d.text for d in own if d.length == kind]
    return [fitting[i] for i in rng.permutation(len(fitting))[:each]]


def _prompts(record: SongRecord, own: list[Description], each: int, rng: np.random.Generator) -> list[str]:
    """Whole descriptions of a synthetic song, or some of its descriptions joined."""
    if not own:
        return []
    planned = plan_of(record)
    if planned is None or record.score is None:
        return [joined(own, rng, 6) for _ in range(each)]
    rare = "phrasing" in record.held_out
    return [prompt(planned, record.score, rng, own[0].audience, held_out=rare) for _ in range(each)]


# ---- ranks ---------------------------------------------------------------------------------


def ranks(similarity: np.ndarray, truth: np.ndarray, pools: np.ndarray) -> np.ndarray:
    """The rank of each query's own song in its pool, 1 for the best; equals count as better.

    Args:
        similarity: (Q, S) of queries and songs.
        truth: (Q,) the query's own song.
        pools: (Q, N) songs of each query's pool, its own among them.
    """
    own = np.take_along_axis(similarity, truth[:, None], axis=1)
    others = np.take_along_axis(similarity, pools, axis=1)
    return ((others >= own) & (pools != truth[:, None])).sum(1) + 1


def draw_pools(truth: np.ndarray, songs: int, size: int, seed: int = 0) -> np.ndarray:
    """(Q, N) pools: each query's own song and others drawn without replacement, alike for a song's queries.

    Raises:
        ManifestError: fewer songs than the pool needs.
    """
    if songs < size:
        raise ManifestError(
            f"a pool of {size} needs as many songs, but there are {songs}: name smaller pools"
        )
    drawn = {song: _pool(song, songs, size, seed) for song in np.unique(truth).tolist()}
    return np.stack([drawn[song] for song in truth.tolist()])


def _pool(song: int, songs: int, size: int, seed: int) -> np.ndarray:
    others = np.delete(np.arange(songs), song)
    chosen = generator(seed, "pool", size, song).permutation(others)[: size - 1]
    return np.concatenate([[song], chosen])


def oracle_scores(query: Query, records: Sequence[SongRecord]) -> np.ndarray:
    """(S,) how many of the labels that a text names each song has."""
    named = attributes(query.text)
    parts: list[dict[str, Any]] = [{k: v} for k, v in named.items() if k not in ("instruments", "without")]
    parts += [{k: (v,)} for k in ("instruments", "without") for v in named.get(k, ())]  # type: ignore[attr-defined]
    return np.array([sum(fits(part, record) for part in parts) for record in records], dtype=np.float32)  # type: ignore[arg-type]


def fair_hits(scores: np.ndarray, truth: np.ndarray, pools: np.ndarray, k: int) -> np.ndarray:
    """(Q,) the chance that the own song is among the first K when equals are put in random order."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    others = np.take_along_axis(scores, pools, axis=1)
    better, equal = (others > own).sum(1), (others == own).sum(1)
    return np.clip((k - better) / equal, 0, 1)


# ---- tables --------------------------------------------------------------------------------


def table(
    similarity: np.ndarray,
    oracle: np.ndarray,
    queries: Sequence[Query],
    pools: Sequence[int],
    seed: int = 0,
) -> list[Row]:
    """Figures for each pool, kind and audience, and for prompts in held-out phrasing."""
    truth = np.array([q.song for q in queries])
    rows = []
    for size in pools:
        drawn = draw_pools(truth, similarity.shape[1], size, seed)
        found = ranks(similarity, truth, drawn)
        guessed = {k: fair_hits(oracle, truth, drawn, k) for k in KS}
        for kind, audience, chosen in _groups(queries):
            if chosen.any():
                part = {k: float(v[chosen].mean()) for k, v in guessed.items()}
                rows.append(_row(kind, audience, size, found[chosen], truth[chosen], part))
    return rows


def _groups(queries: Sequence[Query]) -> list[tuple[str, str, np.ndarray]]:
    kinds = np.array([q.kind for q in queries])
    audiences = np.array([q.audience for q in queries])
    rare = np.array([q.held_out for q in queries])
    groups = [("all", EVERYONE, np.ones(len(queries), dtype=bool))]
    for kind in KINDS:
        groups.append((kind, EVERYONE, kinds == kind))
        groups += [(kind, a.value, (kinds == kind) & (audiences == a.value)) for a in Audience]
    if rare.any() and not rare.all():
        groups.append(("prompt", "seen words", (kinds == "prompt") & ~rare))
        groups.append(("prompt", "unseen words", (kinds == "prompt") & rare))
    return groups


def _row(
    kind: str, audience: str, pool: int, found: np.ndarray, songs: np.ndarray, oracle: dict[int, float]
) -> Row:
    owners = songs.tolist()
    top = {k: bootstrap(found <= k, owners, chance=top_k_chance(k, pool)) for k in KS}
    return Row(
        kind, audience, pool, len(found), top, bootstrap(1 / found, owners, chance=mrr_chance(pool)), oracle
    )


# ---- models and files ----------------------------------------------------------------------


def embed_songs(model: ChinMu, records: Sequence[SongRecord], root: Path) -> np.ndarray:
    """The audio vectors (S, dim) of the songs' files."""
    vectors = []
    for number, record in enumerate(records):
        if record.audio is None:
            raise ManifestError(f"song {record.id} has no audio file, which retrieval needs")
        if number % 100 == 0:
            logger.info("hearing song %d of %d", number + 1, len(records))
        audio = read_audio(root / record.audio)
        wav = torch.from_numpy(audio.samples)[None]
        vectors.append(model.embed_audio(wav, audio.sample_rate)[0].cpu().numpy())
    return np.stack(vectors)


def measure(
    model: str | Path,
    manifest_path: str | Path,
    pools: Sequence[int] = (100, 666),
    each: int = 2,
    seed: int = 0,
) -> list[Row]:
    """Retrieval by a ChinMu folder on the songs of a manifest.

    Args:
        pools: sizes; one larger than the manifest is left out with a warning.
        each: texts of each song, kind and audience.
    Raises:
        SongError: the model, the manifest or an audio file can't be used, or no pool fits.
    """
    chinmu = ChinMu.from_pretrained(model)
    records = [r for r in manifest.read(manifest_path) if r.descriptions]
    fitting = [size for size in pools if size <= len(records)]
    if not fitting:
        raise ManifestError(
            f"none of the pools {list(pools)} fits into {len(records)} songs: name smaller pools"
        )
    for size in set(pools) - set(fitting):
        logger.warning("a pool of %d is left out: there are %d songs", size, len(records))
    songs = embed_songs(chinmu, records, Path(manifest_path).parent)
    queries = queries_of(records, each, seed)
    texts = chinmu.embed_text([q.text for q in queries]).cpu().numpy()
    oracle = np.stack([oracle_scores(q, records) for q in queries])
    return table(texts @ songs.T, oracle, queries, fitting, seed)


def evaluate(
    model: str | Path, manifest_path: str | Path, pools: Sequence[int] = (100, 666)
) -> dict[str, Estimate]:
    """The figures of both audiences together by name, such as `prompt, top-5 of 100`; see `measure`."""
    rows = [row for row in measure(model, manifest_path, pools) if row.audience == EVERYONE]
    return {f"{row.kind}, top-{k} of {row.pool}": share for row in rows for k, share in row.top.items()}


@dataclass(frozen=True)
class Settings:
    """What to evaluate."""

    model: str  # folder of a ChinMu
    manifest: str
    pools: list[int] = field(default_factory=lambda: [100, 666])
    each: int = 2  # texts of each song, kind and audience
    seed: int = 0
    out: str | None = None  # a JSON file for the figures


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    try:
        settings = configs.parse(Settings, argv)
        rows = measure(settings.model, settings.manifest, settings.pools, settings.each, settings.seed)
    except SongError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        print(row)
    if settings.out:
        text = json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2)
        Path(settings.out).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
