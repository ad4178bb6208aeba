"""LAION-CLAP and MS-CLAP 2023 without their packages: both are transformers' HTSAT with other names.

The packages pin an old numpy and import torchvision or torchaudio. Their official checkpoints are
read as plain tensors and renamed instead (`chinmu.clap`); query, key and value, which
they keep in one matrix, are split. A transformers folder (laion/larger_clap_general) loads as it is.

Conventions: as `eval.embeddings`. LAION-CLAP's vectors have unit length; MS-CLAP's are left as they
are, as fadtk has them.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chinmu.clap import (
    audio_settings,
    checkpoint,
    fill,
    htsat_names,
    laion_names,
    official_file,
    text_settings,
)
from common.audio import Audio
from common.errors import CheckpointError
from eval.embeddings import batches, digest_of, every, mono
from eval.encoders import no_text

logger = logging.getLogger(__name__)

_AT_ONCE = 8  # windows through the network


class LaionClap:
    """LAION-CLAP (Wu 2023): both towers, unit vectors."""

    name, sample_rate, dimensions, contrastive = "laion-clap", 48000, 512, True
    convention = "48 kHz mono, windows of 10 s every 1 s, zero-padded, unit vectors"

    def __init__(self, path: Path, device: str) -> None:
        official = official_file(path, ".pt")
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
        if not self.model.config.audio_config.enable_fusion:  # type: ignore[union-attr]
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
        placed = {k: v.to(self.device) for k, v in inputs.items()}
        return _unit(self.model.get_audio_features(**placed).pooler_output)

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

        official = official_file(path, ".pth")
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
