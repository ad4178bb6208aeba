"""What may mislead about given songs, in sentences to stand above their scores.

Conventions: `whose` says whose songs they are ("the references", a system's name). A flaw is told and
nothing is left out for it: silent, short and narrow songs and copies count all the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile

from eval import hearing
from eval.embeddings import Embedded, Encoder, shortly

_SHORTEST = 1.0  # seconds of a song that isn't named as short


def opens(file: Path) -> bool:
    """Whether a file has a head of audio and at least one sample."""
    try:
        return soundfile.info(str(file)).frames > 0
    except (OSError, RuntimeError):
        return False


def faint(whose: str, files: Sequence[Path]) -> list[str]:
    """Songs in which there is nothing to hear, or hardly anything: encoders have rows of them too."""
    audible = [f for f in files if opens(f)]
    silent = [f.name for f in audible if _is_silent(f)]
    short = [f.name for f in audible if soundfile.info(str(f)).duration < _SHORTEST]
    return [
        f"{len(names)} of {len(files)} songs of {whose} are {what}, and count all the same: {shortly(names)}"
        for names, what in ((silent, "silent"), (short, f"shorter than {_SHORTEST:g} s"))
        if names
    ]


def _is_silent(file: Path) -> bool:
    """Whether a file can be read and nothing is in it; most are known by their first second."""
    try:
        return all(map(hearing.is_silent, soundfile.blocks(str(file), blocksize=1 << 16, dtype="float32")))
    except (OSError, RuntimeError):
        return False


def narrow(encoder: Encoder, sets: Mapping[str, Sequence[Path]]) -> list[str]:
    """Songs of a lower sampling rate than an encoder hears, where not all are of the same.

    Args:
        sets: whose → files.
    """
    rates = {
        whose: {f: min(encoder.sample_rate, soundfile.info(str(f)).samplerate) for f in files if opens(f)}
        for whose, files in sets.items()
    }
    if len({rate for found in rates.values() for rate in found.values()}) < 2:
        return []
    out = []
    for whose, found in rates.items():
        if low := [f"{f.name} ({rate} Hz)" for f, rate in found.items() if rate < encoder.sample_rate]:
            out.append(
                f"{len(low)} of {len(found)} songs of {whose} have a lower sampling rate than the "
                f"{encoder.sample_rate} Hz that {encoder.name} hears: to it they lack treble, like songs "
                f"through a low-pass: {shortly(low)}"
            )
    return out


def copies(whose: str, songs: Embedded) -> list[str]:
    """Songs whose files are the same, byte by byte."""
    first: dict[Path, str] = {}
    found = []
    for name, path in zip(songs.names, songs.paths):
        if path in first:
            found.append(f"{name} = {first[path]}")
        first.setdefault(path, name)
    if not found:
        return []
    return [
        f"{len(found)} of {len(songs)} songs of {whose} are copies of others, and count as often: "
        f"{shortly(found)}"
    ]


def known(whose: str, songs: Embedded, references: Embedded) -> list[str]:
    """Songs that are references themselves."""
    real = set(references.paths)
    found = [name for name, path in zip(songs.names, songs.paths) if path in real]
    if not found:
        return []
    return [
        f"{len(found)} of {len(songs)} songs of {whose} are references themselves, which flatters FAD, KAD "
        f"and ASOA: {shortly(found)}"
    ]


def uneven(counts: Mapping[str, int]) -> list[str]:
    """Systems of unequal numbers of songs, whose FAD isn't equally biased.

    Args:
        counts: system → songs.
    """
    if len(set(counts.values())) < 2:
        return []
    told = ", ".join(f"{system} {count}" for system, count in counts.items())
    return [
        f"the systems have unequal numbers of songs ({told}): FAD is higher with fewer, FAD∞ and KAD less"
    ]
