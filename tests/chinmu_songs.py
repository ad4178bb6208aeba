"""A tiny corpus for ChinMu's tests: tones whose descriptions say how high and how lively they are."""

from pathlib import Path

import numpy as np

from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.seeds import generator
from corpus.record import SongRecord

RATE = 44100
PITCHES = {"低": 110.0, "中低": 196.0, "中": 349.2, "中高": 622.3, "高": 1108.7}
PULSES = {"平稳": 0.0, "快速跳动": 6.0}
KINDS = [(pitch, pulse) for pitch in PITCHES for pulse in PULSES]


def tone(pitch: str, pulse: str, seed: int, seconds: float = 6.0) -> Audio:
    """A stereo tone with noise; `pulse` switches it on and off."""
    rng = generator(seed, "tone", pitch, pulse)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * PITCHES[pitch] * rng.uniform(0.98, 1.02) * time)
    if PULSES[pulse]:
        wave *= (time * PULSES[pulse] % 1 < 0.4).astype(float)
    noise = 0.003 * rng.standard_normal((2, len(time)))
    return Audio((wave + noise).astype(np.float32), RATE)


def descriptions(pitch: str, pulse: str) -> tuple[Description, ...]:
    """What both audiences say of it, at three lengths."""
    both = {
        Audience.PROFESSIONAL: (
            f"{pitch}音区",
            f"{pulse}的{pitch}音区",
            f"这段音频处于{pitch}音区，节奏{pulse}",
        ),
        Audience.AMATEUR: (f"{pitch}", f"听着{pulse}", f"听起来声音{pitch}，而且{pulse}"),
    }
    lengths = ("word", "phrase", "sentence")
    return tuple(
        Description(text, audience, "音高" if length == "word" else "节奏", length)
        for audience, texts in both.items()
        for text, length in zip(texts, lengths)
    )


def make(folder: Path, variants: int = 1, seconds: float = 6.0) -> list[SongRecord]:
    """Write `variants` songs of each of the ten kinds and return their records."""
    records = []
    for variant in range(variants):
        for pitch, pulse in KINDS:
            name = f"{pitch}-{pulse}-{variant}"
            write_audio(folder / f"{name}.wav", tone(pitch, pulse, variant, seconds))
            records.append(
                SongRecord(
                    id=name,
                    source="test",
                    licence="CC0-1.0",
                    split="train",
                    duration=seconds,
                    audio=f"{name}.wav",
                    descriptions=descriptions(pitch, pulse),
                )
            )
    return records
