"""Load any codec from its folder, and tell codecs apart."""

import hashlib
import json
import weakref
from pathlib import Path

import torch
from safetensors import SafetensorError

from common.errors import CheckpointError, ConfigError
from vae.model import EarVAE
from vae.spectral import SpectralVAE

DEMO = Path(__file__).parents[1] / "app/models/demo/vae"  # the codec that comes with the project
Codec = EarVAE | SpectralVAE
_KINDS: dict[str, type[EarVAE] | type[SpectralVAE]] = {"EarVAE": EarVAE, "SpectralVAE": SpectralVAE}
_known: "weakref.WeakKeyDictionary[Codec, tuple[int, str, str]]" = weakref.WeakKeyDictionary()
# What a spectral codec's analysis is unless its fingerprint says more: names given before these counted stay.
_USUAL = {"floor": 0.03, "n_mels": 40, "n_width": 8}


def load(folder: str | Path) -> Codec:
    """The codec saved in a folder by `save_pretrained`, in float32, ready for inference.

    Raises:
        CheckpointError: the folder has no readable config.json, it names another kind of model or has a
            setting that no codec can have, or a weight is missing, of another shape or not finite.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read as a codec's configuration: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path} holds a {type(config).__name__}, but a codec's configuration is an object"
        )
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in _KINDS:
        raise CheckpointError(f"{path} describes a {name}, but a codec is one of {', '.join(_KINDS)}")
    try:
        model, found = _KINDS[name].from_pretrained(
            str(folder), torch_dtype=torch.float32, output_loading_info=True
        )
    except (
        OSError,
        ValueError,
        TypeError,
        OverflowError,
        RuntimeError,
        SafetensorError,
        ConfigError,
    ) as error:
        # Past its first sentence a library's error tells programmers what to pass to it.
        reason = " ".join(str(error).split()).split(". ")[0]
        raise CheckpointError(f"the codec in {folder} can't be loaded: {reason}") from error
    wrong = [k for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for k in found[kind]]
    if wrong:
        raise CheckpointError(f"the codec in {folder} doesn't fit its configuration: {wrong[:5]}")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        # A sum, which is several times as fast, tells unless it overflows.
        if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():
            raise CheckpointError(
                f"the codec in {folder} holds NaN or infinite values in {name}: it is damaged"
            )
    return model.eval()


def fingerprint(codec: Codec) -> str:
    """16 hex digits that name the latents of a codec: a hash of its encoder and of what it hears.

    A decoder that trained on reads the same latents, so it has no say; weights are taken in bfloat16,
    so that a model and its half-precision copy have one name.
    """
    parameters = list(codec.encoder.parameters())
    version = sum(p._version for p in parameters)  # counts changes in place
    facts = json.dumps(_facts(codec), sort_keys=True)
    kept = _known.get(codec)
    if kept is not None and kept[:2] == (version, facts):
        return kept[2]
    digest = hashlib.sha256(facts.encode())
    for name, value in codec.encoder.named_parameters():
        digest.update(name.encode())
        digest.update(
            value.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        )
    _known[codec] = (version, facts, digest.hexdigest()[:16])
    return _known[codec][2]


def _facts(codec: Codec) -> dict[str, object]:
    """What latents depend on beside the encoder's weights."""
    facts = {
        "kind": type(codec).__name__,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "latent_dim": codec.latent_dim,
        "scale": getattr(codec, "scale", None),
        "features": codec.analysis.size if isinstance(codec, SpectralVAE) else None,
    }
    if isinstance(codec, EarVAE):
        return facts
    heard = codec.analysis
    found = {"floor": float(heard.floor), "n_mels": len(heard.mels), "n_width": len(heard.coarse)}
    return facts | {name: value for name, value in found.items() if value != _USUAL[name]}
