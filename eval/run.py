"""Every score that the given files allow, as JSON, CSV and one page to read and hear.

    python -m eval.run --songs songs --references data/corpus/test/manifest.jsonl \
        --prompts prompts.jsonl --out scores

`--songs` is a folder of audio (one system) or of folders (a system each, called by the folder's
name). `--references` is a folder of real songs or a manifest. `--prompts` is read by `eval.prompts`.
Without prompts there is no SST and no ASOA; without references no FAD, KAD and ASOA. Encoders are
all those whose weights are on the machine unless `--encoders` names some; what is left out is said.
What eval.adherence, eval.lyrics and eval.requests found (`--out`) is shown too, where adherence.json,
lyrics.json or requests.json lies beside a system's songs, in `--details`/<system>, or, for one system, in
`--details`.

Conventions: each figure has its count and interval (over songs) and stands between a floor and a
ceiling of the same metric: noise or wrong partners, and real songs. Systems are compared on the
prompts that all of them answered, with Holm's correction over every comparison of the run.
"""

import csv
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from common import config as configs
from common.audio import Audio
from common.description import Audience
from common.errors import ManifestError, RequestError, run_command
from common.seeds import generator
from common.statistics import Estimate, bootstrap, finite, holm, least_holm, least_p, sign_flips, swaps
from corpus import manifest
from eval import embeddings, fad, flaws, kad, prompts, protocol, report, similarity
from eval.embeddings import Embedded, Encoder
from eval.prompts import Prompt
from eval.similarity import EVERYONE

logger = logging.getLogger(__name__)

DETAILS = ("adherence", "lyrics", "requests")  # commands whose figures are shown beside the scores
CEILING, FLOOR = "ceiling", "floor"
LOWER_IS_BETTER = ("FAD", "FAD∞", "KAD")
_NOISES, _NOISE_SECONDS = 12, 20
_AGREED = 0.05


@dataclass(frozen=True)
class Settings:
    """What to score."""

    songs: str  # a folder of audio, or of one folder per system
    out: str
    references: str | None = None  # a folder of real songs, or a manifest
    prompts: str | None = None  # .jsonl, .csv or .tsv
    encoders: list[str] = field(default_factory=list)  # every one that is here when empty
    protocol: str | None = None  # mudit: the paper's experiment
    cache: str = "runs/embeddings"
    allow_missing: bool = False  # leave out files that can't be heard
    details: str | None = None  # folder of adherence.json, lyrics.json and requests.json, by system
    players: int = 4  # songs of each system to hear in the page
    seed: int = 0
    weights: embeddings.Weights = field(default_factory=embeddings.Weights)


@dataclass(frozen=True)
class Row:
    """One figure of one system. `note` says what it was measured on."""

    metric: str
    encoder: str
    system: str
    audience: str
    estimate: Estimate
    null: float | None = None  # the same with wrong partners
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two systems on the prompts that both answered."""

    metric: str
    encoder: str
    first: str
    second: str
    difference: float  # first − second
    p: float
    corrected: float
    prompts: int
    least: float = 0.0  # the smallest that `corrected` could have been with so many songs

    def __str__(self) -> str:
        name = f"{self.metric} ({self.encoder})"
        on = f"on {self.prompts} shared prompts (p = {self.corrected:.3g} after Holm)"
        if self.corrected > _AGREED:
            if self.least > _AGREED:
                return f"{name}: too few prompts to tell {self.first} from {self.second} {on}"
            return f"{name}: no significant difference between {self.first} and {self.second} {on}"
        better = (self.difference < 0) == (self.metric in LOWER_IS_BETTER)
        winner, loser = (self.first, self.second) if better else (self.second, self.first)
        return f"{name}: {winner} is better than {loser} {on}"


@dataclass
class Scores:
    """What a run found."""

    rows: list[Row] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    conventions: dict[str, str] = field(default_factory=dict)  # encoder → words
    warnings: list[str] = field(default_factory=list)
    songs: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # system → song → metric
    files: dict[str, list[str]] = field(default_factory=dict)  # system → audio files
    prompts: dict[str, str] = field(default_factory=dict)  # song's name → words
    details: dict[str, dict[str, Any]] = field(default_factory=dict)  # system → kind → figures

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            logger.warning("%s", text)
            self.warnings.append(text)

    def tell(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            self.warn(sentence)

    def note(self, system: str, song: str, metric: str, value: float) -> None:
        self.songs.setdefault(system, {}).setdefault(song, {})[metric] = float(value)


# ---- inputs --------------------------------------------------------------------------------


def systems_of(folder: str | Path) -> dict[str, list[Path]]:
    """System → its audio files.

    Raises:
        RequestError: neither the folder nor its folders hold audio.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RequestError(f"there is no folder {root}")
    if any(map(embeddings.is_song, root.iterdir())):
        return {root.resolve().name: embeddings.audio_files(root)}
    out = {}
    for inner in sorted(p for p in root.iterdir() if p.is_dir()):
        if any(map(embeddings.is_song, inner.iterdir())):
            out[inner.name] = embeddings.audio_files(inner)
    if not out:
        raise RequestError(f"{root} holds no audio, and none of its folders does")
    reserved = {CEILING, FLOOR} & set(out)
    if reserved:
        raise RequestError(f"a system can't be called {reserved.pop()!r}: rename its folder")
    return out


