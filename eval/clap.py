"""LAION-CLAP and MS-CLAP 2023 without their packages: both are transformers' HTSAT with other names.

The packages pin an old numpy and import torchvision or torchaudio. Their official checkpoints are
read as plain tensors and renamed instead (`htsat_names`, `laion_names`); query, key and value, which
they keep in one matrix, are split. A transformers folder (laion/larger_clap_general) loads as it is.

Conventions: as `eval.embeddings`. LAION-CLAP's vectors have unit length; MS-CLAP's are left as they
are, as fadtk has them.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.audio import Audio
from common.errors import CheckpointError
from eval.embeddings import batches, digest_of, every, mono
from eval.encoders import no_text

logger = logging.getLogger(__name__)

_AT_ONCE = 8  # windows through the network
_FRONT_END = ("spectrogram_extractor", "logmel_extractor", "tscam_conv", "head.", "attn_mask")  # not used
_IN_BLOCK = (
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
    ("attn.proj.", "attention.output.dense."),
    ("attn.relative_position", "attention.self.relative_position"),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
)


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


def checkpoint(path: Path, inner: str) -> dict[str, Tensor]:
    """The tensors of an official file, which keeps them under `inner`; nothing in it is run."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"{path} can't be read as a checkpoint of tensors: {error}") from error
    weights = kept.get(inner, kept) if isinstance(kept, dict) else kept
    if not isinstance(weights, dict) or not any(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(f"{path} holds no {inner!r}: it isn't the official checkpoint")
    return {k: v for k, v in weights.items() if isinstance(v, Tensor)}


def _official_file(path: Path, suffix: str) -> Path | None:
    """The official checkpoint: the path itself, or the one file of its kind in a folder."""
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{suffix}"))
    return found[0] if len(found) == 1 and not (path / "config.json").is_file() else None


def fill(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load renamed weights: every parameter must come; buffers that are computed may be absent."""
    try:
        missing, _ = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} has tensors of another shape: {' '.join(str(error).split())}"
        ) from error
    lacking = [name for name in missing if name in dict(model.named_parameters())]
    if lacking:
        raise CheckpointError(f"{path} lacks {len(lacking)} tensors, such as {lacking[0]}")


class LaionClap:
    """LAION-CLAP (Wu 2023): both towers, unit vectors."""

    name, sample_rate, dimensions, contrastive = "laion-clap", 48000, 512, True
    convention = "48 kHz mono, windows of 10 s every 1 s, zero-padded, unit vectors"

    def __init__(self, path: Path, device: str) -> None:
        official = _official_file(path, ".pt")
        if official is None:
            self._from_folder(path)
        else:
            self._from_official(official)
        self.model.eval().to(device)
        self.dimensions = self.model.config.projection_dim
        self.device, self.digest = device, digest_of(path, self.convention)

    def _from_folder(self, path: Path) -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        try:
            self.model = ClapModel.from_pretrained(path)
            self.extractor = ClapFeatureExtractor.from_pretrained(path)
            self.tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"LAION-CLAP can't be loaded from {path}: {error}") from error
        if not self.model.config.audio_config.enable_fusion:
            self.extractor.truncation = "rand_trunc"  # windows are exactly 10 s: nothing is cut at random

    def _from_official(self, path: Path) -> None:
        """music_audioset_epoch_15_esc_90.14.pt and its kin; the tokenizer lies beside it or in the cache."""
        from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel

        weights = laion_names(checkpoint(path, "state_dict"))
        try:
            audio = audio_settings(weights, "audio_model.audio_encoder.")
            projection = weights["audio_projection.linear2.weight"].shape[0]
            config = ClapConfig(
                audio_config=audio, text_config=text_settings(weights), projection_dim=projection
            )
        except KeyError as error:
            raise CheckpointError(f"{path} lacks {error}: it isn't a LAION-CLAP checkpoint") from error
        self.model = ClapModel(config)
        fill(self.model, weights, path)
        # As the official model hears: 50 Hz to 14 kHz (transformers' default of 0 Hz is 2e-3 off).
        self.extractor = ClapFeatureExtractor(
            frequency_min=50, frequency_max=14000, truncation="rand_trunc", padding="pad"
        )
        beside = path.parent if (path.parent / "tokenizer_config.json").is_file() else "roberta-base"
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(beside, local_files_only=True)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path.name} needs a tokenizer: put the tokenizer files of roberta-base into {path.parent}"
            ) from error

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (windows, D)."""
        samples = mono(audio, self.sample_rate)
        windows = every(samples, 10 * self.sample_rate, self.sample_rate)
        return np.concatenate([self._hear(batch) for batch in batches(windows, _AT_ONCE)])

    def _hear(self, batch: np.ndarray) -> np.ndarray:
        inputs = self.extractor(list(batch), sampling_rate=self.sample_rate, return_tensors="pt")
        inputs = {k: v.to(self.device) for k, v in inputs.items()}
        return _unit(self.model.get_audio_features(**inputs).pooler_output)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (texts, D); a text of more than the tower's 77 tokens is cut, with a warning."""
        longest = 77
        lengths = [len(ids) for ids in self.tokenizer(list(texts))["input_ids"]]
        if (over := sum(n > longest for n in lengths)) > 0:
            logger.warning(
                "LAION-CLAP reads the first %d tokens: %d of %d texts are longer", longest, over, len(texts)
            )
        inputs = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        kept = {k: v.to(self.device) for k, v in inputs.items() if k in ("input_ids", "attention_mask")}
        return _unit(self.model.get_text_features(**kept).pooler_output)


class _Projection(nn.Module):
    """MS-CLAP's: a linear layer, a gated second one added to it, and a layer norm (Elizalde 2023)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs, bias=False)
        self.linear2 = nn.Linear(outputs, outputs, bias=False)
        self.layer_norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = self.linear1(x)
        return self.layer_norm(first + self.linear2(nn.functional.gelu(first)))


class MsClap:
    """MS-CLAP 2023's audio tower; its text tower isn't needed for a distance of sounds."""

    name, sample_rate, dimensions, contrastive = "ms-clap", 44100, 1024, True
    convention = "44.1 kHz mono, windows of 7 s every 1 s, zero-padded, not normalised"
    n_fft, hop = 1024, 320

    def __init__(self, path: Path, device: str) -> None:
        from transformers import ClapAudioConfig, ClapAudioModel

        official = _official_file(path, ".pth")
        if official is None:
            raise CheckpointError(
                f"MS-CLAP is read from its official CLAP_weights_2023.pth, which {path} lacks"
            )
        weights = checkpoint(official, "model")
        inner = "audio_encoder.base.htsat."
        tower: dict[str, Tensor] = {}
        for name, value in weights.items():
            if name.startswith(inner):
                renamed = htsat_names(name.removeprefix(inner), value)
                tower |= {f"audio_encoder.{k}": v for k, v in renamed.items()}
        try:
            mel = weights[inner + "logmel_extractor.melW"]
            first = weights["audio_encoder.projection.linear1.weight"]
            settings = audio_settings(tower, "audio_encoder.")
        except KeyError as error:
            raise CheckpointError(f"{official} lacks {error}: it isn't MS-CLAP 2023") from error
        self.tower = ClapAudioModel(ClapAudioConfig(**settings))
        fill(self.tower, tower, official)
        self.projection = _Projection(first.shape[1], first.shape[0])
        outer = "audio_encoder.projection."
        fill(
            self.projection,
            {k.removeprefix(outer): v for k, v in weights.items() if k.startswith(outer)},
            official,
        )
        self.mel, self.dimensions = mel.to(device), first.shape[0]
        self.tower.eval().to(device)
        self.projection.eval().to(device)
        self.device, self.digest = device, digest_of(official, self.convention)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (windows, D)."""
        samples = mono(audio, self.sample_rate)
        windows = every(samples, 7 * self.sample_rate, self.sample_rate)
        return np.concatenate([self._hear(batch) for batch in batches(windows, _AT_ONCE)])

    def _hear(self, batch: np.ndarray) -> np.ndarray:
        wav = torch.from_numpy(batch).to(self.device)
        window = torch.hann_window(self.n_fft, device=self.device)
        spectrum = torch.stft(
            wav, self.n_fft, self.hop, window=window, center=True, pad_mode="reflect", return_complex=True
        )
        power = spectrum.abs().square().transpose(1, 2) @ self.mel
        features = 10 * torch.log10(power.clamp_min(1e-10))[:, None]
        pooled = self.tower(input_features=features).pooler_output
        return self.projection(pooled).float().cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        raise no_text(self.name)


def _unit(vectors: Tensor) -> np.ndarray:
    return nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
