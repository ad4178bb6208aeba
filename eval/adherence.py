"""How well audio keeps its score: beats, chords, melody, key.

    python -m eval.adherence --manifest data/corpus/test/manifest.jsonl --songs 24

Conventions: each figure stands beside what the same audio gets with a wrong score: the score
shifted in time, its chords or its sung pitches shuffled. Real songs don't reach 1 (voices and drums
cover chords, chords cover voices): compare with the figures of the corpus's own audio.

Metrics of one song (`measure`):
    onset_correlation   of onset strength with the score's strokes, against shifted scores
    beats               share of beats with an onset within 50 ms, against shifted scores
    chords              mean cosine of chroma and chord tones over chord spans, against shuffled chords
    chord_rank          share of chord spans where the chord fits better than its 11 transpositions (1/12)
    melody              share of sung notes whose pitch class is the most salient within ±6 semitones,
                        against the notes' pitches shuffled
    key                 MIREX weight of the key heard: 1 right, 0.5 a fifth, 0.3 relative, 0.2 parallel
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio
from common.errors import ManifestError, command
from common.score import Score
from common.seeds import generator
from common.statistics import Estimate, bootstrap, finite
from common.theory import Chord, Key
from corpus import manifest
from corpus.record import SongRecord
from eval import hearing
from eval.embeddings import SUFFIXES
from eval.hearing import Frames

logger = logging.getLogger(__name__)

NEAR = 0.05  # seconds
_SHIFTS = 40  # wrong scores to average over
_BLUR = 0.02  # seconds: the standard deviation of a stroke in the expected curve
_SHORTEST_CHORD = 0.3  # seconds
_DRUM_WEIGHT = {"kick": 1.0, "snare": 1.0, "hat": 0.5}
_NOTE_WEIGHT = 0.6
# How well each pitch class fits a key (Krumhansl and Kessler 1982).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True)
class Adherence:
    """Figures of one song; None where the score has nothing of the kind. `*_null`: with a wrong score."""

    onset_correlation: float | None
    onset_null: float | None
    beats: float | None
    beats_null: float | None
    chords: float | None
    chords_null: float | None
    chord_rank: float | None
    melody: float | None
    melody_null: float | None
    key: float
    notes: int  # sung notes judged


# ---- beats ---------------------------------------------------------------------------------


def onsets(audio: Audio) -> Frames:
    """Onset strength (frames,) at 86 Hz."""
    return hearing.onset_strength(hearing.mono(audio))


def strokes(score: Score) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and weights of all that begins in a score: drum hits, melody notes, chord changes."""
    events = [(hit.time, _DRUM_WEIGHT[hit.drum] * hit.velocity) for hit in score.drum_hits()]
    events += [(note.start, _NOTE_WEIGHT) for note in score.note_spans()]
    events += [(span.start, _NOTE_WEIGHT) for span in score.chord_spans()]
    table = np.array(events, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def onset_correlation(strength: Frames, score: Score, seed: int = 0) -> tuple[float, float] | None:
    """Correlation of onset strength with the score's strokes, and its mean over shifted scores."""
    times, weights = strokes(score)
    if not len(times) or not strength.values.any():
        return None
    frames = len(strength.values)
    expected = np.zeros(frames)
    np.maximum.at(expected, strength.index(times), weights)
    reach = np.arange(-6, 7) / strength.rate
    expected = np.convolve(expected, np.exp(-0.5 * (reach / _BLUR) ** 2), mode="same")
    shifts = generator(seed, "shifted score").integers(frames, size=_SHIFTS)
    null = np.mean([_correlation(strength.values, np.roll(expected, s)) for s in shifts])
    return _correlation(strength.values, expected), float(null)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm > 0 else 0.0


def beats_kept(strength: Frames, score: Score, seed: int = 0) -> tuple[float, float] | None:
    """Share of the beats that something is played on with an onset within 50 ms, and that of shifted scores.

    Shifts are by a random part of a beat: a whole beat would be no wrong score.
    """
    times = np.unique(np.round(strokes(score)[0], 4))
    beats = np.array(score.beats())
    beats = beats[_nearest(beats, times) < 1e-3] if len(times) else beats[:0]
    if not len(beats):
        return None
    found = hearing.onset_times(strength)
    shifts = generator(seed, "shifted beats").uniform(0, score.beat_seconds, _SHIFTS)
    null = np.mean([(_nearest(beats + s, found) <= NEAR).mean() for s in shifts])
    return float((_nearest(beats, found) <= NEAR).mean()), float(null)


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Seconds from each time to the nearest of the others (sorted); infinite when there are none."""
    if not len(others):
        return np.full(len(times), np.inf)
    right = np.searchsorted(others, times)
    before = np.abs(times - others[np.maximum(right - 1, 0)])
    return np.minimum(before, np.abs(times - others[np.minimum(right, len(others) - 1)]))


# ---- chords and key ------------------------------------------------------------------------


def chroma(audio: Audio) -> Frames:
    """Pitch classes (12, frames) of unit length at 10.8 Hz."""
    return hearing.chromagram(hearing.mono(audio))


def template(chord: Chord) -> np.ndarray:
    """The tones of a chord as a unit vector (12,)."""
    tones = np.zeros(12)
    tones[list(chord.classes)] = 1
    return tones / np.linalg.norm(tones)


def chords_kept(heard: Frames, score: Score, seed: int = 0) -> tuple[float, float, float] | None:
    """Mean cosine over chord spans, that of shuffled chords, and the share that beat their transpositions."""
    spans = [s for s in score.chord_spans() if s.label != "N" and s.end - s.start >= _SHORTEST_CHORD]
    if not spans:
        return None
    sounds = np.array([_mean_between(heard, s.start, s.end) for s in spans])
    chords = np.array([template(Chord.parse(s.label)) for s in spans])
    rng = generator(seed, "shuffled chords")
    null = np.mean([(sounds * chords[rng.permutation(len(spans))]).sum(1).mean() for _ in range(_SHIFTS)])
    turned = np.stack([(sounds * np.roll(chords, step, axis=1)).sum(1) for step in range(12)])
    first = (turned[0] > turned[1:].max(0)).mean()
    return float((sounds * chords).sum(1).mean()), float(null), float(first)


def _mean_between(heard: Frames, start: float, end: float) -> np.ndarray:
    """The mean of frames between two times as a unit vector; zero in silence."""
    first, last = heard.index(np.array([start, end]))
    mean = heard.values[:, first : max(first + 1, last)].mean(1)
    norm = np.linalg.norm(mean)
    return mean / norm if norm > 1e-6 else mean * 0


def key_heard(heard: Frames) -> Key:
    """The major or minor key whose profile correlates best with the mean chroma."""
    mean = heard.values.mean(1)
    scores = {
        Key(tonic, scale): _correlation(mean, np.roll(profile, tonic))
        for scale, profile in (("major", np.array(_MAJOR)), ("minor", np.array(_MINOR)))
        for tonic in range(12)
    }
    return max(scores, key=lambda key: scores[key])


def key_weight(heard: Key, asked: Key) -> float:
    """1 for the same tonic and family, 0.5 a fifth apart, 0.3 relative, 0.2 parallel, else 0 (MIREX)."""
    same, step = heard.family == asked.family, (heard.tonic - asked.tonic) % 12
    if same:
        return {0: 1.0, 7: 0.5, 5: 0.5}.get(step, 0.0)
    relative = 9 if asked.family == "major" else 3
    return {relative: 0.3, 0: 0.2}.get(step, 0.0)


# ---- melody --------------------------------------------------------------------------------


def note_salience(heard: Frames, score: Score) -> tuple[np.ndarray, np.ndarray]:
    """Salience (notes, pitches) in the steady part of each sung note, and the notes' MIDI pitches."""
    notes = [n for n in score.note_spans(sung=True) if n.end * heard.rate < heard.values.shape[1] + 1]
    rows = np.zeros((len(notes), heard.values.shape[0]))
    for row, note in zip(rows, notes):
        length = note.end - note.start
        first, last = heard.index(np.array([note.start + 0.25 * length, note.start + 0.9 * length]))
        row[:] = heard.values[:, first : max(first + 1, last)].mean(1)
    return rows, np.array([n.pitch for n in notes], dtype=int)


def pitch_hits(salience: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    """(notes,) whether the strongest pitch within ±6 semitones is the note's own, to the semitone."""
    steps = hearing.STEPS
    reach = np.arange(-6 * steps, 6 * steps)
    columns = (pitches[:, None] - hearing.LOWEST) * steps + reach
    inside = np.take_along_axis(salience, np.clip(columns, 0, salience.shape[1] - 1), axis=1)
    inside = np.where((columns >= 0) & (columns < salience.shape[1]), inside, -np.inf)
    return np.abs(reach[inside.argmax(1)]) <= steps // 2


def melody(audio: Audio, score: Score, seed: int = 0) -> tuple[float, float, int] | None:
    """Share of sung notes whose pitch class is heard, that of shuffled pitches, and the number of notes."""
    salience, pitches = note_salience(hearing.pitch_salience(hearing.mono(audio)), score)
    if not len(pitches):
        return None
    rng = generator(seed, "shuffled pitches")
    null = np.mean([pitch_hits(salience, rng.permutation(pitches)).mean() for _ in range(_SHIFTS)])
    return float(pitch_hits(salience, pitches).mean()), float(null), len(pitches)


# ---- songs ---------------------------------------------------------------------------------


def measure(audio: Audio, score: Score, seed: int = 0) -> Adherence:
    """All figures of one song.

    Raises:
        AudioError: less than a tenth of a second of audio.
    """
    strength, heard = onsets(audio), chroma(audio)
    stroke, stroke_null = onset_correlation(strength, score, seed) or (None, None)
    beat, beat_null = beats_kept(strength, score, seed) or (None, None)
    chord, chord_null, rank = chords_kept(heard, score, seed) or (None, None, None)
    sung, sung_null, notes = melody(audio, score, seed) or (None, None, 0)
    key = key_weight(key_heard(heard), score.key)
    return Adherence(
        stroke, stroke_null, beat, beat_null, chord, chord_null, rank, sung, sung_null, key, notes
    )


def summary(songs: Sequence[Adherence]) -> dict[str, Estimate]:
    """The mean of each figure over the songs that have it, with its interval over songs."""
    table = {}
    for name in (f.name for f in fields(Adherence) if f.name != "notes"):
        values = [getattr(song, name) for song in songs if getattr(song, name) is not None]
        if values:
            table[name] = bootstrap(values, chance=1 / 12 if name == "chord_rank" else None)
    return table


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    manifest: str  # songs with scores
    songs: int = 24  # the first so many
    audio: str | None = None  # a folder with <id>.flac, .wav, … to judge instead of the manifest's own audio
    out: str | None = None  # folder for adherence.json, which eval.run shows


def measure_manifest(settings: Settings) -> list[Adherence]:
    """Measure the songs of a manifest, or audio that was made from their scores."""
    root = Path(settings.manifest).parent
    records = [r for r in manifest.read(settings.manifest) if r.score is not None][: settings.songs]
    measured = []
    for record in records:
        path = _audio_of(record, root, settings.audio)
        assert record.score is not None  # filtered above
        measured.append(measure(read_audio(path), record.score))
    return measured


def _audio_of(record: SongRecord, root: Path, folder: str | None) -> Path:
    """The audio of a song: in a folder that was named, in any format that is read, else the manifest's own.

    Raises:
        ManifestError: there is none, or two in the folder.
    """
    if folder is None:
        if record.audio is None:
            raise ManifestError(f"song {record.id} has no audio file: name a folder with --audio")
        return root / record.audio
    found = [p for suffix in SUFFIXES if (p := Path(folder) / f"{record.id}{suffix}").is_file()]
    if len(found) != 1:
        formats = ", ".join(SUFFIXES)
        raise ManifestError(
            f"{folder} needs {record.id} once, as one of {formats}, but has {len(found)} files"
        )
    return found[0]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of a manifest: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING)
    settings = configs.parse(Settings, argv)
    measured = measure_manifest(settings)
    if not measured:
        raise ManifestError("the manifest has no song with a score")
    table = summary(measured)
    for name, value in table.items():
        print(f"{name:20} {value}")
    print(f"{'sung notes':20} {sum(song.notes for song in measured)}")
    if settings.out is not None:
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({name: finite(asdict(value)) for name, value in table.items()}, indent=1)
        (folder / "adherence.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