def _tell_unread(settings: Settings, systems: dict[str, list[Path]], scores: Scores) -> None:
    """Name the sound in the given folders that nobody reads."""
    root = Path(settings.songs)
    folders = {files[0].parent for files in systems.values()} | {root}
    if settings.references and Path(settings.references).is_dir():
        folders.add(Path(settings.references))
    for folder in sorted(folders):
        if words := embeddings.unread(folder, systems if folder == root else ()):
            scores.warn(words)


def reference_files(given: str | Path) -> list[Path]:
    """The real songs: a folder's files, or those of a manifest.

    Raises:
        RequestError: there is nothing, or a folder without audio.
        ManifestError: the manifest can't be read, or names no audio.
    """
    path = Path(given)
    if path.is_dir():
        return embeddings.audio_files(path)
    if not path.is_file():
        raise RequestError(f"references are a folder of audio or a manifest, but there is no {path}")
    records = [r for r in manifest.read(path) if r.audio is not None]
    if not records:
        raise ManifestError(f"{path} names no audio")
    return [path.parent / str(r.audio) for r in records]


def chosen_encoders(settings: Settings, scores: Scores) -> list[str]:
    """The encoders to use: the named ones, else all whose weights are here."""
    if settings.encoders:
        return settings.encoders
    out = []
    for name in embeddings.NAMES:
        if embeddings.available(name, embeddings.of(settings.weights, name)):
            out.append(name)
        else:
            scores.warn(f"{name} is left out: its weights aren't on this machine")
    return out


# ---- one encoder ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """All songs by one encoder."""

    encoder: Encoder
    systems: dict[str, Embedded]
    references: Embedded | None
    pool: list[np.ndarray]  # rows of the references that distances are measured from
    answers: dict[str, dict[str, Prompt]]  # system → song → prompt


def _audible(systems: dict[str, list[Path]], scores: Scores) -> dict[str, list[Path]]:
    """The systems of which at least one file can be opened; the others are named.

    Raises:
        RequestError: none is left.
    """
    found = {name: files for name, files in systems.items() if any(map(flaws.opens, files))}
    for name in systems.keys() - found.keys():
        scores.warn(f"the system {name} is left out: none of its {len(systems[name])} files is audio")
    if not found:
        raise RequestError("none of the songs can be heard")
    return found


def _hear(
    name: str,
    settings: Settings,
    systems: dict[str, list[Path]],
    references: list[Path],
    asked: dict[str, Prompt],
) -> Heard:
    encoder = embeddings.load(name, embeddings.of(settings.weights, name))

    def heard(files: Sequence[Path]) -> Embedded:
        return embeddings.embed_files(encoder, files, settings.cache, settings.allow_missing)

    found = {system: heard(files) for system, files in systems.items()}
    real = heard(references) if references else None
    answers = {system: prompts.answered(songs.names, asked) for system, songs in found.items()}
    pool = _pool(real, asked, settings) if real else []
    return Heard(encoder, found, real, pool, answers)


