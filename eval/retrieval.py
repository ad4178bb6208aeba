"""Finding a song by what is said of it: Top-K and mean reciprocal rank in a pool of songs.

    python -m eval.retrieval --model runs/chinmu/model --manifest data/corpus/pool/manifest.jsonl
    python -m eval.retrieval --model runs/chinmu/model --models '{"S": "runs/s/model", "L": "runs/l/model"}' \
        --manifest data/corpus/pool/manifest.jsonl --pools '[666]' --out table.json

Conventions: a description is ranked against a pool of N songs that holds its own; a song that is
exactly as similar counts as better, so a model that says nothing scores 0. Chance is K / N.
Intervals are over songs, since several descriptions of one song aren't independent. The oracle
beside each row knows the labels that a description mentions (genre, mood, theme, tempo, singer, …) and
nothing else, and puts songs that fit equally well in random order: it shows how much a text gives
away. `heard` is the same oracle without the theme, which is in the words and not in the sound.
Wang 2025, section 4.3.1 and table 3, reports Top-5/10/15 for MuChin in a pool of about 666, by the
lengths that the model was trained on: S words, M phrases, L sentences, S-M-L all three.

Other encoders stand beside as `--models`: folders of a ChinMu or a CLAP by name, and LAION-CLAP by
itself wherever `eval.embeddings` finds its weights. Songs that `chinmu.embed` has embedded needn't be
heard again: `--vectors FOLDER`.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from chinmu import embed as corpus_vectors
from chinmu.model import ChinMu
from chinmu.ranking import ranks
from chinmu.telling import fits, joined
from common import config as configs
from common.audio import read_audio
from common.description import Audience, Description
from common.errors import CheckpointError, ManifestError, RequestError, command
from common.seeds import generator
from common.statistics import Estimate, bootstrap, finite, mrr_chance, share, top_k_chance
from corpus import manifest
from corpus.attributes import Attributes, attributes
from corpus.describe import prompt
from corpus.plan import SongPlan, plan_of
from corpus.record import SongRecord
from eval import embeddings

logger = logging.getLogger(__name__)

KINDS = ("word", "phrase", "sentence", "prompt")
MIXED = "S-M-L"  # words, phrases and sentences together
LENGTHS = {"Short": "word", "Medium": "phrase", "Long": "sentence", MIXED: MIXED, "Prompt": "prompt"}
KS = (1, 5, 10, 15)
PAPER_KS = (5, 10, 15)
EVERYONE = "both"


@dataclass(frozen=True)
class Query:
    """A text, the song it was said of (its place in the manifest), and by whom."""

    text: str
    song: int
    kind: str
    audience: str
    held_out: bool  # said in a phrasing that training never saw
    combination: bool = False  # of a song whose combination of genre and instruments training never saw


@dataclass(frozen=True)
class Row:
    """Figures of one kind of text, audience and pool."""

    kind: str
    audience: str
    pool: int
    queries: int
    top: dict[int, Estimate]
    mrr: Estimate
    oracle: dict[int, float]  # Top-K of the one who knows the labels that are mentioned
    heard: dict[int, float]  # the same without the theme

    def of_oracle(self, k: int) -> float:
        """Top-K as a share of the oracle's."""
        return self.top[k].value / self.oracle[k] if self.oracle[k] else float("nan")

    def __str__(self) -> str:
        shares = "  ".join(f"top-{k} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for k, e in self.top.items())
        chances = " ".join(f"{e.chance:.3f}" for e in self.top.values())
        oracle = " ".join(f"{v:.3f}" for v in self.oracle.values())
        heard = " ".join(f"{v:.3f}" for v in self.heard.values())
        return (
            f"{self.kind:9} {self.audience:18} N={self.pool:<4} {shares}  mrr {self.mrr.value:.3f}  "
            f"chance {chances}  oracle {oracle}  heard {heard}  "
            f"({self.queries} texts, {self.mrr.count} songs)"
        )


# ---- queries -------------------------------------------------------------------------------


def queries_of(records: Sequence[SongRecord], each: int = 2, seed: int = 0) -> list[Query]:
    """Up to `each` texts of every song for each kind and audience.

    A prompt is a whole description of a synthetic song, or some of its descriptions joined.
    """
    out = []
    unplanned = 0
    for song, record in enumerate(records):
        planned = plan_of(record)
        unplanned += planned is None and record.source == "synthetic"
        rare, combined = "phrasing" in record.held_out, "combination" in record.held_out
        for audience in Audience:
            rng = generator(seed, "query", song, audience)
            own = [d for d in record.descriptions if d.audience == audience]
            for kind in KINDS:
                texts = _texts(record, planned, own, kind, each, rng)
                out += [Query(text, song, kind, audience.value, rare, combined) for text in texts]
    if unplanned:
        logger.warning(
            "%d of %d songs were made by another version of the corpus: descriptions of theirs, joined, "
            "stand for prompts",
            unplanned,
            len(records),
        )
    return out


def _texts(
    record: SongRecord,
    planned: SongPlan | None,
    own: list[Description],
    kind: str,
    each: int,
    rng: np.random.Generator,
) -> list[str]:
    if kind != "prompt":
        fitting = [d.text for d in own if d.length == kind]
        return [fitting[i] for i in rng.permutation(len(fitting))[:each]]
    if not own:
        return []
    if planned is None or record.score is None:
        return [joined(own, rng, 6) for _ in range(each)]
    rare = "phrasing" in record.held_out
    return [prompt(planned, record.score, rng, own[0].audience, held_out=rare) for _ in range(each)]


# ---- ranks ---------------------------------------------------------------------------------


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


class Oracle:
    """Knows of every song the labels that a text may mention, each looked up once."""

    def __init__(self, records: Sequence[SongRecord]) -> None:
        self.records = list(records)
        self._known: dict[tuple[str, object], np.ndarray] = {}

    def scores(self, text: str, without: tuple[str, ...] = ()) -> np.ndarray:
        """(S,) how many of the labels that a text mentions each song has; kinds in `without` don't count."""
        total = np.zeros(len(self.records), dtype=np.float32)
        for kind, value in attributes(text).items():
            if kind not in without:
                values = value if isinstance(value, tuple) else (value,)
                for single in values:
                    total += self._column(kind, single, isinstance(value, tuple))
        return total

    def _column(self, kind: str, value: object, many: bool) -> np.ndarray:
        if (kind, value) not in self._known:
            named: Attributes = {kind: (value,) if many else value}  # type: ignore[misc]
            self._known[kind, value] = np.array([fits(named, r) for r in self.records], dtype=np.float32)
        return self._known[kind, value]


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
    heard: np.ndarray | None = None,
) -> list[Row]:
    """Figures for each pool, kind and audience, and for held-out phrasings and combinations apart.

    Args:
        similarity, oracle, heard: (Q, S) of queries and songs; `oracle` stands for `heard` when None.
    """
    truth = np.array([q.song for q in queries])
    rows = []
    for size in pools:
        drawn = draw_pools(truth, similarity.shape[1], size, seed)
        found = ranks(similarity, truth, drawn)
        guessed = [
            {k: fair_hits(scores, truth, drawn, k) for k in KS}
            for scores in (oracle, oracle if heard is None else heard)
        ]
        for kind, audience, chosen in _groups(queries):
            if chosen.any():
                both = [{k: float(v[chosen].mean()) for k, v in g.items()} for g in guessed]
                rows.append(_row(kind, audience, size, found[chosen], truth[chosen], *both))
    return rows


