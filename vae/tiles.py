"""Long sound in constant memory: encode and decode tile by tile, the same as at once.

A tile is a whole number of latents, so its edges lie on the hop; it is computed with as many latents
of context on each side as the receptive field reaches, and the context is cut off again. What the
codec computes at the two ends of a sound (zeros beyond it) happens in the first and last tile alone.
So a tiled result differs from the whole one by the rounding of float32 only:

- `EarVAE`: its transformer, which sees all latents, runs once over all of them (64 numbers a frame,
  10 minutes are 7 MB); only the convolutions are tiled. Nothing drifts, with or without it.
- `SpectralVAE`: phases go on from one tile to the next (`SpectralVAE.decode_tiles`).
"""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from vae.load import Codec
from vae.model import folded_weights
from vae.posterior import Posterior

TILE = 256  # latents, 6 s


def encode_tiles(
    codec: Codec, blocks: Iterable[Float[Tensor, "2 time"]], tile: int = TILE
) -> Iterator[Posterior]:
    """Posteriors (1, latent_dim, ≤ tile) of a sound that comes in blocks of any length.

    Args:
        blocks: at the codec's sample rate; together at least one sample.
        tile: latents.
    Raises:
        AudioError: as in `encode`.
    """
    with folded_weights(codec.encoder):
        yield from _encoded(codec, blocks, tile)


def _encoded(codec: Codec, blocks: Iterable[Tensor], tile: int) -> Iterator[Posterior]:
    hop, context = codec.hop_length, codec.encode_context
    held: Tensor | None = None
    before = 0  # latents at the start of `held` that are done, kept as context
    for block in blocks:
        held = block if held is None else torch.cat([held, block], dim=1)
        while held.shape[1] >= (before + tile + context) * hop:
            whole = _encode(codec, held[:, : (before + tile + context) * hop])
            yield _part(whole, before, before + tile)
            drop = max(0, before + tile - context)
            held, before = held[:, drop * hop :], before + tile - drop
    if held is None or held.shape[1] > before * hop:
        whole = _encode(codec, torch.zeros(2, 0) if held is None else held)
        last = whole.mean.shape[2]
        for start in range(before, last, tile):
            yield _part(whole, start, min(last, start + tile))


def _encode(codec: Codec, wav: Tensor) -> Posterior:
    return codec.encode(wav[None].to(codec.device, codec.dtype))


def _part(posterior: Posterior, start: int, stop: int) -> Posterior:
    return Posterior(posterior.mean[..., start:stop], posterior.std[..., start:stop])


def blocks_of(wav: Float[Tensor, "2 time"], size: int = 1 << 17) -> Iterator[Float[Tensor, "2 block"]]:
    """A waveform in blocks."""
    for start in range(0, wav.shape[1], size):
        yield wav[:, start : start + size]
