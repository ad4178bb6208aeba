"""Faults planted in real songs, and a matrix of which metric notices which.

    python -m eval.faults --manifest data/corpus/test/manifest.jsonl --songs 24 --out runs/faults

Songs are spoiled as `eval.planting` says, and heard by every metric with and without each fault; two
columns are no faults of sound: `take` (another performance of the same song: what moves there is chance,
or a metric that can't judge songs) and `prompt` (the request of the next song, of another description,
score and genre). `eval.matrix` says what a cell means. Writes matrix.json, matrix.md and matrix.png; what
was heard is kept song by song, so a run that was stopped goes on, and more songs cost only themselves.

Conventions: `ASOA` compares the first half of a song with the second half of the same song as it was
without a fault, since a song's likeness to itself would notice anything. Reconstruction metrics compare
6 s in the middle of a song with the same in 16 bits. Probes' figures are the share they give to the true
answer. The references of FAD and KAD are the other songs of the manifest.
"""

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import config as configs
from common.audio import Audio, write_audio
from common.description import Audience
from common.errors import CheckpointError, ManifestError, RequestError, command
from common.loudness import integrated_loudness, true_peak
from common.score import Score
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord
from corpus.synth import WHOLE
from eval import (
    adherence,
    embeddings,
    fad,
    kad,
    lyrics,
    matrix,
    probes,
    protocol,
    recognisers,
    reconstruction,
    tempo,
)
from eval.embeddings import Encoder
from eval.matrix import Cell, Metric
from eval.mos.features import Heard, Quality
from eval.mos.model import Predictor
from eval.mos.predict import BUNDLED as LISTENER
from eval.planting import FAULTS, NONE, SOUND, TAKE, Version, versions
from eval.probes import Probes, Verdict
from eval.similarity import unit

logger = logging.getLogger(__name__)

PROMPT = "prompt"
ADHERENCE = ("onset_correlation", "beats", "chords", "chord_rank", "melody", "key")
_EXCERPT = 6.0  # seconds that reconstruction metrics compare
_LESS_IS_BETTER = ("mel_distance", "stft_distance", "true_peak_distance")
# Metrics of one song that need nothing but what `_Ears.of_version` computes.
SONGWISE = (
    *(Metric(f"adherence: {name}", 1) for name in ADHERENCE),
    *(Metric(f"probe: {name}", 1) for name in (*probes.QUESTIONS, "tempo")),
    *(Metric(f"copy: {name}", -1 if name in _LESS_IS_BETTER else 1) for name in reconstruction.METRICS),
    *(Metric(f"words: {name}", 1) for name in ("syllables heard", "confidence", "lines sung")),
    Metric("loudness", 0),
    Metric("true peak", 0),
)
_ASKED = ("adherence", "probe", "words")  # metrics that compare with what was asked for


@dataclass(frozen=True)
class Settings:
    """What to spoil and to hear."""

    manifest: str
    out: str
    songs: int = 24  # the first so many
    faults: list[str] = field(default_factory=lambda: list(FAULTS))
    encoders: list[str] = field(default_factory=lambda: ["corpus", "chinmu"])
    probes: str | None = None  # folder of eval.probes; those that come with the project when left out
    listener: str | None = None  # folder of eval.mos.train; the one that comes with the project
    cache: str = "runs/embeddings"
    keep: bool = False  # write the spoiled songs too, a folder for each fault
    seed: int = 0
    weights: embeddings.Weights = field(default_factory=embeddings.Weights)


# ---- one song ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Hearing:
    """What was heard of one song."""

    values: dict[str, dict[str, float]]  # version → metric → value
    rows: dict[str, dict[str, np.ndarray]]  # encoder → version → rows (windows, D)