def _groups(queries: Sequence[Query]) -> list[tuple[str, str, np.ndarray]]:
    kinds = np.array([q.kind for q in queries])
    audiences = np.array([q.audience for q in queries])
    marks = {
        "words": np.array([q.held_out for q in queries]),
        "combination": np.array([q.combination for q in queries]),
    }
    chosen = {MIXED: kinds != "prompt"} | {kind: kinds == kind for kind in KINDS}
    groups = []
    for kind, own in chosen.items():
        groups.append((kind, EVERYONE, own))
        groups += [(kind, a.value, own & (audiences == a.value)) for a in Audience]
        for name, rare in marks.items():
            if kind in (MIXED, "prompt") and rare.any() and not rare.all():
                groups += [(kind, f"seen {name}", own & ~rare), (kind, f"unseen {name}", own & rare)]
    return groups


def _row(
    kind: str,
    audience: str,
    pool: int,
    found: np.ndarray,
    songs: np.ndarray,
    oracle: dict[int, float],
    heard: dict[int, float],
) -> Row:
    owners = songs.tolist()
    top = {k: share(found <= k, owners, chance=top_k_chance(k, pool)) for k in KS}
    mrr = bootstrap(1 / found, owners, chance=mrr_chance(pool))
    return Row(kind, audience, pool, len(found), top, mrr, oracle, heard)


