"""Tracks of notes to sound, through General MIDI sound fonts (tinysoundfont).

The font is an argument because it is part of what a seed means: the same track with the same font gives
the same samples in any process and in any order of calls. The default is the font that ships inside the
pretty_midi package (TimGM6mb, 6 MB); `installed_fonts` finds better ones on this machine.
"""

import importlib.util
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tinysoundfont

from common.audio import Samples
from common.errors import AudioError, ScoreError

log = logging.getLogger(__name__)

SAMPLE_RATE = 44100  # Hz
_GAIN = -8.0  # dB: a dense track stays below full scale, though floats wouldn't clip
_DRUM_BANK, _DRUM_CHANNEL = 128, 9
_DRUM_LENGTH = 0.25  # s: a drum rings by itself, so its key is never lifted sooner
_CUT = 0.01  # s of fade where a sound outlives its track
_SYSTEM_FONTS = (
    "MuseScore_General_Lite.sf3",
    "MuseScore_General.sf2",
    "FluidR3_GM.sf2",
    "FluidR3Mono_GM.sf3",
)


@dataclass(frozen=True)
class Stroke:
    """One played note."""

    time: float  # s from the start of the song
    duration: float  # s
    pitch: int  # MIDI; in a drum track, General MIDI's drum map
    velocity: float  # 0 … 1


@dataclass(frozen=True)
class Track:
    """What one instrument plays."""

    program: (
        int  # General MIDI, 0–127; a drum kit (0 standard, 8 room, 25 TR-808, 32 jazz, 40 brush) for drums
    )
    strokes: Sequence[Stroke]
    drums: bool = False


def bundled_font() -> Path:
    """The font inside pretty_midi, found without importing that package (which takes a second).

    Raises:
        AudioError: pretty_midi isn't installed.
    """
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise AudioError("the sound font of pretty_midi is missing: install the extra baihua[corpus]")
    return path


def installed_fonts() -> list[Path]:
    """Better fonts of this machine, best first: $BAIHUA_SOUNDFONT, then Debian's folders."""
    named = os.environ.get("BAIHUA_SOUNDFONT")
    folders = [Path("/usr/share/sounds") / kind for kind in ("sf3", "sf2")]
    found = [Path(named)] if named else []
    found += [folder / name for name in _SYSTEM_FONTS for folder in folders]
    return [path for path in found if path.is_file()]


@lru_cache(maxsize=2)
def _synth(font: Path, process: int) -> tuple[tinysoundfont.Synth, int]:
    """A synthesiser with its font loaded; one per process, as a forked copy may hold sounding voices."""
    synth = tinysoundfont.Synth(gain=_GAIN, samplerate=SAMPLE_RATE)
    try:
        return synth, synth.sfload(str(font))
    except (tinysoundfont.SoundFontException, RuntimeError) as error:
        raise AudioError(f"{font} can't be read as a sound font (SF2, SF3): {error}") from error


def _silence(synth: tinysoundfont.Synth) -> None:
    """Cut every voice that an earlier track left, and run until nothing sounds."""
    synth.sounds_off()
    for _ in range(100):
        if not np.frombuffer(synth.generate_simple(2048), np.float32).any():
            return
    raise AssertionError("the synthesiser goes on sounding after all sounds are off")


def _select(synth: tinysoundfont.Synth, font_id: int, track: Track) -> int:
    """Put the track's instrument on its channel; returns the channel."""
    bank, channel = (_DRUM_BANK, _DRUM_CHANNEL) if track.drums else (0, 0)
    program = track.program
    if synth.sfpreset_name(font_id, bank, program) is None:
        if not track.drums:
            raise AudioError(f"the sound font has no instrument {program} in bank {bank}: use another font")
        log.warning("the sound font has no drum kit %d: the standard kit plays instead", program)
        program = 0
    synth.program_select(channel, font_id, bank, program, track.drums)
    return channel


def _events(track: Track, total: int) -> list[tuple[int, int, int, int]]:
    """(sample, 0 off or 1 on, key, velocity), in the order in which they happen; offs before ons."""
    events = []
    for stroke in track.strokes:
        if not 0 <= stroke.pitch <= 127 or not 0 <= stroke.velocity <= 1:
            raise ScoreError(f"a stroke needs a MIDI pitch and a velocity 0 … 1, but got {stroke}")
        start = max(0, round(stroke.time * SAMPLE_RATE))
        length = max(stroke.duration, _DRUM_LENGTH if track.drums else 0.0)
        velocity = round(stroke.velocity * 127)
        if velocity and start < total:
            events.append((start, 1, stroke.pitch, velocity))
            events.append((start + max(1, round(length * SAMPLE_RATE)), 0, stroke.pitch, 0))
    return sorted(events)


def render(track: Track, duration: float, font: Path | None = None) -> Samples:
    """Play a track.

    Args:
        duration: seconds of the result; what still sounds at its end is faded out in 10 ms.
        font: an SF2 or SF3 file; the bundled one when None.
    Returns:
        Stereo samples (time, 2) at 44.1 kHz, without reverb; full scale is 1 but not enforced.
    Raises:
        AudioError: the font can't be read or lacks the instrument.
        ScoreError: a stroke's pitch or velocity is out of range.
    """
    total = round(duration * SAMPLE_RATE)
    events = _events(track, total)
    out = np.zeros((total, 2), np.float32)
    if not events:
        return out
    synth, font_id = _synth(font or bundled_font(), os.getpid())
    _silence(synth)
    channel = _select(synth, font_id, track)
    buffer, position = memoryview(out.data).cast("B"), 0
    for when, on, key, velocity in events:
        when = min(when, total)
        if when > position:
            synth.generate_simple(when - position, buffer=buffer[position * 8 : when * 8])
            position = when
        if on:
            synth.noteon(channel, key, velocity)
        else:
            synth.noteoff(channel, key)
    if position < total:
        synth.generate_simple(total - position, buffer=buffer[position * 8 :])
    fade = min(total, round(_CUT * SAMPLE_RATE))
    out[total - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return out
