"""Load any codec from its folder."""

import json
from pathlib import Path

import torch

from common.errors import CheckpointError
from vae.model import EarVAE
from vae.spectral import SpectralVAE

Codec = EarVAE | SpectralVAE
_KINDS: dict[str, type[EarVAE] | type[SpectralVAE]] = {"EarVAE": EarVAE, "SpectralVAE": SpectralVAE}


def load(folder: str | Path) -> Codec:
    """The codec saved in a folder by `save_pretrained`, in float32, ready for inference.

    Raises:
        CheckpointError: the folder has no readable config.json, or it names another kind of model.
    """
    path = Path(folder) / "config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} can't be read as a codec's configuration: {error}") from error
    if name not in _KINDS:
        raise CheckpointError(f"{path} describes a {name}, but a codec is one of {', '.join(_KINDS)}")
    try:
        model, found = _KINDS[name].from_pretrained(
            str(folder), torch_dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the codec in {folder} can't be loaded: {error}") from error
    wrong = [k for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for k in found[kind]]
    if wrong:
        raise CheckpointError(f"the codec in {folder} doesn't fit its configuration: {wrong[:5]}")
    return model.eval()
