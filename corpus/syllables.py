"""One spoken syllable as WORLD sees it: what the singer stretches, tunes and warps.

Each (variant, syllable) is analysed when it is first sung (about 20 ms) and kept in memory and in a
folder of the user's cache ($XDG_CACHE_HOME/baihua/voice); both give the same numbers, because a template
is rounded to its stored form before anyone sees it.
"""

import logging
import os
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pyworld
from scipy.ndimage import convolve1d

from common import pinyin
from corpus import espeak

log = logging.getLogger(__name__)

FRAME = 0.005  # s
_FORMAT = 4  # raise it when what a template holds changes
_FFT = 1024
_GLIDE = 12  # frames: a glide (y, w, the u of zhuang) is spoken longer than it is sung
_FLOOR = -14.0  # log power below the vowel's, where a frame counts as silent

# Frequencies (Hz) at which envelopes are kept: dense where vowels differ.
GRID: npt.NDArray[np.float64] = np.concatenate([np.arange(0.0, 4000, 50), np.arange(4000.0, 10600, 88)])


@dataclass(frozen=True)
class Variant:
    """A voice of espeak-ng: how it is asked for and what its own body size is."""

    pitch: int  # espeak's parameter
    f0: float  # Hz that it then speaks at
    scale: float  # its formants over those of the plain voice, measured on ten vowels


VARIANTS: dict[str, Variant] = {
    "plain": Variant(70, 112, 1.0),
    "f1": Variant(35, 136, 1.111),
    "f2": Variant(35, 145, 1.067),
    "f3": Variant(35, 154, 1.156),
    "f4": Variant(35, 136, 1.156),
    "f5": Variant(35, 155, 1.058),
    "m1": Variant(70, 103, 0.968),
    "m2": Variant(70, 117, 1.075),
    "m3": Variant(70, 114, 0.960),
    "m4": Variant(70, 100, 1.033),
    "m5": Variant(70, 111, 1.041),
    "m6": Variant(70, 113, 1.016),
    "m7": Variant(70, 111, 1.0),
}

# espeak-ng 1.52 reads these three as English letters, so they are given as phonemes.
_PHONEMES = {"jiong": "[[tS;j'ong]]", "qiong": "[[tS;hj'ong]]", "xiong": "[[S;j'ong]]"}
_UNVOICED = frozenset(
    ["b", "p", "f", "d", "t", "g", "k", "h", "j", "q", "x", "zh", "ch", "sh", "z", "c", "s"]
)
_VOWEL = r"'|,?[aeiouyAEIOUV@03&]"  # of espeak's mnemonics
STOPS = _UNVOICED - frozenset(["f", "h", "x", "sh", "s"])


@dataclass(frozen=True, eq=False)
class Template:
    """A syllable, frame by frame, loudness of its vowel taken out."""

    envelope: npt.NDArray[np.float16]  # (frames, grid) log power over the vowel's median
    voiced: npt.NDArray[np.bool_]  # (frames,)
    onset: int  # the frame at which the vowel, or the glide before it, begins
    stopped: bool  # begins with a stop or affricate: silence goes before it


def template(variant: str, syllable: str) -> Template:
    """The template of a toneless pinyin syllable, or of a Latin word.

    Raises:
        AudioError: espeak-ng can't say it.
        KeyError: the variant is none of `VARIANTS`.
    """
    return _template(variant, syllable, str(_cache_folder()))


@lru_cache(maxsize=1024)
def _template(variant: str, syllable: str, folder: str) -> Template:
    if not re.fullmatch("[a-z']+", syllable):  # no name for a file
        return analyse(variant, syllable)
    path = Path(folder) / variant / f"{syllable}.npz"
    found = _read(path)
    if found is None:
        found = analyse(variant, syllable)
        _write(path, found)
    return found


# ---- analysis ----------------------------------------------------------------------------