def _leave_out(heard: Heard, scores: Scores) -> None:
    """Name the files that couldn't be heard, and take them from the songs of their system."""
    for system, songs in heard.systems.items():
        for file, reason in songs.missing.items():
            scores.warn(f"{Path(file).name} of {system} is left out: {reason}")
        scores.files[system] = [f for f in scores.files[system] if f not in songs.missing]
    for file, reason in (heard.references.missing if heard.references else {}).items():
        scores.warn(f"{Path(file).name} of the references is left out: {reason}")


def _tell_flaws(heard: Heard, systems: dict[str, list[Path]], references: list[Path], scores: Scores) -> None:
    """What may mislead about the songs to this encoder: their sampling rates, and copies."""
    scores.tell(flaws.narrow(heard.encoder, systems | {"the references": references}))
    for system, songs in heard.systems.items():
        scores.tell(flaws.copies(system, songs))
        scores.tell(flaws.known(system, songs, heard.references) if heard.references else [])
    if heard.references:
        scores.tell(flaws.copies("the references", heard.references))
        scores.tell(flaws.uneven({system: len(songs) for system, songs in heard.systems.items()}))


def _pool(real: Embedded, asked: dict[str, Prompt], settings: Settings) -> list[np.ndarray]:
    """The rows of the references; in the paper's protocol 1,000 songs that no prompt was said of."""
    if settings.protocol is None:
        return real.all()
    own = {p.reference_in(real.names) for p in asked.values()}
    others = [i for i, name in enumerate(real.names) if name not in own]
    kept = generator(settings.seed, "references").permutation(len(others))[: protocol.REFERENCES]
    if len(kept) < 2:
        raise RequestError(f"beside the prompts' own songs there are {len(kept)} references: give more")
    return [real.rows(others[i]) for i in sorted(kept)]


def _spoken_to(songs: Embedded, answers: dict[str, Prompt], audience: str) -> list[int]:
    if audience == EVERYONE:
        return list(range(len(songs)))
    return [i for i, n in enumerate(songs.names) if n in answers and answers[n].audience == audience]


def _distances(heard: Heard, scores: Scores, seed: int) -> None:
    """FAD, its extrapolation and KAD of every system, each audience apart, and the paper's average."""
    name = heard.encoder.name
    windows = sum(map(len, heard.pool))
    if windows < 2:
        scores.warn(
            f"FAD and KAD ({name}) are left out: the references are {windows} windows, and 2 are needed"
        )
        return
    for system, songs in heard.systems.items():
        answers = heard.answers[system]
        spoken = [a.value for a in Audience if len(_spoken_to(songs, answers, a.value)) >= 2]
        found = []
        for audience in spoken or [EVERYONE]:
            places = _spoken_to(songs, answers, audience)
            rows = [songs.rows(i) for i in places]
            try:
                found.append(_distance_rows(name, system, audience, rows, heard.pool, scores, seed))
            except RequestError as error:
                windows, seconds = (
                    sum(map(len, rows)),
                    _seconds(scores, system, [songs.names[i] for i in places]),
                )
                scores.warn(
                    f"FAD and KAD ({name}) of {system} are left out: its songs ({len(rows)}, "
                    f"of {seconds:.1f} s and {windows} windows together) can't be measured: {error}"
                )
        if len(found) > 1:
            for parts in zip(*found):
                scores.rows.append(_averaged(parts))
        for song, value in zip(songs.names, fad.per_song(songs.all(), heard.pool)):
            scores.note(system, song, f"FAD ({name})", value)
    try:
        _distance_bounds(heard, scores, seed)
    except RequestError as error:
        scores.warn(f"the bounds of FAD and KAD ({name}) are left out: {error}")


def _seconds(scores: Scores, system: str, names: Sequence[str]) -> float:
    """The length of some songs of a system together."""
    return sum(soundfile.info(f).duration for f in scores.files[system] if Path(f).stem in names)


