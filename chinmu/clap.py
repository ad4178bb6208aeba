"""CLAP's published weights as transformers has them: key maps, and the audio tower that training starts from.

LAION-CLAP's official checkpoints (music_audioset_epoch_15_esc_90.14.pt and its kin) name HTSAT's layers as
its authors did and keep query, key and value in one matrix; transformers names and splits them otherwise.
They are read as plain tensors, and sizes are read off their shapes. `audio_tower` gives the audio tower of
such a file, or of a transformers folder of ClapModel or ClapAudioModel.
"""

import logging
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from common.errors import CheckpointError

logger = logging.getLogger(__name__)

_FRONT_END = ("spectrogram_extractor", "logmel_extractor", "tscam_conv", "head.", "attn_mask")  # not used
_FUSION = ("audio_encoder.patch_embed.fusion_model.", "audio_encoder.patch_embed.mel_conv2d.")
_IN_BLOCK = (
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
    ("attn.proj.", "attention.output.dense."),
    ("attn.relative_position", "attention.self.relative_position"),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
)


@dataclass(frozen=True)
class AudioTower:
    """A pretrained audio tower: settings of ClapAudioConfig, and the state of its ClapAudioModel."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]


def audio_tower(source: str | Path) -> AudioTower:
    """The audio tower of an official checkpoint, of a folder that holds one, or of a transformers CLAP.

    A tower with feature fusion is taken without it: for audio of one window both are the same function.

    Raises:
        CheckpointError: it can't be read, or holds no whole HTSAT.
    """
    official = official_file(Path(source), ".pt")
    if official is None:
        return _of_transformers(str(source))
    weights = laion_names(checkpoint(official, "state_dict"))
    try:
        settings = audio_settings(weights, "audio_model.audio_encoder.")
    except KeyError as error:
        raise CheckpointError(f"{official} lacks {error}: it isn't a LAION-CLAP checkpoint") from error
    heard = {k.removeprefix("audio_model."): v for k, v in weights.items() if k.startswith("audio_model.")}
    return AudioTower(settings, _without_fusion(heard, official))


def _of_transformers(source: str) -> AudioTower:
    from transformers import AutoConfig, ClapAudioModel, ClapModel

    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind not in ("clap", "clap_audio_model"):
            raise CheckpointError(f"an audio tower comes from a CLAP, but {source} is a {kind!r}")
        kept = ClapModel if kind == "clap" else ClapAudioModel
        loaded: Any = kept.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"the audio tower {source} can't be loaded: {error}") from error
    whole, report = loaded
    lacking = sorted(name for name in report["missing_keys"] if "audio_encoder." in name)
    if lacking:
        raise CheckpointError(
            f"{source} lacks {len(lacking)} tensors of the audio tower, such as {lacking[0]}"
        )
    tower = whole.audio_model if kind == "clap" else whole
    # What differs from transformers' defaults is the shape; where it was saved and how isn't.
    settings = {k: v for k, v in tower.config.to_diff_dict().items() if k not in _NO_SHAPE}
    settings["enable_fusion"] = False
    return AudioTower(settings, _without_fusion(dict(tower.state_dict()), source))


_NO_SHAPE = ("architectures", "dtype", "model_type", "transformers_version", "_name_or_path", "fusion_type")


def _without_fusion(weights: dict[str, Tensor], source: object) -> dict[str, Tensor]:
    kept = {k: v for k, v in weights.items() if not k.startswith(_FUSION)}
    if len(kept) < len(weights):
        logger.info(
            "%s was trained with feature fusion, which a tower that hears windows doesn't use", source
        )
    return kept


# ---- official checkpoints ------------------------------------------------------------------


def official_file(path: Path, suffix: str) -> Path | None:
    """The official checkpoint: the path itself, or the one file of its kind in a folder."""
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{suffix}"))
    return found[0] if len(found) == 1 and not (path / "config.json").is_file() else None


def checkpoint(path: Path, inner: str) -> dict[str, Tensor]:
    """The tensors of an official file, which keeps them under `inner`; nothing in it is run."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_HARMLESS)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"{path} can't be read as a checkpoint of tensors: {error}") from error
    weights = kept.get(inner, kept) if isinstance(kept, dict) else kept
    if not isinstance(weights, dict) or not any(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(f"{path} holds no {inner!r}: it isn't the official checkpoint")
    return {k: v for k, v in weights.items() if isinstance(v, Tensor)}


_MAKERS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
}


