"""Sound files in pieces: read, resampled, limited and written without ever holding a whole one.

for block in read_blocks("song.mp3", 44100): ...
write_blocks("copy.flac", limited(blocks, 44100), 44100)
"""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from common.audio import FORMATS, Audio, least_length
from common.errors import AudioError
from common.loudness import CEILING, limit

logger = logging.getLogger(__name__)

SLACK = 0.1  # s by which a file may be shorter than its header says: an MP3's is an estimate
_BLOCK = 1 << 17  # samples read or written at once
_PIECE, _CONTEXT, _FADE = 20.0, 1.0, 0.1  # s of the limiter: a gain 1 s after a peak has recovered by e^-12


def duration(path: str | Path) -> float:
    """Seconds by the file's header.

    Raises:
        AudioError: the file is missing or isn't sound.
    """
    if not Path(path).is_file():
        raise AudioError(f"there is no audio file {path}")
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read as audio (WAV, FLAC, OGG, Opus, MP3): {error}") from error


def read_blocks(path: str | Path, sample_rate: int) -> Iterator[Float[Tensor, "2 time"]]:
    """A file as stereo at `sample_rate` Hz, block by block; every change is logged.

    A file that ends before its header says, such as an MP3 that was cut off, ends there with a warning.

    Raises:
        AudioError: the file is missing, damaged or empty, isn't mono or stereo, or holds NaN.
    """
    path = Path(path)
    duration(path)
    try:
        with soundfile.SoundFile(path) as file:
            yield from _stereo(path, file, sample_rate)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read to its end: {error}") from error


def _stereo(path: Path, file: soundfile.SoundFile, sample_rate: int) -> Iterator[Tensor]:
    if file.channels > 2:
        raise AudioError(f"{path} has {file.channels} channels: give mono or stereo")
    if file.channels == 1:
        logger.info("%s: mono becomes two equal channels", path)
    resampler = None
    if file.samplerate != sample_rate:
        logger.info("%s: resampled from %d to %d Hz", path, file.samplerate, sample_rate)
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, file.channels, "float32", "HQ")
    seen = 0
    # `file.blocks` would hand on as many samples as the header says, though fewer decode.
    while len(data := file.read(_BLOCK, dtype="float32", always_2d=True)):
        seen += len(data)
        if not np.isfinite(data).all():
            raise AudioError(f"{path} holds NaN or infinite samples: whatever made it has failed")
        yield _pair(resampler.resample_chunk(data) if resampler is not None else data)
    if not seen:
        raise AudioError(f"{path} holds no samples")
    if file.frames - seen > SLACK * file.samplerate:
        seconds = (count / file.samplerate for count in (seen, file.frames))
        logger.warning("%s is cut short: %.1f s can be read of the %.1f s in its header", path, *seconds)
    if resampler is not None:
        # As in `common.audio.resample`, what is shorter than a sample at the new rate becomes one.
        silence = max(0, least_length(file.samplerate, sample_rate) - seen)
        rest = resampler.resample_chunk(np.zeros((silence, file.channels), np.float32), last=True)
        yield _pair(rest[:1] if silence else rest)


def _pair(data: np.ndarray) -> Float[Tensor, "2 time"]:
    # A copy always: a view of one frame counts as contiguous, but torch can't write to it.
    return torch.from_numpy(np.array(np.broadcast_to(data.T, (2, len(data))), order="C"))


def limited(
    blocks: Iterable[Float[Tensor, "2 time"]], sample_rate: int, ceiling: float = CEILING
) -> Iterator[Float[Tensor, "2 time"]]:
    """`common.loudness.limit` in pieces of 20 s, each with a second of its neighbours.

    Where two pieces meet, one fades into the other over 0.1 s: both are the same sound under nearly the
    same gain, so a step can't be heard, and the peak stays below both. Sound below the ceiling comes out
    as it came.
    """
    piece, context, fade = (round(s * sample_rate) for s in (_PIECE, _CONTEXT, _FADE))
    held, before, tail = torch.zeros(2, 0), 0, None
    for block, last in _with_last(blocks):
        held = torch.cat([held, block], dim=1)
        while held.shape[1] >= before + piece + context or last:
            take = min(held.shape[1], before + piece + context)
            loud = _limit(held[:, :take], sample_rate, ceiling)
            ending = last and take == held.shape[1]
            stop = take if ending else before + piece
            out = loud[:, before:stop].clone()
            if tail is not None:
                ramp = torch.linspace(0, 1, fade)[: out.shape[1]]
                out[:, : len(ramp)] = (
                    tail[:, : len(ramp)] + (out[:, : len(ramp)] - tail[:, : len(ramp)]) * ramp
                )
            yield out
            if ending:
                return
            tail = loud[:, stop : stop + fade]
            held, before = held[:, stop - context :], context


def _limit(wav: Tensor, sample_rate: int, ceiling: float) -> Tensor:
    return torch.from_numpy(limit(Audio(wav.numpy(), sample_rate), ceiling).samples)


def _with_last(blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each block that isn't empty, and whether it is the last one."""
    kept = None
    for block in blocks:
        if not block.shape[1]:
            continue
        if kept is not None:
            yield kept, False
        kept = block
    if kept is not None:
        yield kept, True


def check_suffix(path: Path) -> None:
    """Raise AudioError unless `write_blocks` can write such a file."""
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: write audio as one of {', '.join(FORMATS)}")


def write_blocks(path: str | Path, blocks: Iterable[Float[Tensor, "2 time"]], sample_rate: int) -> int:
    """Write FLAC or WAV (16 bits) or Vorbis by suffix, whole or not at all; returns the samples written.

    Raises:
        AudioError: the suffix is unknown, a sample is beyond full scale, or the disk refuses.
    """
    path = Path(path)
    check_suffix(path)
    suffix = path.suffix.lower()
    subtype = "VORBIS" if suffix == ".ogg" else "PCM_16"
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{suffix}")
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(part, "w", sample_rate, 2, subtype=subtype, format=FORMATS[suffix]) as file:
            for block in blocks:
                peak = float(block.abs().max()) if block.numel() else 0.0
                if peak > 1:
                    raise AudioError(f"{path}: the peak is {peak:.3f}, above full scale: limit it first")
                for data in block.T.split(_BLOCK):
                    file.write(data.numpy() if suffix == ".ogg" else _rounded(data.numpy()))
                written += block.shape[1]
        part.replace(path)
    except (OSError, RuntimeError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path} can't be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


def _rounded(data: np.ndarray) -> np.ndarray:
    """The nearest 16-bit integers: libsndfile itself cuts floats off."""
    return np.clip(np.rint(data.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
