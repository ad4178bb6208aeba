"""Sampled sound: the array all rooms exchange, its files, resampling and channels.

audio = to_channels(resample(read_audio("song.flac"), 44100), 2)
write_audio("copy.flac", audio, tags={"title": "晚风"})
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mutagen
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from mutagen.flac import FLAC
from mutagen.id3 import TXXX
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from common.errors import AudioError

log = logging.getLogger(__name__)

Samples = npt.NDArray[np.float32]
FORMATS = {".flac": "FLAC", ".wav": "WAV", ".ogg": "OGG"}
_WRITE_CHUNK = 1 << 18  # libsndfile's Vorbis encoder overflows its stack when given minutes at once


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound in memory; full scale is 1.

    Raises:
        AudioError: the array isn't (channels, time), is empty, or holds NaN or infinity.
    """

    samples: Samples  # (channels, time)
    sample_rate: int  # Hz

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.ndim != 2 or not 1 <= samples.shape[0] <= 8 or samples.shape[1] == 0:
            raise AudioError(f"audio is an array (1–8 channels, time), but its shape is {samples.shape}")
        if not np.issubdtype(samples.dtype, np.floating):
            raise AudioError(f"audio samples are floats with full scale 1, but got {samples.dtype}")
        if self.sample_rate <= 0:
            raise AudioError(f"a sample rate is a positive number of Hz, but got {self.sample_rate}")
        object.__setattr__(self, "samples", np.ascontiguousarray(samples, dtype=np.float32))
        if not np.isfinite(self.samples).all():
            raise AudioError("audio holds NaN or infinite samples: whatever made it has failed")

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples.shape[1] / self.sample_rate

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return float(max(self.samples.max(), -self.samples.min()))


def read_audio(path: str | Path) -> Audio:
    """Decode a file as it is: no resampling, no change of channels.

    Raises:
        AudioError: the file is missing, is no audio that libsndfile knows, or is empty; names the path.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"there is no audio file {path}")
    try:
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read as audio (WAV, FLAC, OGG, MP3): {error}") from error
    if not len(data):
        raise AudioError(f"{path} holds no samples")
    try:
        return Audio(data.T, rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


def write_audio(
    path: str | Path, audio: Audio, tags: Mapping[str, str] | None = None, bits: int = 16
) -> None:
    """Write FLAC, WAV or OGG by suffix, whole or not at all.

    Args:
        tags: Vorbis comments in FLAC and OGG, TXXX frames of ID3 in WAV; read back by `read_tags`.
        bits: 16 or 24; Vorbis has none.
    Raises:
        AudioError: the suffix is unknown, a sample is beyond full scale, or the disk refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise AudioError(f"{path}: write audio as one of {', '.join(FORMATS)}")
    if bits not in (16, 24):
        raise AudioError(f"{path}: samples are written with 16 or 24 bits, but got {bits}")
    if audio.peak > 1.0:
        raise AudioError(f"{path}: the peak is {audio.peak:.3f}, above full scale: normalise it first")
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_samples(part, audio, FORMATS[suffix], 0 if suffix == ".ogg" else bits)
        if tags:
            _write_tags(part, tags)
        part.replace(path)
    except (OSError, RuntimeError, soundfile.SoundFileError, mutagen.MutagenError) as error:
        raise AudioError(f"{path} can't be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _write_samples(path: Path, audio: Audio, container: str, bits: int) -> None:
    subtype = f"PCM_{bits}" if bits else "VORBIS"
    with soundfile.SoundFile(
        path, "w", audio.sample_rate, audio.channels, subtype=subtype, format=container
    ) as file:
        for start in range(0, audio.samples.shape[1], _WRITE_CHUNK):
            piece = audio.samples[:, start : start + _WRITE_CHUNK].T
            file.write(_quantised(piece, bits) if bits else piece)


def _quantised(samples: Samples, bits: int) -> npt.NDArray[np.int32]:
    """The nearest integers, in the upper bits: libsndfile itself cuts floats off instead of rounding them."""
    scale = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1)
    return whole.astype(np.int32) << (32 - bits)


def _open_tags(path: Path) -> mutagen.FileType:
    return {".flac": FLAC, ".ogg": OggVorbis, ".wav": WAVE}[path.suffix.lower()](path)


def _write_tags(path: Path, tags: Mapping[str, str]) -> None:
    file = _open_tags(path)
    if file.tags is None:
        file.add_tags()
    assert file.tags is not None, "mutagen adds tags to FLAC, OGG and WAV"
    for name, text in tags.items():
        if isinstance(file, WAVE):
            file.tags.add(TXXX(encoding=3, desc=name.lower(), text=[text]))
        else:
            file[name.lower()] = text
    file.save()


def read_tags(path: str | Path) -> dict[str, str]:
    """The tags that `write_audio` wrote, names in lower case.

    Raises:
        AudioError: the file is missing or can't be parsed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS or not path.is_file():
        raise AudioError(f"{path} is not a file of one of {', '.join(FORMATS)}")
    try:
        file = _open_tags(path)
    except mutagen.MutagenError as error:
        raise AudioError(f"{path}: its tags can't be read: {error}") from error
    if file.tags is None:
        return {}
    if isinstance(file, WAVE):
        return {frame.desc: frame.text[0] for frame in file.tags.getall("TXXX")}
    return {name.lower(): values[0] for name, values in file.items()}


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate (soxr, high quality), of one sample at least.

    Logged; nothing is done at the same rate.

    Raises:
        AudioError: the rate isn't positive.
    """
    if rate == audio.sample_rate:
        return audio
    if rate <= 0:
        raise AudioError(f"a sample rate is a positive number of Hz, but got {rate}")
    log.info("resampling %.1f s of audio from %d to %d Hz", audio.duration, audio.sample_rate, rate)
    samples = audio.samples
    # Of less than half a new sample soxr makes nothing, but of the same with silence behind it, one.
    silence = least_length(audio.sample_rate, rate) - samples.shape[1]
    if silence > 0:
        samples = np.pad(samples, ((0, 0), (0, silence)))
    out = np.asarray(soxr.resample(samples.T, audio.sample_rate, rate, quality="HQ"), dtype=np.float32)
    return Audio(out[:1].T if silence > 0 else out.T, rate)


def least_length(sample_rate: int, rate: int) -> int:
    """Samples at `sample_rate` Hz that make at least one at `rate` Hz; fewer make one at most."""
    return -(-sample_rate // rate)


def die_away(samples: Samples, sample_rate: int, seconds: float = 1.2) -> None:
    """Let the end of (…, time) die away, in place: what still sounds there would end in a click.

    Args:
        seconds: of the raised cosine; in a short song less, a fifteenth of its length at most.
    """
    length = samples.shape[-1]
    fade = min(round(seconds * sample_rate), length // 15)
    samples[..., length - fade :] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fade, dtype=np.float32))


def to_channels(audio: Audio, channels: int) -> Audio:
    """Mono copied to several channels, or several averaged to mono.

    Raises:
        AudioError: any other change, such as 6 to 2: it needs a downmix that only the user can choose.
    """
    if channels == audio.channels:
        return audio
    if channels < 1 or 1 not in (channels, audio.channels):
        raise AudioError(
            f"can't make {channels} channels of {audio.channels}: give mono or {channels} channels"
        )
    if channels == 1:
        return Audio(audio.samples.mean(axis=0, keepdims=True, dtype=np.float32), audio.sample_rate)
    return Audio(np.repeat(audio.samples, channels, axis=0), audio.sample_rate)
