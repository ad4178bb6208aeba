"""A tiny prepared corpus for the song model's tests: smooth latents that follow their scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from common.description import Audience
from common.frames import GROUPS, render
from common.score import ChordChange, Groove, Note, Score, Section
from common.seeds import generator
from common.theory import Key
from dit.lyrics import encode_score
from dit.store import (
    LatentFacts,
    StoredSong,
    fragment_key,
    fragments_path,
    latents_path,
    write_arrays,
    write_songs,
)

RATE = 20.0  # Hz: few frames keep tests fast
DIM = 8
WORDS = [("天", "tian1"), ("地", "di4"), ("月", "yue4"), ("光", "guang1")]
CHORDS = ("C", "Am", "F", "G")


def score(seed: int, bars: int = 2, sung: bool = True) -> Score:
    """Two sections of `bars` bars; a chord a bar, a note a beat, kick and snare."""
    rng = generator(seed, "test score")
    sections = []
    for tag in ("verse", "chorus"):
        chords = tuple(ChordChange(48 * bar, CHORDS[rng.integers(4)]) for bar in range(bars))
        notes = []
        for beat in range(4 * bars):
            text, reading = WORDS[rng.integers(4)]
            note = Note(12 * beat, 12, int(rng.integers(60, 72)))
            if sung:
                note = replace(note, syllable=text, reading=reading, ends_line=beat % 4 == 3)
            notes.append(note)
        groove = Groove("X...x...X...x...", "....X.......X...", "x.x.x.x.x.x.x.x.")
        sections.append(Section(tag, bars, chords, tuple(notes), groove))  # type: ignore[arg-type]
    return Score(tempo=120.0, key=Key(0), sections=tuple(sections))


def latents(of: Score, seed: int) -> np.ndarray:
    """(T, DIM) float16: a fixed projection of the chord and the drums, a little noise."""
    frames = int(np.ceil(of.duration * RATE))
    channels = render(of, RATE, frames).channels
    seen = np.concatenate([channels[:, GROUPS["chord"]], channels[:, GROUPS["drums"]]], 1)
    mixed = seen @ generator(0, "projection").standard_normal((seen.shape[1], DIM))
    noisy = (mixed - mixed.mean()) / 2 + 0.05 * generator(seed, "noise").standard_normal(mixed.shape)
    return noisy.astype(np.float16)


def prepare(folder: Path, songs: int = 6, bars: int = 2) -> Path:
    """Write a folder as `dit.prepare` does; every third song is an instrumental."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, vectors, rows = {}, {}, []
    for number in range(songs):
        own = score(number, bars + number % 2, sung=number % 3 != 2)
        name = f"song-{number}"
        arrays[name] = latents(own, number)
        for audience in Audience:
            values = generator(number, audience).standard_normal((1 + number % 3, 512))
            unit = values / np.linalg.norm(values, axis=1, keepdims=True)
            vectors[fragment_key(name, audience, 0)] = unit.astype(np.float16)
        told: dict[str, list[str]] = {audience.value: ["一首歌"] for audience in Audience}
        tokens = encode_score(own) if number % 3 != 2 else None
        rows.append(StoredSong(name, 0, len(arrays[name]), own.duration, told, tokens, own.to_json()))
    write_arrays(latents_path(folder, 0), arrays)
    write_arrays(fragments_path(folder, 0), vectors)
    write_songs(folder, 0, rows)
    LatentFacts(RATE, DIM, "Test").write(folder)
    return folder