def layout(systems: dict[str, list[Row]], pool: int) -> str:
    """Wang 2025's table 3 in Markdown: a row for each length and K, a column for each system, in per cent."""
    names = list(systems)
    lines = [f"| N = {pool} | | " + " | ".join(names) + " | oracle | heard | chance |"]
    lines.append("|" + "---|" * (len(names) + 5))
    for title, kind in LENGTHS.items():
        found = [_of(rows, kind, pool) for rows in systems.values()]
        for k in PAPER_KS:
            if all(row is None for row in found):
                continue
            cells = ["–" if row is None else _cell(row.top[k]) for row in found]
            first = next(row for row in found if row is not None)
            know = f"{100 * first.oracle[k]:.1f} | {100 * first.heard[k]:.1f}"
            chance = f"{100 * (first.top[k].chance or 0):.1f}"
            lines.append(f"| {title} | Top-{k} | {' | '.join(cells)} | {know} | {chance} |")
    return "\n".join(lines)


def _of(rows: Sequence[Row], kind: str, pool: int) -> Row | None:
    return next((r for r in rows if (r.kind, r.audience, r.pool) == (kind, EVERYONE, pool)), None)


def _cell(top: Estimate) -> str:
    return f"{100 * top.value:.1f} [{100 * top.low:.1f}, {100 * top.high:.1f}]"


# ---- models and files ----------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """Anything that puts texts and songs into one space, as unit vectors (N, D)."""

    name: str
    texts: Callable[[Sequence[str]], np.ndarray]
    songs: Callable[[Sequence[SongRecord], Path], np.ndarray]


def system(name: str, folder: str | Path, vectors: str | Path | None = None) -> System:
    """A folder of a ChinMu, or LAION-CLAP's weights.

    Args:
        vectors: songs that `chinmu.embed` has embedded with this ChinMu.
    Raises:
        CheckpointError: the weights can't be used.
    """
    config = Path(folder) / "config.json"
    if config.is_file() and _kind(config) != "chinmu":
        return _clap(name, folder)
    if not config.is_file() and (Path(folder).is_file() or list(Path(folder).glob("*.pt"))):
        return _clap(name, folder)
    model = ChinMu.from_pretrained(folder)

    def songs(records: Sequence[SongRecord], root: Path) -> np.ndarray:
        if vectors is not None:
            return _embedded(records, Path(vectors), corpus_vectors.digest_of(Path(folder)))
        return embed_songs(model, records, root)

    return System(name, lambda texts: model.embed_text(list(texts)).cpu().numpy(), songs)


def _kind(config: Path) -> object:
    """What kind of model a transformers folder holds, by its configuration."""
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{config} is no configuration of a model: {error}") from error


def _clap(name: str, folder: str | Path) -> System:
    encoder = embeddings.load("laion-clap", folder)

    def songs(records: Sequence[SongRecord], root: Path) -> np.ndarray:
        rows = np.stack([encoder.embed(read_audio(_file(r, root))).mean(0) for r in records])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return System(name, encoder.embed_text, songs)


def _embedded(records: Sequence[SongRecord], folder: Path, digest: str) -> np.ndarray:
    """The vectors of an embedded corpus in the order of the records."""
    ids, rows = corpus_vectors.load(folder, digest)
    place = {name: i for i, name in enumerate(ids)}
    lacking = [r.id for r in records if r.id not in place]
    if lacking:
        raise RequestError(f"{folder} lacks {len(lacking)} songs of the manifest, such as {lacking[0]}")
    return rows[[place[r.id] for r in records]]


def _file(record: SongRecord, root: Path) -> Path:
    if record.audio is None:
        raise ManifestError(f"song {record.id} has no audio file, which retrieval needs")
    return root / record.audio


def embed_songs(model: ChinMu, records: Sequence[SongRecord], root: Path) -> np.ndarray:
    """The audio vectors (S, dim) of the songs' files."""
    vectors = []
    for number, record in enumerate(records):
        if number % 100 == 0:
            logger.info("hearing song %d of %d", number + 1, len(records))
        audio = read_audio(_file(record, root))
        wav = torch.from_numpy(audio.samples)[None]
        vectors.append(model.embed_audio(wav, audio.sample_rate)[0].cpu().numpy())
    return np.stack(vectors)


