"""Latents of a whole sound, and their files: safetensors with what decoding needs in the header.

Everything works tile by tile: minutes of sound need no more memory than seconds, but for the latents.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from common.audio import Audio, resample, to_channels
from common.errors import AudioError
from vae.load import Codec, fingerprint
from vae.tiles import blocks_of, encode_tiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Latents:
    """What a codec made of one sound."""

    values: Float[np.ndarray, "latent_dim frames"]
    length: int  # samples of the sound
    sample_rate: int  # Hz, of the codec
    hop_length: int  # samples a frame
    codec: str  # `vae.load.fingerprint` of the codec that made them


def encode_audio(codec: Codec, audio: Audio) -> Latents:
    """The most probable latents; the sound is brought to the codec's rate and to stereo, which is logged."""
    if audio.channels == 1:
        logger.info("mono becomes two equal channels")
    stereo = to_channels(resample(audio, codec.sample_rate), 2)
    return encode_blocks(codec, blocks_of(torch.from_numpy(stereo.samples)))


def encode_blocks(codec: Codec, blocks: Iterable[Float[Tensor, "2 time"]]) -> Latents:
    """The most probable latents of a sound that comes in blocks, at the codec's rate.

    Raises:
        AudioError: no sample came, or one isn't finite.
    """
    length = 0

    def counted() -> Iterator[Tensor]:
        nonlocal length
        for block in blocks:
            length += block.shape[1]
            yield block

    with torch.inference_mode():
        parts = [p.mode()[0].float().cpu().numpy() for p in encode_tiles(codec, counted())]
    if not parts:
        raise AudioError("the sound has no samples: the codec needs one at least")
    values = np.concatenate(parts, axis=1)
    return Latents(values, length, codec.sample_rate, codec.hop_length, fingerprint(codec))


def decode_audio(codec: Codec, latents: Latents) -> Audio:
    """The sound of its full length; peaks may exceed full scale.

    Raises:
        AudioError: the latents are of another codec.
    """
    wav = torch.cat(list(decode_blocks(codec, latents)), dim=1)
    return Audio(wav.numpy(), codec.sample_rate)


def decode_blocks(codec: Codec, latents: Latents) -> Iterator[Float[Tensor, "2 time"]]:
    """The sound in pieces, float32 on the CPU; together they have `latents.length` samples.

    Raises:
        AudioError: as in `decode_audio`, before the first piece.
    """
    check_latents(codec, latents)
    return _decoded(codec, latents)


def _decoded(codec: Codec, latents: Latents) -> Iterator[Tensor]:
    left = latents.length
    with torch.inference_mode():
        values = torch.from_numpy(latents.values)[None].to(codec.device, codec.dtype)
        for wav in codec.decode_tiles(values):
            yield wav[0, :, :left].float().cpu()
            left -= wav.shape[2]


def check_latents(codec: Codec, latents: Latents) -> None:
    """Raise AudioError unless this codec made the latents, and all of them are there."""
    _check_values(latents.values, latents.length)
    if (len(latents.values), latents.sample_rate) != (codec.latent_dim, codec.sample_rate):
        raise AudioError(
            f"the codec has {codec.latent_dim} dimensions at {codec.sample_rate} Hz, but the latents have "
            f"{len(latents.values)} at {latents.sample_rate} Hz: decode them with the codec that made them"
        )
    if latents.hop_length != codec.hop_length:
        raise AudioError(
            f"a frame of the codec has {codec.hop_length} samples, but one of the latents has "
            f"{latents.hop_length}: decode them with the codec that made them"
        )
    mine = fingerprint(codec)
    if latents.codec != mine:
        raise AudioError(
            f"the latents were made by the codec {latents.codec}, but this one is {mine}: "
            "decode them with the codec that made them"
        )
    frames, needed = latents.values.shape[1], codec.frames(latents.length)
    if frames != needed:
        raise AudioError(f"{latents.length} samples have {needed} frames of latents, but {frames} came")


def _check_values(values: np.ndarray, length: int) -> None:
    """Raise AudioError unless these are numbers (latent_dim, frames) of a sound of some length."""
    if values.ndim != 2 or not values.size:
        raise AudioError(f"latents have the shape (latent_dim, frames), but these have {values.shape}")
    if not np.issubdtype(values.dtype, np.floating):
        raise AudioError(f"latents are floats, but these are {values.dtype}")
    if not np.isfinite(values).all():
        raise AudioError("the latents hold NaN or infinite values: whatever made them has failed")
    if length < 1:
        raise AudioError(f"latents are of a sound of one sample at least, but these are of {length}")


def write_latents(path: Path, latents: Latents) -> None:
    """Write a safetensors file, whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    header = {
        "length": str(latents.length),
        "sample_rate": str(latents.sample_rate),
        "hop_length": str(latents.hop_length),
        "codec": latents.codec,
    }
    save_file({"latents": np.ascontiguousarray(latents.values)}, part, metadata=header)
    part.replace(path)


def read_latents(path: Path) -> Latents:
    """Read what `write_latents` wrote; floats of another width, such as bfloat16, become float32.

    Raises:
        AudioError: the file is missing or isn't one of latents.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            length, rate, hop = (int(header[name]) for name in ("length", "sample_rate", "hop_length"))
            values = file.get_tensor("latents")
            values = (values.float() if values.is_floating_point() else values).numpy()
            _check_values(values, length)
            return Latents(values, length, rate, hop, header["codec"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AudioError) as error:
        raise AudioError(f"{path} isn't a file of latents made by vae.encode: {error}") from error