def _distance_rows(
    name: str,
    system: str,
    audience: str,
    rows: list[np.ndarray],
    pool: list[np.ndarray],
    scores: Scores,
    seed: int,
) -> list[Row]:
    found = fad.score(rows, pool, seed=seed)
    d = found.distance
    counts = (
        f"songs {len(rows)}/{len(pool)}, rows {d.rows[0]}/{d.rows[1]}, D {d.dimensions}, rank {d.ranks[0]}"
    )
    if found.warnings:  # once for an encoder: the counts stand beside each figure
        scores.warn(
            f"FAD ({name}): some sets have fewer than {2 * d.dimensions} rows or 8 songs (see the counts): "
            "such a value is mostly bias, or has no interval; compare only sets of equal size"
        )
    value = found.interval or Estimate(d.value, float("nan"), float("nan"), len(rows))
    out = [Row("FAD", name, system, audience, value, note=counts)]
    if found.extrapolated:
        limit = found.extrapolated
        estimate = Estimate(limit.value, float("nan"), float("nan"), len(rows))
        out.append(Row("FAD∞", name, system, audience, estimate, note=f"R² {limit.r_squared:.3f}; {counts}"))
    kernel = kad.kernel_distance(rows, pool, seed=seed)
    out.append(Row("KAD", name, system, audience, kernel, note=counts))
    scores.rows += out
    return out


def _averaged(parts: Sequence[Row]) -> Row:
    """The mean over audiences, as the paper averages; its interval is as wide as if they moved together."""
    value = float(np.mean([r.estimate.value for r in parts]))
    half = float(np.mean([(r.estimate.high - r.estimate.low) / 2 for r in parts]))
    count = sum(r.estimate.count for r in parts)
    first = parts[0]
    estimate = Estimate(value, value - half, value + half, count)
    return Row(first.metric, first.encoder, first.system, EVERYONE, estimate, note="mean of audiences")