class _Inert:
    """Stands for what isn't a tensor, such as the numpy number of an epoch's score; it does nothing."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Unpickler(pickle.Unpickler):
    """Makes tensors and plain containers, whatever the protocol, and runs nothing else that a file names.

    torch's own reader (`weights_only`) refuses the official files: they are of pickle's fourth protocol, and
    numpy's numbers lie beside the tensors.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _MAKERS:
            return super().find_class(module, name)
        if module == "_codecs" or module.split(".")[0] == "numpy":
            return _Inert
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")


def _load(file: BinaryIO, **settings: Any) -> Any:
    return _Unpickler(file, **settings).load()


_HARMLESS = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="pickle")


def laion_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of laion_clap's CLAP under the names of transformers' ClapModel."""
    out: dict[str, Tensor] = {}
    for full, value in weights.items():
        name = full.removeprefix("module.")
        if name.startswith("audio_branch."):
            renamed = htsat_names(name.removeprefix("audio_branch."), value)
            out |= {f"audio_model.audio_encoder.{k}": v for k, v in renamed.items()}
        elif name.startswith("text_branch."):
            out["text_model." + name.removeprefix("text_branch.")] = value
        elif found := re.match(r"(audio|text)_projection\.([02])\.(.*)", name):
            side, layer, rest = found.groups()
            out[f"{side}_projection.linear{1 if layer == '0' else 2}.{rest}"] = value
        elif name in ("logit_scale_a", "logit_scale_t"):
            out[name] = value
    return out


def htsat_names(name: str, value: Tensor) -> dict[str, Tensor]:
    """A tensor of the official HTSAT under transformers' names; nothing for what its encoder doesn't use."""
    if any(part in name for part in _FRONT_END):
        return {}
    if ".attn.qkv." in name:
        kinds = ("query", "key", "value")
        return {name.replace("attn.qkv", f"attention.self.{k}"): v for k, v in zip(kinds, value.chunk(3))}
    name = name.replace("bn0.", "batch_norm.", 1) if name.startswith("bn0.") else name
    if re.match(r"layers\.\d+\.blocks\.", name):
        for old, new in _IN_BLOCK:
            name = name.replace(old, new)
    return {name: value}


def audio_settings(weights: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    """ClapAudioConfig's settings of a renamed tower, read off its shapes: HTSAT comes in several sizes.

    Raises:
        KeyError: a tensor is missing.
    """
    width = weights[f"{prefix}patch_embed.proj.weight"].shape[0]
    depths: list[int] = []
    heads: list[int] = []
    while f"{prefix}layers.{len(depths)}.blocks.0.layernorm_before.weight" in weights:
        stage = f"{prefix}layers.{len(depths)}.blocks."
        names = {n.removeprefix(stage).split(".")[0] for n in weights if n.startswith(stage)}
        heads.append(weights[f"{stage}0.attention.self.relative_position_bias_table"].shape[1])
        depths.append(len(names))
    return {
        "depths": depths,
        "num_attention_heads": heads,
        "num_hidden_layers": len(depths),
        "patch_embeds_hidden_size": width,
        "hidden_size": width * 2 ** (len(depths) - 1),
        "enable_fusion": False,
    }


def text_settings(weights: dict[str, Tensor]) -> dict[str, Any]:
    """ClapTextConfig's settings of a renamed RoBERTa; heads of 64, as all of them have. Raises KeyError."""
    words = weights["text_model.embeddings.word_embeddings.weight"]
    layers = {n.split(".")[3] for n in weights if n.startswith("text_model.encoder.layer.")}
    return {
        "vocab_size": words.shape[0],
        "hidden_size": words.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, words.shape[1] // 64),
        "intermediate_size": weights["text_model.encoder.layer.0.intermediate.dense.weight"].shape[0],
        "max_position_embeddings": weights["text_model.embeddings.position_embeddings.weight"].shape[0],
    }


def fill(model: nn.Module, weights: dict[str, Tensor], source: object) -> None:
    """Load renamed weights: every parameter must come; buffers that are computed may be absent.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    try:
        missing, _ = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise CheckpointError(f"{source} has tensors of another shape: {message}") from error
    lacking = [name for name in missing if name in dict(model.named_parameters())]
    if lacking:
        raise CheckpointError(f"{source} lacks {len(lacking)} tensors, such as {lacking[0]}")
