"""Latents of a whole sound, and their files: safetensors with what decoding needs in the header."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.audio import Audio, resample, to_channels
from common.errors import AudioError
from vae.load import Codec


@dataclass(frozen=True, eq=False)
class Latents:
    """What a codec made of one sound."""

    values: Float[np.ndarray, "latent_dim frames"]
    length: int  # samples of the sound
    sample_rate: int  # Hz, of the codec


def encode_audio(codec: Codec, audio: Audio) -> Latents:
    """The most probable latents; the sound is brought to the codec's rate and to stereo, which is logged."""
    stereo = to_channels(resample(audio, codec.sample_rate), 2)
    wav = torch.from_numpy(stereo.samples)[None].to(codec.device)
    with torch.inference_mode():
        values = codec.encode(wav.to(codec.dtype)).mode()[0]
    return Latents(values.float().cpu().numpy(), wav.shape[-1], codec.sample_rate)


def decode_audio(codec: Codec, latents: Latents) -> Audio:
    """The sound of its full length; peaks may exceed full scale.

    Raises:
        AudioError: the latents are of another codec.
    """
    if (len(latents.values), latents.sample_rate) != (codec.latent_dim, codec.sample_rate):
        raise AudioError(
            f"the codec has {codec.latent_dim} dimensions at {codec.sample_rate} Hz, but the latents have "
            f"{len(latents.values)} at {latents.sample_rate} Hz: decode them with the codec that made them"
        )
    values = torch.from_numpy(latents.values)[None].to(codec.device, codec.dtype)
    with torch.inference_mode():
        wav = codec.decode(values, latents.length)[0]
    return Audio(wav.float().cpu().numpy(), codec.sample_rate)


def write_latents(path: Path, latents: Latents) -> None:
    """Write a safetensors file, whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    header = {"length": str(latents.length), "sample_rate": str(latents.sample_rate)}
    save_file({"latents": np.ascontiguousarray(latents.values)}, part, metadata=header)
    part.replace(path)


def read_latents(path: Path) -> Latents:
    """Read what `write_latents` wrote.

    Raises:
        AudioError: the file is missing or isn't one of latents.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            return Latents(file.get_tensor("latents"), int(header["length"]), int(header["sample_rate"]))
    except (OSError, SafetensorError, KeyError, ValueError, json.JSONDecodeError) as error:
        raise AudioError(f"{path} isn't a file of latents made by vae.encode: {error}") from error