class _Ears:
    """Everything that listens, loaded once."""

    def __init__(self, settings: Settings) -> None:
        self.encoders: dict[str, Encoder] = {
            name: embeddings.load(name, embeddings.of(settings.weights, name)) for name in settings.encoders
        }
        self.probes = Probes.load(settings.probes or embeddings.BUNDLED["corpus"])
        self.recogniser = recognisers.load(None)
        self.left_out: list[str] = []
        self.predictor = self._listener(settings)

    def _listener(self, settings: Settings) -> Predictor | None:
        """The learned listener with its encoders; None, and a sentence, where one of them is missing."""
        try:
            found = Predictor.load(settings.listener or LISTENER)
            for name in (found.config.hears, found.config.reads):
                if name not in self.encoders:
                    given = embeddings.of(settings.weights, name)
                    self.encoders[name] = Quality() if name == "quality" else embeddings.load(name, given)
        except CheckpointError as error:
            self.left_out.append(f"the learned listener is left out: {error}")
            return None
        return found

    def of_version(
        self, version: Version, reference: Audio, asked: SongRecord
    ) -> tuple[dict[str, float], Verdict, recognisers.Heard]:
        """Values of a version beside what was asked for, what the probes take it for, what is heard sung."""
        audio = version.audio
        out = _adherence(audio, asked.score)
        verdict = self.probes.judge(audio)
        out |= _fitting(verdict, asked) | _copied(reference, audio)
        out |= {"loudness": integrated_loudness(audio), "true peak": true_peak(audio)}
        heard = self._sung(audio)
        return out | self.worded(heard, asked), verdict, heard

    def _sung(self, audio: Audio) -> recognisers.Heard:
        """What the recogniser, which reads files, hears."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "song.wav"
            write_audio(path, audio)
            return self.recogniser.hear(path)

    def worded(self, heard: recognisers.Heard, asked: SongRecord) -> dict[str, float]:
        """How well the asked words are heard; nothing for a song without words."""
        if asked.lyrics is None or not asked.lyrics.lines:
            return {}
        found = lyrics.judge(heard, self.recogniser, asked.lyrics.lines)
        sung = [line.verdict in ("sung", "repeated") for line in found.lines]
        return {
            "words: syllables heard": found.matched / len(found.written),
            "words: confidence": float(np.mean([line.confidence for line in found.lines])),
            "words: lines sung": float(np.mean(sung)),
        }


def _adherence(audio: Audio, score: Score | None) -> dict[str, float]:
    if score is None:
        return {}
    found = asdict(adherence.measure(audio, score))
    return {f"adherence: {name}": found[name] for name in ADHERENCE if found[name] is not None}


def _fitting(verdict: Verdict, asked: SongRecord) -> dict[str, float]:
    """The share that the probes give to each true answer, and whether the tempo is the asked one."""
    out = {}
    for question in probes.QUESTIONS:
        truth = probes.answer(asked, question)
        if truth in verdict.shares[question]:
            out[f"probe: {question}"] = verdict.shares[question][str(truth)]
    if asked.tempo is not None:
        out["probe: tempo"] = float(tempo.compare(verdict.tempo, asked.tempo).octave)
    return out


def _copied(reference: Audio, audio: Audio) -> dict[str, float]:
    """How near the middle is to that of the reference; nothing where they differ in length."""
    if reference.samples.shape != audio.samples.shape:
        return {}
    length = min(round(_EXCERPT * audio.sample_rate), audio.samples.shape[1])
    start = (audio.samples.shape[1] - length) // 2
    first, second = (a.samples[:, start : start + length] for a in (reference, audio))
    found = {
        f"copy: {name}": metric(first, second, audio.sample_rate, "strict")
        for name, metric in reconstruction.METRICS.items()
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def in_sixteen_bits(audio: Audio, seed: int = 0) -> Audio:
    """Rounded to 16 bits with triangular dither: the least that a file does to a song."""
    rng = generator(seed, "dither")
    step = 2.0**-15
    noise = rng.random(audio.samples.shape) - rng.random(audio.samples.shape)
    rounded = np.rint(audio.samples / step + noise) * step
    return Audio(rounded.clip(-1, 1 - step).astype(np.float32), audio.sample_rate)


def hear_song(
    record: SongRecord, partner: SongRecord, root: Path, ears: _Ears, settings: Settings
) -> Hearing:
    """Spoil and hear one song.

    Args:
        partner: whose request is the wrong one.
    """
    values: dict[str, dict[str, float]] = {}
    rows: dict[str, dict[str, np.ndarray]] = {name: {} for name in ears.encoders}
    reference: Audio | None = None
    for version in versions(record, root, settings.faults, settings.seed):
        reference = reference or in_sixteen_bits(version.audio, settings.seed)
        values[version.fault], verdict, heard = ears.of_version(version, reference, record)
        for name, encoder in ears.encoders.items():
            rows[name][version.fault] = encoder.embed(version.audio)
        if version.fault == NONE:
            # The same sound beside another request: what isn't asked of the request stays.
            values[PROMPT] = {k: v for k, v in values[NONE].items() if not k.startswith(_ASKED)}
            values[PROMPT] |= _adherence(version.audio, partner.score) | _fitting(verdict, partner)
            values[PROMPT] |= ears.worded(heard, partner)
        if settings.keep:
            folder = Path(settings.out) / "songs" / version.fault
            write_audio(folder / f"{record.id}.flac", version.audio)
    for name in rows:
        rows[name][PROMPT] = rows[name][NONE]
    return Hearing(values, rows)


# ---- kept between runs ---------------------------------------------------------------------


def kept(path: Path, order: dict[str, Any]) -> Hearing | None:
    """What an earlier run heard of a song by the same order; None where there is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            notes = json.loads(str(file["notes"]))
            if notes["order"] != order:
                return None
            rows: dict[str, dict[str, np.ndarray]] = {}
            for key in file.files:
                if key != "notes":
                    encoder, version = key.split("/")
                    rows.setdefault(encoder, {})[version] = file[key]
    except (OSError, ValueError, KeyError):
        return None
    for found in rows.values():
        found[PROMPT] = found[NONE]
    return Hearing(notes["values"], rows)


