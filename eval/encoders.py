"""The encoders behind `eval.embeddings` other than CLAP: EnCodec, MERT, ChinMu and the corpus's own.

Conventions: as `eval.embeddings`. A class takes the path of its weights and a device, and raises
CheckpointError when they don't fit; nothing is fetched and no code of a model folder is run.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.audio import Audio
from common.errors import CheckpointError, RequestError
from eval import descriptors
from eval.embeddings import batches, covering, digest_of, mono
from eval.hearing import RATE
from eval.probes import Probes

logger = logging.getLogger(__name__)


def no_text(name: str) -> RequestError:
    """What an encoder without a text tower raises."""
    return RequestError(f"{name} hears audio but reads no text: use laion-clap or chinmu")


def tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a transformers folder: safetensors, or a .bin read as plain tensors."""
    try:
        if (path / "model.safetensors").is_file():
            from safetensors.torch import load_file

            return load_file(path / "model.safetensors")
        return torch.load(path / "pytorch_model.bin", map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise CheckpointError(f"no weights can be read from {path}: {error}") from error


def settings_of(path: Path) -> dict[str, Any]:
    """config.json of a transformers folder."""
    try:
        return json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no model folder: its config.json can't be read: {error}") from error


def capped(samples: np.ndarray, rate: int, minutes: float, name: str) -> np.ndarray:
    """The beginning of a song that is longer than an encoder's convention takes; a warning says so."""
    limit = round(60 * minutes * rate)
    if len(samples) > limit:
        logger.warning("%s hears the first %g of %.1f minutes", name, minutes, len(samples) / rate / 60)
    return samples[:limit]


class Encodec:
    """EnCodec's latents before quantisation (Défossez 2022)."""

    name, sample_rate, dimensions, contrastive = "encodec", 24000, 128, False
    convention = "24 kHz mono, frames at 75 Hz of at most 3 minutes, before quantisation"

    def __init__(self, path: Path, device: str) -> None:
        from transformers import EncodecModel

        try:
            self.model = EncodecModel.from_pretrained(path).eval().to(device)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"EnCodec can't be loaded from {path}: {error}") from error
        if self.model.config.sampling_rate != self.sample_rate or self.model.config.audio_channels != 1:
            raise CheckpointError(f"{path} is not the 24 kHz mono EnCodec that the metric is defined by")
        self.dimensions = self.model.config.hidden_size
        self.device, self.digest = device, digest_of(path, self.convention)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (frames, D)."""
        samples = capped(mono(audio, self.sample_rate), self.sample_rate, 3, self.name)
        wav = torch.from_numpy(samples)[None, None].to(self.device)
        return self.model.encoder(wav)[0].T.float().cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        raise no_text(self.name)


class Mert:
    """MERT-v1-95M, layer 12, as transformers' own HuBERT: none of the folder's code is run (Li 2023)."""

    name, sample_rate, dimensions, contrastive = "mert", 24000, 768, False
    convention = "24 kHz mono, layer 12, frames at 75 Hz of at most 6 minutes, standardised as a whole"

    def __init__(self, path: Path, device: str) -> None:
        from transformers import HubertConfig, HubertModel

        settings = settings_of(path)
        _refuse_unlike_hubert(settings, path)
        wanted = HubertConfig().to_dict().keys()
        plain = {
            k: v for k, v in settings.items() if k in wanted and k not in ("model_type", "architectures")
        }
        self.model = HubertModel(HubertConfig(**plain))
        weights = _renamed(tensors(path))
        missing, _ = self.model.load_state_dict(weights, strict=False)
        if missing:
            raise CheckpointError(f"{path} lacks {len(missing)} of MERT's weights, such as {missing[0]}")
        self.model.eval().to(device)
        self.dimensions = self.model.config.hidden_size
        self.layer = min(12, self.model.config.num_hidden_layers)
        self.device, self.digest = device, digest_of(path, self.convention)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (frames, D)."""
        samples = capped(mono(audio, self.sample_rate), self.sample_rate, 6, self.name).astype(np.float64)
        # As Wav2Vec2FeatureExtractor does it with do_normalize.
        standard = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        wav = torch.from_numpy(standard.astype(np.float32))[None].to(self.device)
        states = self.model(wav, output_hidden_states=True).hidden_states
        return states[self.layer][0].float().cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        raise no_text(self.name)


def _refuse_unlike_hubert(settings: dict[str, Any], path: Path) -> None:
    """MERT's options that HuBERT lacks must be off, or the same weights would compute something else."""
    asked = {name: bool(settings.get(name)) for name in ("feature_extractor_cqt", "deepnorm")}
    asked["attention_relax"] = float(settings.get("attention_relax") or -1.0) > 0
    used = [name for name, on in asked.items() if on]
    if used:
        raise CheckpointError(
            f"{path} uses {', '.join(used)}, which HuBERT doesn't have: use MERT-v1-95M, which doesn't"
        )


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """MERT's names as HubertModel has them today: a prefix less, and weight norm as a parametrisation."""
    out = {}
    for name, value in weights.items():
        plain = name.removeprefix("hubert.").removeprefix("model.")
        plain = plain.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        out[plain.replace("conv.weight_v", "conv.parametrizations.weight.original1")] = value
    return out


class ChinMuEncoder:
    """ChinMu's audio and text vectors (Wang 2025, section 3.1.1)."""

    name, sample_rate, dimensions, contrastive = "chinmu", 44100, 512, True
    convention = "44.1 kHz mono, windows of 10 s every 5 s, unit vectors"

    def __init__(self, path: Path, device: str) -> None:
        from chinmu.model import ChinMu

        self.model = ChinMu.from_pretrained(path).to(device)  # type: ignore[arg-type]
        self.dimensions, self.sample_rate = self.model.config.dim, self.model.audio_config.sample_rate
        self.device, self.digest = device, digest_of(path, self.convention)

    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (windows, D)."""
        samples = mono(audio, self.sample_rate)
        # A last window of another length than the others goes alone.
        windows = covering(samples, 10 * self.sample_rate, 5 * self.sample_rate)
        rows = [
            self.model.embed_audio(torch.from_numpy(batch).to(self.device), self.sample_rate)
            for batch in batches(windows, 16)
        ]
        return torch.cat(rows).cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (texts, D)."""
        return self.model.embed_text(list(texts)).cpu().numpy()


class Corpus:
    """The hidden layer of the network that judges genre, singer and pace, trained on the corpus.

    It knows what tells songs apart, and was trained to hear past small faults of sound: a distance
    by it says little about noise, and much about whether songs are songs of the corpus's kinds.
    """

    name, sample_rate, dimensions, contrastive = "corpus", RATE, 192, True
    convention = "22.05 kHz mono, windows of 8 s every 4 s, hidden layer of the corpus's probes"

    def __init__(self, path: Path, device: str) -> None:
        self.network = Probes.load(path).network.eval()
        self.dimensions = next(iter(self.network.heads.values())).in_features  # type: ignore[assignment]
        self.digest = digest_of(path, self.convention)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (windows, D)."""
        samples = mono(audio, RATE)
        vectors = np.stack([descriptors.describe(w) for w in covering(samples, 8 * RATE, 4 * RATE)])
        return self.network.features(torch.from_numpy(vectors)).numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        raise no_text(self.name)
