"""Which files of a real collection are good enough to train on.

The two stages of the filter of ear-VAE (Back to Ear, section 4.2): the first asks for a native sample rate
of at least 44.1 kHz and a loudness between −22 and −5 LUFS, the second, for collections that nobody has
cleaned, for a true peak below +1 dB. The header alone is read when it already decides.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import soundfile

from common.audio import read_audio
from common.errors import AudioError
from common.loudness import integrated_loudness, true_peak

Stage = Literal[1, 2]
LOWEST_RATE = 44100  # Hz
LOUDNESS = (-22.0, -5.0)  # LUFS, integrated, both ends kept
HIGHEST_PEAK = 1.0  # dBTP, itself rejected


@dataclass(frozen=True)
class Verdict:
    """Whether a file is kept, why not, and what was measured on the way (None: not needed, or unreadable)."""

    path: Path
    kept: bool
    reason: str = ""  # empty when kept
    sample_rate: int | None = None  # Hz
    duration: float | None = None  # s
    loudness: float | None = None  # LUFS
    peak: float | None = None  # dBTP


def judge(path: str | Path, stage: Stage = 2) -> Verdict:
    """Judge a file; one that can't be read gets a verdict too, so that a scan never stops.

    Args:
        stage: 1 for rate and loudness; 2 for the true peak as well.
    Source: Back to Ear, section 4.2.
    """
    path = Path(path)
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        return Verdict(path, False, f"unreadable: {error}")
    rate = int(info.samplerate)
    seen = Verdict(path, False, sample_rate=rate, duration=float(info.duration))
    if rate < LOWEST_RATE:
        return replace(seen, reason=f"sample rate {rate} Hz is below {LOWEST_RATE}")
    try:
        audio = read_audio(path)
        seen = replace(seen, loudness=integrated_loudness(audio))
    except AudioError as error:
        return replace(seen, reason=f"unreadable: {error}")
    assert seen.loudness is not None, "just measured"
    if not LOUDNESS[0] <= seen.loudness <= LOUDNESS[1]:
        limits = f"{LOUDNESS[0]:.0f} … {LOUDNESS[1]:.0f} LUFS"
        return replace(seen, reason=f"loudness {seen.loudness:.1f} LUFS is not in {limits}")
    if stage == 2:
        seen = replace(seen, peak=(peak := true_peak(audio)))
        if peak >= HIGHEST_PEAK:
            return replace(seen, reason=f"true peak {peak:+.2f} dB is not below {HIGHEST_PEAK:+.0f} dB")
    return replace(seen, kept=True)