def compare(
    systems: Sequence[System],
    manifest_path: str | Path,
    pools: Sequence[int] = (100, 666),
    each: int = 2,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """Retrieval by several systems: the same texts and the same pools for all.

    Args:
        pools: sizes; one larger than the manifest is left out with a warning.
        each: texts of each song, kind and audience.
    Raises:
        SongError: the manifest or an audio file can't be used, or no pool fits.
    """
    if min(pools, default=1) < 1 or each < 1:
        raise RequestError(
            f"a pool has at least one song, and a song one text, but got pools {list(pools)} and each {each}"
        )
    names = [one.name for one in systems]
    if len(set(names)) < len(names):
        raise RequestError(f"systems need names that differ, but got {', '.join(names)}: give another name")
    records = [r for r in manifest.read(manifest_path) if r.descriptions]
    fitting = [size for size in dict.fromkeys(pools) if size <= len(records)]
    if not fitting:
        raise ManifestError(
            f"none of the pools {list(pools)} fits into {len(records)} songs: name smaller pools"
        )
    for size in set(pools) - set(fitting):
        logger.warning("a pool of %d is left out: there are %d songs", size, len(records))
    queries = queries_of(records, each, seed)
    knowing = Oracle(records)
    oracle = np.stack([knowing.scores(q.text) for q in queries])
    heard = np.stack([knowing.scores(q.text, without=("theme",)) for q in queries])
    out = {}
    for each_system in systems:
        songs = each_system.songs(records, Path(manifest_path).parent)
        similarity = each_system.texts([q.text for q in queries]) @ songs.T
        out[each_system.name] = table(similarity, oracle, queries, fitting, seed, heard)
    return out


def measure(
    model: str | Path,
    manifest_path: str | Path,
    pools: Sequence[int] = (100, 666),
    each: int = 2,
    seed: int = 0,
) -> list[Row]:
    """Retrieval by one ChinMu folder; see `compare`. Raises SongError when it can't be used."""
    return compare([system("model", model)], manifest_path, pools, each, seed)["model"]


def evaluate(
    model: str | Path, manifest_path: str | Path, pools: Sequence[int] = (100, 666)
) -> dict[str, Estimate]:
    """The figures of both audiences together by name, such as `prompt, top-5 of 100`; see `compare`."""
    rows = [row for row in measure(model, manifest_path, pools) if row.audience == EVERYONE]
    return {f"{row.kind}, top-{k} of {row.pool}": share for row in rows for k, share in row.top.items()}


@dataclass(frozen=True)
class Settings:
    """What to evaluate."""

    model: str  # folder of a ChinMu
    manifest: str
    name: str = "ChinMu"  # what the table calls it
    models: dict[str, str] = field(default_factory=dict)  # others beside it: name → folder
    vectors: str | None = None  # folder of chinmu.embed with the songs' vectors by `model`
    pools: list[int] = field(default_factory=lambda: [100, 666])
    each: int = 2  # texts of each song, kind and audience
    seed: int = 0
    out: str | None = None  # a JSON file for the figures


def _systems(settings: Settings) -> list[System]:
    found = [system(settings.name, settings.model, settings.vectors)]
    found += [system(name, folder) for name, folder in settings.models.items()]
    if embeddings.available("laion-clap") and "LAION-CLAP" not in settings.models:
        try:
            found.append(system("LAION-CLAP", embeddings.locate("laion-clap")))
        except CheckpointError as error:
            logger.warning("LAION-CLAP is left out: %s", error)
    return found


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    logging.getLogger("corpus.plan").setLevel(logging.ERROR)  # one sentence for all songs instead
    settings = configs.parse(Settings, argv)
    tables = compare(_systems(settings), settings.manifest, settings.pools, settings.each, settings.seed)
    for name, rows in tables.items():
        print(name)
        print("\n".join(map(str, rows)))
    for pool in sorted({row.pool for rows in tables.values() for row in rows}):
        print(f"\n{layout(tables, pool)}")
    if settings.out:
        kept = {name: [asdict(row) for row in rows] for name, rows in tables.items()}
        text = json.dumps(finite(kept), ensure_ascii=False, indent=2)
        Path(settings.out).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
