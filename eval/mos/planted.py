"""Songs whose quality is known because it was taken from them: faults of planted strength, wrong words.

    python -m eval.mos.planted --manifest data/corpus/train/manifest.jsonl --words 6 --out runs/planted/train

Conventions: a stretch of a real song gets one fault of strength u in 0 … 1, and the impression 5 − 4 u;
a whole one has 5. The alignment is 1 + 4 × the share of what the words' own song is (genre, mood,
pace, singer, instruments) that holds for the song heard. These are no people's opinions: a predictor
that learns them hears these faults, and is called so.

    noise    hiss of random colour, 30 dB below the song at u = 0, as loud as it at u = 1
    wow      pitch that wavers by 5 to 90 cents, some times a second
    jitter   half-second pieces that come up to 130 ms too early or late
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio, to_channels
from common.description import Audience
from common.errors import ManifestError, run_command
from common.seeds import generator
from corpus import manifest
from corpus.attributes import tempo_class
from corpus.record import SongRecord
from eval import embeddings
from eval.mos.features import Heard, Quality
from eval.protocol import cut

logger = logging.getLogger(__name__)

SECONDS = 10.0
VERSIONS = 4  # of each song


def noise(samples: np.ndarray, rate: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Hiss whose power falls with frequency by a random exponent."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    frequency = np.maximum(np.fft.rfftfreq(len(samples), 1 / rate), 50)
    hiss = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), len(samples))
    level = samples.std() / max(hiss.std(), 1e-9) * 10 ** (-30 * (1 - strength) / 20)
    return samples + level * hiss


def wow(samples: np.ndarray, rate: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Pitch that wavers: the song is read at a speed that changes smoothly."""
    time = np.arange(len(samples)) / rate
    cents = (
        (5 + 85 * strength)
        * sum(np.sin(2 * np.pi * (rng.uniform(0.5, 3) * time + rng.random())) for _ in range(2))
        / np.sqrt(2)
    )
    places = np.cumsum(2 ** (cents / 1200)) - 1
    return np.interp(places * (len(samples) - 1) / places[-1], np.arange(len(samples)), samples)