def analyse(variant: str, syllable: str) -> Template:
    """Speak a syllable and take it apart; deterministic, cached by nobody."""
    traits = VARIANTS[variant]
    chinese = syllable in pinyin.SYLLABLES
    voice = espeak.MANDARIN if chinese else espeak.ENGLISH
    text = _PHONEMES.get(syllable, syllable + "1") if chinese else syllable
    suffix = "" if variant == "plain" else f"+{variant}"
    spoken = espeak.say(text, voice + suffix, pitch=traits.pitch)
    envelope, voiced = _world(spoken, traits.f0)
    start, glide, vowel, end = _landmarks(spoken, len(envelope))
    initial = pinyin.split(syllable)[0] if chinese else ""
    onset = vowel if glide == start else glide
    if chinese:
        voiced[:onset] = initial not in _UNVOICED
        voiced[onset:] = True
    envelope = _natural_treble(envelope, voiced)
    keep = _thinned(start, glide, vowel, end)
    nucleus = envelope[onset + (end - onset) // 4 : onset + 3 * (end - onset) // 4 + 1].sum(axis=1)
    log_power = np.log(envelope[keep] + 1e-14) - np.log(np.median(nucleus) + 1e-14)
    return Template(
        log_power.astype(np.float16),
        voiced[keep],
        int(np.searchsorted(keep, onset)),
        initial in STOPS,
    )


def _world(spoken: espeak.Utterance, f0: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Power envelope on `GRID` (frames, grid), and which frames are periodic."""
    rate = spoken.sample_rate
    samples = np.ascontiguousarray(spoken.samples)
    # The pitch is known, so a narrow search can't take an octave for it.
    pitch, times = pyworld.dio(samples, rate, f0_floor=0.8 * f0, f0_ceil=1.25 * f0, frame_period=FRAME * 1000)
    voiced = pitch > 0
    pitch = np.where(voiced, pitch, f0)
    envelope = pyworld.cheaptrick(samples, pitch, times, rate, fft_size=_FFT)
    position = GRID / (rate / _FFT)
    low = np.floor(position).astype(int)
    share = position - low
    return envelope[:, low] * (1 - share) + envelope[:, low + 1] * share, voiced


def _natural_treble(
    envelope: npt.NDArray[np.float64], voiced: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Fill in what espeak leaves out of voiced sound above 4 kHz: two thin lines there in place of a throat.

    Its upper formants are smeared over 500 Hz and never fall more than 16 dB an octave below those at 3 kHz.
    """
    high = GRID >= 4000
    smooth = convolve1d(envelope, np.hanning(9)[1:-1] / np.hanning(9).sum(), axis=1, mode="nearest")
    middle = envelope[:, (GRID >= 2600) & (GRID < 3800)].mean(axis=1, keepdims=True)
    least = middle * (np.maximum(GRID, 3200) / 3200) ** (-1.6 * np.log2(10))
    return np.where(high & voiced[:, None], np.maximum(smooth, least), envelope)


def _landmarks(spoken: espeak.Utterance, frames: int) -> tuple[int, int, int, int]:
    """Frames of a syllable's start, of its glide and its vowel (the same without a glide), and of its end."""

    def frame(sample: int) -> int:
        return min(frames - 2, round(sample / spoken.sample_rate / FRAME))

    sounds = [(name, at) for name, at in spoken.phonemes if name[0] not in "_("]
    # Of a longer Latin word the first vowel falls on the beat, not the stressed one.
    vowel = next((i for i, (name, _) in enumerate(sounds) if re.match(_VOWEL, name)), 0)
    glide = vowel - 1 if vowel and sounds[vowel - 1][0] in ("j", "w") else vowel
    end = max(frame(spoken.end) + 2, frame(sounds[vowel][1]) + 8)
    return frame(sounds[0][1]), frame(sounds[glide][1]), frame(sounds[vowel][1]), min(end, frames)


def _thinned(start: int, glide: int, vowel: int, end: int) -> npt.NDArray[np.int64]:
    """The frames that a template keeps: all, but a long glide only in part."""
    kept = min(vowel - glide, _GLIDE)
    middle = glide + np.round(np.arange(kept) * (vowel - glide) / max(kept, 1)).astype(np.int64)
    return np.concatenate([np.arange(start, glide), middle, np.arange(vowel, end)])


# ---- the cache on disk -------------------------------------------------------------------


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    base = Path(home) if home else Path.home() / ".cache"
    return base / "baihua" / "voice" / _stack()


@cache
def _stack() -> str:
    """What a template depends on beside its name."""
    return f"{_FORMAT}-{espeak.library_version()}-{version('pyworld-prebuilt')}"


def _read(path: Path) -> Template | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            onset, stopped = (int(x) for x in file["marks"])
            return Template(file["envelope"], file["voiced"], onset, bool(stopped))
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        log.warning("the cached syllable %s is unreadable and is analysed again: %s", path, error)
        return None


def _write(path: Path, made: Template) -> None:
    """Write under a temporary name and rename, so that no other process ever sees half a file."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("syllables can't be cached in %s, so every process analyses them: %s", path.parent, error)
        return
    try:
        np.savez(
            part,
            envelope=made.envelope,
            voiced=made.voiced,
            marks=np.asarray([made.onset, made.stopped], np.int64),
        )
        part.replace(path)
    except OSError as error:
        log.info("the syllable %s can't be cached, so every process analyses it: %s", path, error)
        part.unlink(missing_ok=True)
