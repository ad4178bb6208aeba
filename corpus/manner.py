"""How a song of a mood is played, sung and mixed: what the score doesn't say.

Performers let listeners tell feelings apart by touch, timbre, register, loudness and vibrato, whatever they
play: gladness is bright and detached, sadness dull and legato, tenderness soft and breathy, anger sharp, loud
and rough (Juslin and Laukka 2003, "Communication of emotions in vocal expression and music performance"). A
producer adds how near a song seems: a dry voice at the ear, or a wide hall. All of it follows from the four
numbers of `corpus.moods.Feeling`; 0 everywhere leaves what was drawn nearly as it is.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from corpus.moods import Feeling

if TYPE_CHECKING:  # heavy, and not needed for scores
    from corpus.mix import MixSettings, StemSettings
    from corpus.voice import Voice


@dataclass(frozen=True)
class Touch:
    """How the instruments are played."""

    held: float = 1.0  # share of its written length that a note sounds
    register: int = 0  # semitones that chords lie above their usual place
    pad: float = 1.0  # loudness of the pad beside its usual one
    rolled: float = 0.0  # seconds from one tone of a chord to the next, added
    doubled: bool = False  # chords in octaves
    percussion: str = ""  # "tambourine", "claps" or "shaker", played with the drums


def touch(felt: Feeling) -> Touch:
    """How players of a feeling touch their instruments."""
    v, a, d, r = felt.valence, felt.arousal, felt.dominance, felt.distance
    lively = float(np.clip(0.5 * v + 0.5 * a - 0.4 * d - 0.3 * r, 0, 1))
    return Touch(
        held=round(1.0 - 0.6 * lively, 3),
        register=int(np.clip(round(4 * v - 4 * d + 2 * a), -7, 7)),
        pad=round(float(2.0 ** (1.3 * r)), 3),
        rolled=round(0.03 * max(0.0, -d - 0.3 - max(0.0, a)), 4),
        doubled=d > 0.55,
        percussion=_percussion(felt),
    )


def _percussion(felt: Feeling) -> str:
    """Glad songs have somebody beside the drums."""
    if felt.valence < 0.35:
        return ""
    if felt.arousal < 0.2:
        return "shaker" if felt.distance < 0 else ""
    return "claps" if felt.dominance > 0.25 else "tambourine"


def colour(voice: "Voice", felt: Feeling) -> "Voice":
    """The voice of a singer who means it."""
    v, a, d = felt.valence, felt.arousal, felt.dominance
    return replace(
        voice,
        breath=round(float(np.clip(0.6 * voice.breath + 0.12 - 0.35 * d - 0.1 * a, 0.0, 0.8)), 4),
        brightness=round(float(np.clip(voice.brightness + 0.8 * v + 0.8 * a + 1.0 * d, -3.0, 3.5)), 4),
        vibrato_rate=round(voice.vibrato_rate + 0.5 * a, 4),
        vibrato_depth=round(float(min(0.6, voice.vibrato_depth * 2.0 ** (0.7 * d - 0.7 * v))), 4),
        portamento=round(float(np.clip(voice.portamento * 2.0 ** (-0.8 * a), 0.02, 0.14)), 4),
        scoop=round(float(np.clip(voice.scoop * 2.0 ** (-0.8 * v), 0.1, 1.6)), 4),
    )


def placed(settings: "MixSettings", felt: Feeling, tempo: float) -> "MixSettings":
    """A mix of a feeling: dull or bright, dry or far away, soft or rough; what is far echoes in time."""
    v, a, d, r = felt.valence, felt.arousal, felt.dominance, felt.distance
    near, far = min(r, 0.0), max(r, 0.0)
    levels = {
        "drums": 3.0 * d + 1.0 * a,
        "bass": 2.5 * d,
        "lead": 0.5 * r,
        "harmony": 0.5 * r,
    }
    stems = {name: _placed(s, levels.get(name, 0.0), felt) for name, s in settings.stems.items()}
    voice = settings.stems["vocals"]
    stems["vocals"] = replace(  # words stay clear in the widest hall
        stems["vocals"],
        level=voice.level - 1.0 * near + 0.5 * far,
        presence=voice.presence - 2.0 * near,
        air=voice.air - 2.0 * near,
        send=voice.send + 7.0 * near + 2.0 * far,
    )
    rough = max(0.0, d - 0.4) * 1.6 if a > 0.4 else 0.0
    for name in ("drums", "bass", "harmony"):
        stems[name] = replace(stems[name], grit=round(rough, 3))
    if r > 0.4:
        for name, level in (("vocals", -19.0), ("harmony", -14.0), ("lead", -11.0)):
            stems[name] = replace(stems[name], echo=level + 6.0 * (r - 0.4))
    return replace(
        settings,
        stems=stems,
        echo_time=0.75 * 60.0 / tempo,
        reverb_time=settings.reverb_time * 2.0 ** (0.9 * r),
        pre_delay=settings.pre_delay * 2.0 ** (0.8 * r),
        damping=settings.damping * 2.0 ** (0.6 * v),
        tilt=settings.tilt + float(np.clip(1.0 * v + 0.4 * a + 0.2 * d, -1.4, 1.4)),
        glue=float(np.clip(settings.glue + 0.2 * d, 0.0, 0.8)),
    )


def _placed(stem: "StemSettings", level: float, felt: Feeling) -> "StemSettings":
    return replace(
        stem,
        level=stem.level + level,
        width=float(np.clip(stem.width * (1 + felt.distance), 0.0, 0.8)),
        presence=stem.presence - 2.0 * felt.distance,
        air=stem.air - 2.0 * felt.distance,
        send=stem.send + 10.0 * felt.distance,
    )