def _distance_bounds(heard: Heard, scores: Scores, seed: int) -> None:
    """Real songs against the other real songs, as many as a system has; and white noise.

    Raises:
        RequestError: the references can't be measured against.
    """
    name, pool = heard.encoder.name, heard.pool
    size = min(min(len(s) for s in heard.systems.values()), len(pool) // 2)
    if size >= 2:
        order = generator(seed, "ceiling").permutation(len(pool))
        real, rest = [pool[i] for i in order[:size]], [pool[i] for i in order[size:]]
        _distance_rows(name, CEILING, EVERYONE, real, rest, scores, seed)
        scores.warn(
            f"the ceiling of FAD ({name}) is {size} real songs against {len(rest)} others: fewer songs than "
            "a system has make its bias larger; KAD and FAD∞ bear the comparison better"
        )
    rng = generator(seed, "noise")
    rate = heard.encoder.sample_rate
    sounds = [
        Audio(0.2 * rng.standard_normal((1, _NOISE_SECONDS * rate)).clip(-4, 4).astype(np.float32), rate)
        for _ in range(min(_NOISES, max(2, size)))
    ]
    noise = [heard.encoder.embed(sound) for sound in sounds]
    _distance_rows(name, FLOOR, EVERYONE, noise, pool, scores, seed)


def _similarities(heard: Heard, scores: Scores) -> dict[str, dict[str, similarity.Similarity]]:
    """SST where the encoder reads text and ASOA where it has references; metric → system → values."""
    out: dict[str, dict[str, similarity.Similarity]] = {}
    kinds: dict[str, Callable[[str], similarity.Similarity]] = {}
    if heard.encoder.name in embeddings.READERS:
        kinds["SST"] = lambda s: similarity.sst(heard.encoder, heard.systems[s], heard.answers[s].items())
    if heard.references is not None:
        real = heard.references
        kinds["ASOA"] = lambda s: similarity.asoa(heard.systems[s], real, heard.answers[s].items())
    for metric, measure in kinds.items():
        for system in heard.systems:
            try:
                out.setdefault(metric, {})[system] = measure(system)
            except RequestError as error:
                scores.warn(f"{metric} ({heard.encoder.name}), {system}: {error}")
    for metric, by_system in out.items():
        for system, found in by_system.items():
            _similarity_rows(metric, heard.encoder.name, system, found, scores)
        if by_system:
            _similarity_ceiling(metric, heard, scores)
    return out


def _similarity_rows(
    metric: str, name: str, system: str, found: similarity.Similarity, scores: Scores
) -> None:
    for audience in found.audiences():
        value, null = found.estimate(audience), found.estimate(audience, null=True)
        if value is not None:
            null_value = null.value if null else None
            note = f"{len(found.values)} songs of {value.count} real ones"
            scores.rows.append(Row(metric, name, system, audience, value, null_value, note))
            if null is not None and system not in (CEILING, FLOOR) and audience == EVERYONE:
                scores.rows.append(
                    Row(metric, name, f"{FLOOR}: {system}", audience, null, note="wrong partners")
                )
    for song, value in zip(found.names, found.values):
        scores.note(system, song, f"{metric} ({name})", value)


def _similarity_ceiling(metric: str, heard: Heard, scores: Scores) -> None:
    """The real songs with the words that were said of them; a real song's one half with its other."""
    real, name = heard.references, heard.encoder.name
    if real is None:
        return
    if metric == "ASOA":
        values = similarity.halves(real)
        if len(values):
            scores.rows.append(
                Row(metric, name, CEILING, EVERYONE, bootstrap(values), note="halves of real songs")
            )
        return
    asked = {p.id: p for found in heard.answers.values() for p in found.values()}
    told = [(ref, p) for p in asked.values() if (ref := p.reference_in(real.names)) is not None]
    if told:
        _similarity_rows(metric, name, CEILING, similarity.sst(heard.encoder, real, told), scores)


# ---- comparisons ---------------------------------------------------------------------------


def _compare(heard: Heard, found: dict[str, dict[str, similarity.Similarity]], seed: int) -> list[Comparison]:
    """Every pair of systems by every metric, uncorrected."""
    out = []
    for first, second in combinations(heard.systems, 2):
        for metric, by_system in found.items():
            if first in by_system and second in by_system:
                out += _compare_values(metric, heard.encoder.name, by_system, first, second)
        out += _compare_sets(heard, first, second, seed)
    return out


def _by_prompt(names: Sequence[str], answers: dict[str, Prompt]) -> dict[str, list[int]]:
    """Prompt's id → the places of the songs that answer it."""
    out: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name in answers:
            out.setdefault(answers[name].id, []).append(place)
    return out


def _compare_values(
    metric: str, encoder: str, found: dict[str, similarity.Similarity], first: str, second: str
) -> list[Comparison]:
    sides: list[dict[str, float]] = []
    songs: dict[str, str] = {}
    for system in (first, second):
        part = found[system]
        answers = dict(zip(part.names, part.prompts))
        sides.append({k: part.values[v].mean() for k, v in _by_prompt(part.names, answers).items()})
        songs |= {p.id: p.song for p in part.prompts}
    shared = sorted(set(sides[0]) & set(sides[1]))
    if len(shared) < 2:
        return []
    differences = np.array([sides[0][k] - sides[1][k] for k in shared])
    owners = [songs[k] for k in shared]
    p, least = sign_flips(differences, owners), least_p(len(set(owners)))
    return [Comparison(metric, encoder, first, second, float(differences.mean()), p, p, len(shared), least)]


def _compare_sets(heard: Heard, first: str, second: str, seed: int) -> list[Comparison]:
    """FAD by swapping the two systems' songs at random; the mean of audiences, as in the table.

    What answers the prompts of one real song is swapped together, for those prompts aren't independent.
    Each audience is a set of its own: a song that answers prompts of both would count twice in one.
    """
    if sum(map(len, heard.pool)) < 2:
        return []
    sides = []
    for system in (first, second):
        songs = heard.systems[system]
        places = _by_prompt(songs.names, heard.answers[system])
        sides.append({k: np.concatenate([songs.rows(i) for i in v]) for k, v in places.items()})
    shared = sorted(set(sides[0]) & set(sides[1]))
    if len(shared) < 8:
        return []
    target = fad.fitted(heard.pool)
    asked = {p.id: p for system in (first, second) for p in heard.answers[system].values()}
    audience = {k: asked[k].audience for k in shared}
    songs_told = sorted({asked[k].song for k in shared})
    song = np.array([songs_told.index(asked[k].song) for k in shared])
    groups = [[n for n, k in enumerate(shared) if audience[k] == a] for a in {audience[k] for k in shared}]
    if min(map(len, groups)) < 2:
        groups = [list(range(len(shared)))]

    def difference(swapped: np.ndarray) -> float:
        found = []
        for group in groups:
            sets = [
                np.concatenate([sides[side ^ int(swapped[n])][shared[n]] for n in group]) for side in (0, 1)
            ]
            values = [fad.between(fad.Gaussian.of_rows(rows), target).value for rows in sets]
            found.append(values[0] - values[1])
        return float(np.mean(found))

    observed = difference(np.zeros(len(shared), dtype=bool))
    p = swaps(lambda swapped: difference(swapped[song]), len(songs_told), seed=seed)
    least = least_p(len(songs_told))
    return [Comparison("FAD", heard.encoder.name, first, second, observed, p, p, len(shared), least)]


# ---- the run -------------------------------------------------------------------------------


def measure(settings: Settings) -> Scores:
    """Everything that the inputs allow.

    Raises:
        SongError: an input is missing or can't be used.
    """
    if settings.protocol not in (None, "mudit"):
        raise RequestError(f"the protocol is mudit or none, but got {settings.protocol!r}")
    if settings.protocol and not (settings.prompts and settings.references):
        raise RequestError(
            "--protocol mudit needs --references, and --prompts drawn by python -m eval.protocol"
        )
    scores = Scores()
    systems = systems_of(settings.songs)
    if settings.allow_missing:
        systems = _audible(systems, scores)
    references = reference_files(settings.references) if settings.references else []
    _tell_unread(settings, systems, scores)
    asked = prompts.read(settings.prompts) if settings.prompts else {}
    _describe(scores, settings, systems, asked, references)
    for name in chosen_encoders(settings, scores):
        heard = _hear(name, settings, systems, references, asked)
        _leave_out(heard, scores)
        _tell_flaws(heard, systems, references, scores)
        scores.conventions[name] = heard.encoder.convention
        if heard.pool:
            _distances(heard, scores, settings.seed)
        found = _similarities(heard, scores) if asked else {}
        scores.comparisons += _compare(heard, found, settings.seed)
    p_values = [c.p for c in scores.comparisons]
    least = least_holm(p_values, [c.least for c in scores.comparisons])
    scores.comparisons = [
        replace(c, corrected=p, least=q) for c, p, q in zip(scores.comparisons, holm(p_values), least)
    ]
    return scores


def _describe(
    scores: Scores,
    settings: Settings,
    systems: dict[str, list[Path]],
    asked: dict[str, Prompt],
    references: list[Path],
) -> None:
    """Files, words and details of every system, and what the inputs lack."""
    real = {r.stem for r in references}
    for system, files in systems.items():
        scores.files[system] = [str(f) for f in files]
        answers = prompts.answered([f.stem for f in files], asked)
        scores.prompts |= {name: p.text for name, p in answers.items()}
        if asked and len(answers) < len(files):
            strange = [f.stem for f in files if f.stem not in answers]
            scores.warn(
                f"{len(strange)} of {len(files)} songs of {system} answer no prompt: "
                f"{embeddings.shortly(strange)}"
            )
        answered = {p.id for p in answers.values()}
        if lacking := [name for name in asked if name not in answered]:
            scores.warn(
                f"{len(lacking)} of {len(asked)} prompts have no song of {system}, whose figures are of the "
                f"others: {embeddings.shortly(lacking)}"
            )
        strangers = [name for name, p in answers.items() if p.reference_in(real) is None]
        if 0 < len(strangers) < len(answers) and real:
            scores.warn(
                f"{len(strangers)} of {len(answers)} songs of {system} have no real song of their own among "
                f"the references, and no ASOA: {embeddings.shortly(strangers)}"
            )
        scores.tell(flaws.faint(system, files))
        if found := _details(settings, system, files[0].parent, len(systems)):
            scores.details[system] = found
    if not asked:
        scores.warn("no prompts: SST, ASOA and comparisons of systems are left out")
    scores.tell(flaws.faint("the references", references))
    if not references:
        scores.warn("no references: FAD, KAD and ASOA are left out")
    if settings.protocol:
        own = {p.reference_in(r.stem for r in references) for p in asked.values()}
        others = tuple(r.stem for r in references if r.stem not in own)[: protocol.REFERENCES]
        for missing in protocol.shortfalls(protocol.Draw(tuple(asked.values()), others)):
            scores.warn(f"protocol: {missing}")


def _details(settings: Settings, system: str, songs: Path, systems: int) -> dict[str, Any]:
    """What other commands found of a system: kind → figures, beside its songs or in the given folder.

    Raises:
        RequestError: there is no such folder, or a file in it isn't what those commands write.
    """
    folders = [songs]
    if settings.details is not None:
        root = Path(settings.details)
        if not root.is_dir():
            raise RequestError(f"there is no folder {root} for --details")
        folders += [root / system, *([root] if systems == 1 else [])]
    paths = [(kind, folder / f"{kind}.json") for folder in folders for kind in DETAILS]
    return {kind: _figures(path) for kind, path in paths if path.is_file()}


def _figures(path: Path) -> dict[str, Any]:
    """Name → figure of one file, each a number, words, an estimate, or estimates by name."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read as JSON: {error}; write it again") from error
    if not isinstance(found, dict):
        raise RequestError(f"{path} holds no figures by name: write it again with eval.{path.stem}")
    for name, figure in found.items():
        if not _is_figure(figure):
            raise RequestError(f"{path}: {name!r} is no figure: write it again with eval.{path.stem}")
    return found


def _is_figure(figure: Any) -> bool:
    if not isinstance(figure, dict):
        return figure is None or isinstance(figure, int | float | str)
    if "judged" in figure:
        return all(figure.get(k) is None or _is_estimate(figure[k]) for k in ("judged", "judge", "corrected"))
    return _is_estimate(figure)


def _is_estimate(figure: Any) -> bool:
    if not isinstance(figure, dict) or "value" not in figure:
        return False
    numbers = [figure.get(name) for name in ("value", "low", "high", "chance", "count")]
    return all(n is None or isinstance(n, int | float) for n in numbers)


def table_of(scores: Scores) -> list[dict[str, Any]]:
    """The rows flat, for CSV and JSON; what isn't finite is None."""
    return finite(
        [
            {
                "metric": row.metric,
                "encoder": row.encoder,
                "system": row.system,
                "audience": row.audience,
                "value": row.estimate.value,
                "low": row.estimate.low,
                "high": row.estimate.high,
                "songs": row.estimate.count,
                "null": row.null,
                "note": row.note,
            }
            for row in scores.rows
        ]
    )


def write(scores: Scores, out: Path, players: int) -> None:
    """scores.json, scores.csv and report.html, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    rows = table_of(scores)
    kept = {
        "rows": rows,
        "comparisons": [finite(asdict(c)) | {"words": str(c)} for c in scores.comparisons],
        "conventions": scores.conventions,
        "warnings": scores.warnings,
        "songs": finite(scores.songs),
        "files": scores.files,
        "prompts": scores.prompts,
        "details": finite(scores.details),
    }
    _put(out / "scores.json", json.dumps(kept, ensure_ascii=False, indent=1, allow_nan=False))
    part = out / ".scores.csv.part"
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["metric"])
        writer.writeheader()
        writer.writerows(rows)
    part.replace(out / "scores.csv")
    _put(out / "report.html", report.page(kept, players))


def _put(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _place(out: Path) -> None:
    """Make the folder of the scores, before hours go by to measure them.

    Raises:
        RequestError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        _put(out / ".scores", "")
        (out / ".scores").unlink()
    except OSError as error:
        raise RequestError(f"scores can't be written to {out}: {error.strerror or error}") from error


def main() -> int:
    """Score, print and write."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings)
    _place(Path(settings.out))
    scores = measure(settings)
    for row in scores.rows:
        null = "" if row.null is None else f", null {row.null:.3f}"
        print(f"{row.metric:5} {row.encoder:10} {row.system:20} {row.audience:13} {row.estimate}{null}")
    for comparison in scores.comparisons:
        print(comparison)
    write(scores, Path(settings.out), settings.players)
    print(f"wrote scores.json, scores.csv and report.html to {settings.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
