"""From a score to what every instrument plays: drums, bass, harmony and lead, in seconds."""

from dataclasses import dataclass
from typing import NamedTuple


class Stroke(NamedTuple):
    """One note of an instrument."""

    time: float  # seconds from the start of the song
    duration: float  # seconds
    pitch: int  # MIDI; of a drum kit, the General MIDI key
    velocity: int  # 1 … 127


@dataclass(frozen=True)
class Track:
    """What one instrument plays, its strokes in order of time."""

    program: int  # General MIDI, 0 … 127; of a drum kit, the kit
    strokes: tuple[Stroke, ...]
    drums: bool = False  # percussion bank (128) when True
    name: str = ""
    gain: float = 0.0  # dB beside the other tracks of its stem
    pan: float = 0.0  # −1 left … 1 right
