"""A published ear-VAE checkpoint to a folder of ours, key by key.

python -m vae.convert ear_vae_44k.pyt models/ear_vae_44k
python -m vae.convert ear_vae_v2_48k.pyt models/ear_vae_48k

Both files are on the hub at `earlab/EAR_VAE`, in `pretrained_weight`. The shape of the model (widths,
strides, latent size, transformer) is read off the tensors, so that a fine-tuned or differently sized
model of the same family converts too; only its sample rate has to be told, with `--sample_rate`.
"""

import argparse
import hashlib
import logging
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import CheckpointError, run_command
from common.files import whole_folder
from vae.model import DILATIONS, EarVAE
from vae.settings import check_whole

logger = logging.getLogger(__name__)

PUBLISHED = {  # strides → sample rate in Hz, file name, SHA-256
    (2, 4, 4, 4, 8): (
        44100,
        "ear_vae_44k.pyt",
        "0362dc7e96566869747dbe079b0a6d71c090b0a3a5d5077779e7be17c096d9d5",
    ),
    (2, 2, 4, 6, 10): (
        48000,
        "ear_vae_v2_48k.pyt",
        "cc53f3f043aaae01307ffe1439b3a1c9d9e019652e6c13e089cd18d6037c2d3f",
    ),
}


FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def convert(path: str | Path, sample_rate: int | None = None) -> EarVAE:
    """The model of a published checkpoint, in float32, ready for inference.

    Args:
        sample_rate: Hz, for strides that aren't those of a published model.
    Raises:
        CheckpointError: the file is damaged or isn't a flat dictionary of tensors, a tensor is missing,
            has another shape or a value that isn't finite, or there is one too many; its key is named.
        ConfigError: the sample rate isn't positive.
    """
    if sample_rate is not None:
        check_whole(1, sample_rate=sample_rate)
    path = Path(path)
    state = read(path)
    config = configuration(state, sample_rate)
    _compare_hash(path, config["strides"])
    with torch.device("meta"):
        model = EarVAE(**config)
    check(state, model)
    # Copies: whatever shares memory in the file, only the two names of a Snake share it in the model.
    copies = {key: torch.empty(value.shape).copy_(value) for key, value in state.items()}
    model.load_state_dict(copies, assign=True)
    return model.eval()


# ---- the file --------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint; nothing in the file is executed.

    Raises:
        CheckpointError: see `convert`.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} can't be read as a torch checkpoint, it is cut short or damaged ({reason}): "
            "download it again"
        ) from error
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a dictionary of tensors")
    for key, value in state.items():
        if not isinstance(key, str):
            raise CheckpointError(
                f"{path} has the key {key!r}, a {type(key).__name__}: keys are names of tensors"
            )
        if not isinstance(value, Tensor) or value.dtype not in FLOATS:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{path}: {key!r} is a {found}, not a tensor of floats")
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            found = "meta" if value.is_meta else "nested" if value.is_nested else "sparse"
            raise CheckpointError(f"{path}: {key!r} is a {found} tensor, not a dense one with all its values")
    _check_records(path, state)
    return dict(state)


def _check_records(path: Path, state: Mapping[str, Tensor]) -> None:
    """Compare the checksums of the archive, which torch doesn't, and name the tensor that is damaged.

    Storages are numbered in the order in which tensors were first met when the file was written.
    """
    if not zipfile.is_zipfile(path):
        return  # torch's format before 1.6 has no checksums
    with zipfile.ZipFile(path) as archive:
        try:
            record = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({error}): download it again") from error
    if record is None:
        return
    number = record.rsplit("/", 1)[-1]
    storages: dict[int, str] = {}
    for key, value in state.items():
        storages.setdefault(value.untyped_storage().data_ptr(), key)
    names = list(storages.values())
    name = repr(names[int(number)]) if number.isdigit() and int(number) < len(names) else record
    raise CheckpointError(f"{path}: the bytes of {name} don't have their checksum: download the file again")