def jitter(samples: np.ndarray, rate: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Pieces that come too early or too late, faded into each other."""
    out, edge, fade = samples.copy(), 0, round(0.01 * rate)
    ramp = np.linspace(0, 1, fade)
    while edge < len(samples) - 2 * fade:
        length = min(round(rng.uniform(0.3, 0.6) * rate), len(samples) - edge)
        moved = round(rng.uniform(-1, 1) * (0.01 + 0.12 * strength) * rate)
        source = np.clip(np.arange(edge, edge + length) - moved, 0, len(samples) - 1)
        piece = samples[source]
        if length > fade:
            piece[:fade] = ramp * piece[:fade] + (1 - ramp) * out[edge : edge + fade]
        out[edge : edge + length] = piece
        edge += length
    return out


FAULTS: dict[str, Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]] = {
    "noise": noise,
    "wow": wow,
    "jitter": jitter,
}


@dataclass(frozen=True)
class Planted:
    """One utterance of the set."""

    song: str
    fault: str  # of FAULTS, or "none"
    strength: float
    words_of: str  # the song that the words were said of
    text: str
    impression: float
    alignment: float


def plan(records: Sequence[SongRecord], versions: int = VERSIONS, seed: int = 0) -> list[Planted]:
    """What to do to each song: one version whole, the others with a fault; half of them with wrong words."""
    out = []
    for record in records:
        rng = generator(seed, "planted", record.id)
        for version in range(versions):
            fault = "none" if version == 0 else str(rng.choice(list(FAULTS)))
            strength = 0.0 if version == 0 else float(rng.random())
            told, text, aligned = _words(record, records, rng)
            out.append(Planted(record.id, fault, strength, told, text, 5 - 4 * strength, aligned))
    return out


def _words(
    record: SongRecord, records: Sequence[SongRecord], rng: np.random.Generator
) -> tuple[str, str, float]:
    """Whose words, the words, and how well they fit: the song's own half the time."""
    told = record if rng.random() < 0.5 else records[int(rng.integers(len(records)))]
    text = cut(told, Audience(str(rng.choice([a.value for a in Audience]))), rng)
    return told.id, text, 1 + 4 * fitting(told, record)


def retold(
    planned: Sequence[Planted],
    heard: Sequence[Heard],
    records: Sequence[SongRecord],
    words: embeddings.Encoder,
    times: int,
    seed: int = 0,
) -> tuple[list[Planted], list[Heard]]:
    """Every utterance again in other words, `times` in all: hearing is slow, and words cost little."""
    place = {record.id: record for record in records}
    fresh, sounds = [], []
    for number, (p, h) in enumerate(zip(planned, heard)):
        rng = generator(seed, "retold", p.song, number)
        for _ in range(times - 1):
            told, text, aligned = _words(place[p.song], records, rng)
            fresh.append(Planted(p.song, p.fault, p.strength, told, text, p.impression, aligned))
            sounds.append(h)
    vectors = words.embed_text([p.text for p in fresh]) if fresh else np.zeros((0, 0), np.float32)
    again = [Heard(h.impression, h.alignment, v) for h, v in zip(sounds, vectors)]
    return [*planned, *fresh], [*heard, *again]


def fitting(told: SongRecord, heard: SongRecord) -> float:
    """The share of what is known of one song that holds for another, 0 … 1."""
    shares = []
    for name in ("genre", "mood", "singer"):
        if (wanted := getattr(told, name)) is not None:
            shares.append(float(wanted == getattr(heard, name)))
    if told.tempo is not None and heard.tempo is not None:
        shares.append(float(tempo_class(told.tempo) == tempo_class(heard.tempo)))
    if told.instruments and heard.instruments is not None:
        shares.append(len(set(told.instruments) & set(heard.instruments)) / len(set(told.instruments)))
    return float(np.mean(shares)) if shares else 0.0


def stretch(audio: Audio, rng: np.random.Generator, seconds: float = SECONDS) -> Audio:
    """A random stretch of a song in one channel; all of a shorter one."""
    single = to_channels(audio, 1)
    length = round(seconds * single.sample_rate)
    start = int(rng.integers(max(1, single.samples.shape[1] - length + 1)))
    return Audio(single.samples[:, start : start + length], single.sample_rate)


def spoil(audio: Audio, fault: str, strength: float, rng: np.random.Generator) -> Audio:
    """One channel with a fault, as loud as before."""
    if fault == "none":
        return audio
    samples = FAULTS[fault](audio.samples[0].astype(np.float64), audio.sample_rate, strength, rng)
    level = audio.samples.std() / max(samples.std(), 1e-9)
    return Audio((samples * level)[None].astype(np.float32), audio.sample_rate)


def listen(
    planned: Sequence[Planted],
    records: Sequence[SongRecord],
    root: Path,
    words: embeddings.Encoder,
    seed: int = 0,
) -> list[Heard]:
    """Spoil and hear every utterance.

    Args:
        words: the encoder of alignment, which reads text.
    """
    place = {record.id: record for record in records}
    quality = Quality()
    texts = words.embed_text([p.text for p in planned])
    out: list[Heard] = []
    song: tuple[str, Audio] | None = None
    for number, planted in enumerate(planned):
        if number % 50 == 0:
            logger.info("utterance %d of %d", number + 1, len(planned))
        record = place[planted.song]
        if song is None or song[0] != record.id:
            if record.audio is None:
                raise ManifestError(f"song {record.id} has no audio file")
            song = (record.id, read_audio(root / record.audio))
        rng = generator(seed, "spoil", planted.song, number)
        spoiled = spoil(stretch(song[1], rng), planted.fault, planted.strength, rng)
        out.append(Heard(quality.embed(spoiled), words.embed(spoiled), texts[number]))
    return out


def save(folder: Path, planned: Sequence[Planted], heard: Sequence[Heard]) -> None:
    """heard.npz and planted.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for number, h in enumerate(heard):
        arrays |= {f"{number}/impression": h.impression, f"{number}/alignment": h.alignment}
        if h.text is not None:
            arrays[f"{number}/text"] = h.text
    np.savez(folder / "heard.npz", **arrays)
    lines = "".join(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in planned)
    (folder / "planted.jsonl").write_text(lines, encoding="utf-8")


def load(folder: str | Path) -> tuple[list[Planted], list[Heard]]:
    """What `save` wrote. Raises ManifestError naming the folder."""
    folder = Path(folder)
    try:
        lines = (folder / "planted.jsonl").read_text(encoding="utf-8").splitlines()
        planned = [Planted(**json.loads(line)) for line in lines]
        with np.load(folder / "heard.npz", allow_pickle=False) as kept:
            heard = [
                Heard(kept[f"{i}/impression"], kept[f"{i}/alignment"], kept.get(f"{i}/text"))
                for i in range(len(planned))
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"no planted set can be read from {folder}: {error}") from error
    return planned, heard


@dataclass(frozen=True)
class Settings:
    """What to spoil."""

    manifest: str
    out: str
    songs: int = 160  # the first so many
    versions: int = VERSIONS  # of each
    words: int = 1  # texts of each version: more for training
    seed: int = 0


def main() -> int:
    """Make the set."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    settings = configs.parse(Settings)
    records = [r for r in manifest.read(settings.manifest) if r.audio and r.descriptions][: settings.songs]
    planned = plan(records, settings.versions, settings.seed)
    words = embeddings.load("chinmu")
    heard = listen(planned, records, Path(settings.manifest).parent, words, settings.seed)
    planned, heard = retold(planned, heard, records, words, settings.words, settings.seed)
    save(Path(settings.out), planned, heard)
    print(f"{len(planned)} utterances of {len(records)} songs in {settings.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