def keep(path: Path, hearing: Hearing, order: dict[str, Any]) -> None:
    """Write what was heard, whole or not at all."""
    arrays: dict[str, Any] = {
        f"{encoder}/{version}": rows
        for encoder, found in hearing.rows.items()
        for version, rows in found.items()
        if version != PROMPT
    }
    arrays["notes"] = np.array(json.dumps({"order": order, "values": hearing.values}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part.npz")
    np.savez_compressed(part, **arrays)
    part.replace(path)


# ---- all songs -----------------------------------------------------------------------------


def told(record: SongRecord, seed: int = 0) -> str:
    """The words that a song is asked for by: what a layman says of all of it, or a piece of what is said."""
    for d in record.descriptions:
        if d.dimension == WHOLE and d.audience == Audience.AMATEUR:
            return d.text
    return protocol.cut(record, Audience.AMATEUR, generator(seed, "words", record.id))


def hear(records: Sequence[SongRecord], root: Path, ears: _Ears, settings: Settings) -> list[Hearing]:
    """Every song, from an earlier run where it is there."""
    out, began = [], time.monotonic()
    for number, record in enumerate(records, 1):
        partner = records[number % len(records)]
        order = {
            "faults": settings.faults,
            "encoders": {name: encoder.digest for name, encoder in ears.encoders.items()},
            "partner": partner.id,
            "seed": settings.seed,
        }
        path = Path(settings.out) / "heard" / f"{record.id}.npz"
        found = kept(path, order)
        if found is None:
            found = hear_song(record, partner, root, ears, settings)
            keep(path, found, order)
        out.append(found)
        logger.info("song %d of %d after %.0f s", number, len(records), time.monotonic() - began)
    return out


def _column(hearings: Sequence[Hearing], metric: str, version: str) -> np.ndarray:
    """Values (songs,), NaN where a song has none."""
    return np.array([h.values.get(version, {}).get(metric, np.nan) for h in hearings])


def _versions(hearings: Sequence[Hearing], settings: Settings) -> list[str]:
    """The columns: the controls, then the faults that some song allowed."""
    present = {name for h in hearings for name in h.values}
    return [name for name in (TAKE, PROMPT, *settings.faults) if name in present]


def _cosines(
    hearings: Sequence[Hearing],
    encoder: str,
    version: str,
    partner: Callable[[int, np.ndarray], float],
) -> np.ndarray:
    """One figure of each song's rows (songs,), NaN where the version is missing."""
    rows = [h.rows[encoder].get(version) for h in hearings]
    return np.array([np.nan if r is None else partner(i, r) for i, r in enumerate(rows)])


def semantic(hearings: Sequence[Hearing], encoder: Encoder, texts: Sequence[str], version: str) -> np.ndarray:
    """SST of each song (songs,): with the words of the next song where the prompt is the fault."""
    vectors = unit(encoder.embed_text(list(texts)))
    if version == PROMPT:
        vectors = np.roll(vectors, -1, axis=0)
    return _cosines(
        hearings,
        encoder.name,
        version,
        lambda i, rows: float(unit(unit(rows).mean(0)) @ vectors[i]),
    )


def acoustic(hearings: Sequence[Hearing], encoder: str, version: str) -> np.ndarray:
    """ASOA of each song's first half and the second half of what it should have been (songs,)."""
    wanted = [h.rows[encoder][NONE] for h in hearings]
    if version == PROMPT:
        wanted = [*wanted[1:], *wanted[:1]]

    def likeness(place: int, rows: np.ndarray) -> float:
        if len(rows) < 2 or len(wanted[place]) < 2:
            return float("nan")
        first, second = rows[: len(rows) // 2], wanted[place][len(wanted[place]) // 2 :]
        return float(unit(first.mean(0)) @ unit(second.mean(0)))

    return _cosines(hearings, encoder, version, likeness)


def _similarities(
    hearings: Sequence[Hearing], ears: _Ears, texts: Sequence[str], columns: Sequence[str]
) -> list[Cell]:
    """SST by encoders that read text, and ASOA by all that hear what songs are like."""
    out = []
    for name, encoder in ears.encoders.items():
        kinds: dict[str, dict[str, np.ndarray]] = {}
        if name in embeddings.READERS:
            kinds["SST"] = {v: semantic(hearings, encoder, texts, v) for v in (NONE, *columns)}
        if name != "quality":
            kinds["ASOA"] = {v: acoustic(hearings, name, v) for v in (NONE, *columns)}
        for title, values in kinds.items():
            metric = Metric(f"{title} ({name})", 1)
            out += [matrix.of_songs(metric, v, values[NONE], values[v]) for v in columns]
    return out


def _opinions(
    hearings: Sequence[Hearing], ears: _Ears, texts: Sequence[str], columns: Sequence[str]
) -> list[Cell]:
    """Impression and alignment by the learned listener."""
    if ears.predictor is None:
        return []
    predictor, config = ears.predictor, ears.predictor.config
    words = ears.encoders[config.reads].embed_text(list(texts))
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for version in (NONE, *columns):
        told_by = np.roll(words, -1, axis=0) if version == PROMPT else words
        whole = (np.full(len(hearings), np.nan), np.full(len(hearings), np.nan))
        here = [i for i, h in enumerate(hearings) if version in h.rows[config.hears]]
        heard = [
            Heard(
                hearings[i].rows[config.hears][version], hearings[i].rows[config.reads][version], told_by[i]
            )
            for i in here
        ]
        for values, part in zip(whole, predictor.predict(heard) if heard else ([], [])):
            values[here] = part
        found[version] = whole
    return [
        matrix.of_songs(Metric(f"listener: {title}", 1), v, found[NONE][side], found[v][side])
        for side, title in enumerate(("impression", "alignment"))
        for v in columns
    ]


Statistic = Callable[[list[np.ndarray], np.ndarray], float]  # of songs' rows, and the places to use


def _statistics(pool: Sequence[np.ndarray], seed: int) -> dict[str, tuple[Statistic, int, int]]:
    """Distances from a pool: name → of which songs' rows, fewest songs of a half, and halves to draw."""
    target = fad.fitted(pool)
    kernels: dict[int, tuple[list[np.ndarray], kad.Kernel]] = {}  # with the rows, so that an id stays taken

    def frechet(rows: list[np.ndarray], chosen: np.ndarray) -> float:
        return fad.between(fad.Gaussian.of_rows(np.concatenate([rows[i] for i in chosen])), target).value

    def limit(rows: list[np.ndarray], chosen: np.ndarray) -> float:
        return fad.extrapolate([rows[i] for i in chosen], pool, draws=1, seed=seed).value

    def discrepancy(rows: list[np.ndarray], chosen: np.ndarray) -> float:
        if id(rows) not in kernels:
            kernels[id(rows)] = rows, kad.kernel(rows, pool, seed)
        return kernels[id(rows)][1].distance(chosen)

    return {
        "FAD": (_remembering(frechet), 2, 40),
        "FAD∞": (_remembering(limit), 8, 16),
        "KAD": (discrepancy, 2, 40),
    }


def _remembering(statistic: Statistic) -> Statistic:
    """The same, computed once for the same rows: those without a fault are compared with every fault."""
    known: dict[tuple[int, ...], float] = {}

    def remembered(rows: list[np.ndarray], chosen: np.ndarray) -> float:
        key = tuple(id(rows[i]) for i in chosen)
        if key not in known:
            known[key] = statistic(rows, chosen)
        return known[key]

    return remembered


def _distances(
    hearings: Sequence[Hearing], encoder: str, pool: Sequence[np.ndarray], columns: Sequence[str], seed: int
) -> list[Cell]:
    """FAD, its extrapolation and KAD, each on the songs that have the version."""
    sides: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for version in columns:
        both = [(h.rows[encoder][NONE], h.rows[encoder].get(version)) for h in hearings]
        sides[version] = [a for a, b in both if b is not None], [b for _, b in both if b is not None]
    out = []
    for title, (statistic, fewest, draws) in _statistics(pool, seed).items():
        metric = Metric(f"{title} ({encoder})", -1)
        for version, (sound, faulty) in sides.items():

            def values(
                chosen: np.ndarray,
                of: Statistic = statistic,
                a: list[np.ndarray] = sound,
                b: list[np.ndarray] = faulty,
            ) -> tuple[float, float]:
                return of(a, chosen), of(b, chosen)

            out.append(matrix.of_sets(metric, version, values, len(sound), fewest, draws, seed))
    return out


def cells_of(
    hearings: Sequence[Hearing],
    ears: _Ears,
    texts: Sequence[str],
    pools: dict[str, list[np.ndarray]],
    settings: Settings,
) -> list[Cell]:
    """The matrix, corrected and judged."""
    columns = _versions(hearings, settings)
    cells: list[Cell] = []
    for name, pool in pools.items():
        cells += _distances(hearings, name, pool, columns, settings.seed)
    cells += _similarities(hearings, ears, texts, columns)
    cells += _opinions(hearings, ears, texts, columns)
    for metric in SONGWISE:
        sound = _column(hearings, metric.name, NONE)
        if np.isfinite(sound).any():
            cells += [matrix.of_songs(metric, v, sound, _column(hearings, metric.name, v)) for v in columns]
    return matrix.judged(cells)


# ---- command -------------------------------------------------------------------------------


def _pools(
    records: Sequence[SongRecord], chosen: Sequence[SongRecord], root: Path, ears: _Ears, settings: Settings
) -> dict[str, list[np.ndarray]]:
    """Encoder → the rows of the manifest's other songs; empty, and a sentence, where they are too few."""
    taken = {r.id for r in chosen}
    files = [root / r.audio for r in records if r.id not in taken and r.audio is not None]
    if len(files) < 8:
        ears.left_out.append(
            f"FAD and KAD are left out: beside the {len(chosen)} songs that are spoiled the manifest has "
            f"{len(files)} with audio, and 8 are needed as references"
        )
        return {}
    return {
        name: embeddings.embed_files(ears.encoders[name], files, settings.cache).all()
        for name in settings.encoders
    }


def measure(settings: Settings) -> tuple[list[Cell], list[str]]:
    """The matrix, and what was left out and why.

    Raises:
        SongError: an input is missing or can't be used.
    """
    unknown = sorted(set(settings.faults) - set(FAULTS))
    if unknown:
        raise RequestError(f"there is no fault {unknown[0]!r}; known are {', '.join(FAULTS)}")
    records = [r for r in manifest.read(settings.manifest) if r.descriptions]
    chosen = records[: settings.songs]
    if len(chosen) < matrix.FEWEST:
        raise ManifestError(
            f"a matrix needs {matrix.FEWEST} songs with descriptions, but {settings.manifest} gives "
            f"{len(chosen)}"
        )
    root, ears = Path(settings.manifest).parent, _Ears(settings)
    hearings = hear(chosen, root, ears, settings)
    if not any(set(settings.faults) - set(SOUND) & set(h.values) for h in hearings):
        ears.left_out.append("faults of music are left out: no song can be rendered again from its seed")
    pools = _pools(records, chosen, root, ears, settings)
    texts = [told(r, settings.seed) for r in chosen]
    return cells_of(hearings, ears, texts, pools, settings), ears.left_out


def write(cells: Sequence[Cell], left_out: Sequence[str], settings: Settings) -> None:
    """matrix.json, matrix.md and matrix.png."""
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    songs = max(c.songs for c in cells)
    data = {"songs": songs, "cells": [asdict(c) for c in cells], "left_out": list(left_out)}
    for name, text in (
        ("matrix.json", json.dumps(data, ensure_ascii=False, indent=1) + "\n"),
        ("matrix.md", matrix.markdown(cells) + "\n"),
    ):
        part = out / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(out / name)
    title = f"{songs} songs, effects in standard errors; blue: noticed, orange: taken for better"
    matrix.draw(cells, out / "matrix.png", title)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Plant, listen, print and write: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    settings = configs.parse(Settings, argv)
    cells, left_out = measure(settings)
    print(matrix.markdown(cells))
    print("\n".join(["", *matrix.words(cells), *left_out]))
    write(cells, left_out, settings)
    print(f"wrote matrix.json, matrix.md and matrix.png to {settings.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