def _compare_hash(path: Path, strides: tuple[int, ...]) -> None:
    if strides not in PUBLISHED:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    _, name, known = PUBLISHED[strides]
    if found != known:
        logger.warning(
            "%s has SHA-256 %s, but the published %s has %s: these are other weights",
            path,
            found,
            name,
            known,
        )


# ---- the shape of the model ------------------------------------------------------------------


def configuration(state: Mapping[str, Tensor], sample_rate: int | None = None) -> dict[str, Any]:
    """Arguments of `EarVAE` that fit the tensors.

    Raises:
        CheckpointError: a tensor that tells the shape is missing or contradicts another, or the sample rate
            can't be known.
    """
    channels = _outputs(state, "encoder.layers.0")
    count = 0
    while any(key.startswith(f"encoder.layers.{count + 1}.layers.") for key in state):
        count += 1
    last = len(DILATIONS) + 1  # of the layers of an encoder block: its strided convolution
    names = [f"encoder.layers.{i}.layers.{last}" for i in range(1, count + 1)]
    strides = tuple(_stride(state, n, f"decoder.layers.{count - i}.layers.1") for i, n in enumerate(names))
    config: dict[str, Any] = {
        "channels": channels,
        "multipliers": tuple(_outputs(state, name) // channels for name in names),
        "strides": strides,
        "latent_dim": _latent_dim(state, f"encoder.layers.{count + 2}"),
        "transformer_depth": 0,
        "sample_rate": _sample_rate(strides, sample_rate),
    }
    depth = 0
    while any(key.startswith(f"transformers.layers.{depth}.") for key in state):
        depth += 1
    if any(key.startswith("transformers.") for key in state):
        config |= {"transformer_depth": depth, "heads": _heads(state, config["latent_dim"])}
    return config


def _heads(state: Mapping[str, Tensor], latent_dim: int) -> int:
    """A head has a rotary frequency for every two of its dimensions."""
    key = "transformers.rotary_pos_emb.inv_freq"
    dim = 2 * _size(state, key, 1)[0]
    if latent_dim % dim:
        raise CheckpointError(
            f"{key!r} has {dim // 2} frequencies, so heads have {dim} dimensions, "
            f"but these don't divide a latent of {latent_dim}"
        )
    return latent_dim // dim


def _outputs(state: Mapping[str, Tensor], name: str) -> int:
    """Channels that a convolution makes: of its weight's direction, unless length and bias say otherwise."""
    outputs = _size(state, f"{name}.weight_v", 3)[0]
    others = {state[key].shape[0] for key in (f"{name}.weight_g", f"{name}.bias") if _has_rows(state, key)}
    if len(others) == 1 and others != {outputs}:
        raise CheckpointError(
            f"'{name}.weight_v' makes {outputs} channels, but its weight_g and bias are of {others.pop()}"
        )
    return outputs


def _has_rows(state: Mapping[str, Tensor], key: str) -> bool:
    return key in state and state[key].ndim > 0


def _stride(state: Mapping[str, Tensor], name: str, mirror: str) -> int:
    """Half the kernel of a strided convolution; the decoder has one of the same kernel."""
    kernel = _size(state, f"{name}.weight_v", 3)[2]
    if kernel < 4 or kernel % 2:
        raise CheckpointError(
            f"'{name}.weight_v' has a kernel of {kernel}, but twice its stride is needed, 4 at least"
        )
    other = _size(state, f"{mirror}.weight_v", 3)[2]
    if other != kernel:
        raise CheckpointError(
            f"'{name}.weight_v' has a kernel of {kernel} and '{mirror}.weight_v' one of {other}, "
            "but the two have one stride"
        )
    return kernel // 2


def _latent_dim(state: Mapping[str, Tensor], last: str) -> int:
    """Inputs of the decoder, which are half of what the encoder's last layer makes: mean and scale."""
    key = "decoder.layers.0.weight_v"
    latent_dim, made = _size(state, key, 3)[1], _outputs(state, last)
    if made != 2 * latent_dim:
        raise CheckpointError(
            f"{key!r} takes {latent_dim} channels, but '{last}.weight_v' makes {made}, not twice as many"
        )
    return latent_dim


def _size(state: Mapping[str, Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    if key not in state:
        raise CheckpointError(f"the checkpoint has no {key!r}: it is incomplete, or isn't an ear-VAE")
    if state[key].ndim != dimensions:
        raise CheckpointError(f"{key!r} needs {dimensions} dimensions, but has shape {_shape(state[key])}")
    if not state[key].numel():
        raise CheckpointError(f"{key!r} is empty: its shape is {_shape(state[key])}")
    return tuple(state[key].shape)


def _sample_rate(strides: tuple[int, ...], told: int | None) -> int:
    if told is not None:
        return told
    if strides not in PUBLISHED:
        raise CheckpointError(
            f"strides {strides} are of no published model, so its sample rate can't be known: "
            "give it with --sample_rate"
        )
    return PUBLISHED[strides][0]


# ---- key by key ------------------------------------------------------------------------------


def check(state: Mapping[str, Tensor], model: EarVAE) -> None:
    """Compare a checkpoint with the model that it is to fill.

    Raises:
        CheckpointError: as in `convert`, or a shared Snake has different values under its two names, or
            rotary frequencies aren't the ones that the architecture fixes. Norm shifts may have any values:
            published ones are zeros, but the model adds what they are.
    """
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    if missing or extra:
        parts = [
            f"{what} {_some(keys)}" for what, keys in (("lacks", missing), ("has the unknown", extra)) if keys
        ]
        raise CheckpointError(f"the checkpoint {' and '.join(parts)}")
    for key, value in state.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{key!r} has shape {_shape(value)}, but the model needs {_shape(wanted[key])}"
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{key!r} holds NaN or infinite values")
    for key in state:
        if _is_second_name(key) and not torch.equal(state[key], state[_first_name(key)]):
            raise CheckpointError(f"{key!r} differs from {_first_name(key)!r}, but they are one tensor")
    _check_constants(state)


def _check_constants(state: Mapping[str, Tensor]) -> None:
    """What is no parameter, but stands in the file."""
    key = "transformers.rotary_pos_emb.inv_freq"
    if key in state:
        half = len(state[key])
        expected = 10000.0 ** -(torch.arange(half) / half)
        if not torch.allclose(state[key].float(), expected, rtol=1e-2):
            raise CheckpointError(f"{key!r} isn't 10000^(-i/{half}): the positions are of another kind")


def _is_second_name(key: str) -> bool:
    """Whether this is a residual unit's Snake at its second place."""
    return key.endswith((".layers.2.alpha", ".layers.2.beta")) and key.count(".layers.") == 3


def _first_name(key: str) -> str:
    head, _, name = key.rpartition(".layers.2.")
    return f"{head}.layers.0.{name}"


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(map(repr, keys[:3])) + more


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "()"


def _check_folder(folder: Path) -> None:
    """Refuse to replace what isn't a codec. Raises CheckpointError."""
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: give the name of a folder for the model")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise CheckpointError(f"the folder {folder} holds other things than a model: give a new or empty one")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="ear_vae_44k.pyt or ear_vae_v2_48k.pyt"
    )
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="for vae.encode and the rest")
    parser.add_argument("--sample_rate", type=int, help="Hz, of a model that isn't a published one")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _check_folder(options.folder)
    model = convert(options.checkpoint, options.sample_rate)
    try:
        with whole_folder(options.folder) as draft:
            model.save_pretrained(str(draft))
    except OSError as error:
        raise CheckpointError(f"{options.folder} can't be written: {error.strerror or error}") from error
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{options.folder}: {count:,} parameters, {model.sample_rate} Hz, {model.latent_dim} latents at "
        f"{model.frame_rate:.2f} Hz, {'a' if model.transformers is not None else 'no'} transformer"
    )


if __name__ == "__main__":
    run_command(main)
