"""Heads that predict an opinion from embeddings, as the paper has them and stronger.

`paper` (Liu 2025; the authors' baseline): CLAP's audio vector through 512 → 256 → 64 → 1 for the musical
impression, audio and text together through 1024 → 256 → 64 → 1 for the textual alignment. The paper
speaks of a 3-layer MLP; its code has no activation between the layers, so that they are one linear map,
and so have these. Differs: CLAP itself is not trained further.

`strong`: rows are standardised, weighed by attention and summed; text meets audio as product and cosine;
a head gives shares of twenty grades from 1 to 5, whose mean is the score (ordinal targets, as the better
systems of the AudioMOS challenge have them).

A predictor folder has config.json (heads, encoders, what it was trained on) and model.safetensors.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.errors import CheckpointError, RequestError
from eval.mos.features import Heard

LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a predictor and what it hears by."""

    mode: Literal["paper", "strong"]
    impression: int  # width of a row
    alignment: int
    text: int  # width of the text vector; 0 without text
    hears: str = "laion-clap"  # encoder of impression
    reads: str = "laion-clap"  # encoder of alignment and words
    learned_from: str = ""  # in words: people's ratings, or planted faults
    width: int = 128  # of the strong heads
    grades: int = 20
    dropout: float = 0.3


@dataclass(frozen=True)
class Batch:
    """Utterances padded to the longest: rows (B, W, D), masks (B, W), text (B, T)."""

    impression: Tensor
    impression_mask: Tensor
    alignment: Tensor
    alignment_mask: Tensor
    text: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def collate(heard: Sequence[Heard], text: int) -> Batch:
    """Pad utterances; a missing text is zeros."""

    def padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, rows))
        out = torch.zeros(len(rows), longest, rows[0].shape[1])
        mask = torch.zeros(len(rows), longest, dtype=torch.bool)
        for place, row in enumerate(rows):
            out[place, : len(row)] = torch.from_numpy(row)
            mask[place, : len(row)] = True
        return out, mask

    words = torch.zeros(len(heard), text)
    for place, h in enumerate(heard):
        if h.text is not None and text:
            words[place] = torch.from_numpy(h.text)
    return Batch(*padded([h.impression for h in heard]), *padded([h.alignment for h in heard]), words)


def _mean(rows: Tensor, mask: Tensor) -> Tensor:
    return (rows * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class PaperHeads(nn.Module):
    """Three linear layers each; see the module's docstring."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

        def head(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(inputs, 256), nn.Linear(256, 64), nn.Linear(64, 1))

        self.impression = head(config.impression)
        self.alignment = head(config.alignment + config.text)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Impression and alignment, (B,) each."""
        heard = _mean(batch.alignment, batch.alignment_mask)
        overall = self.impression(_mean(batch.impression, batch.impression_mask))
        textual = self.alignment(torch.cat([heard, batch.text], dim=1))
        return overall[:, 0], textual[:, 0]

    def loss(self, batch: Batch, impression: Tensor, alignment: Tensor) -> Tensor:
        """The sum of both mean absolute errors."""
        overall, textual = self(batch)
        return (overall - impression).abs().mean() + (textual - alignment).abs().mean()


class Standard(nn.Module):
    """Rows less the mean and over the deviation of the training rows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def measure(self, rows: Tensor) -> None:
        """Take the statistics of rows (N, width)."""
        self.mean.copy_(rows.mean(0))
        self.std.copy_(rows.std(0, correction=0).clamp_min(1e-4))

    def forward(self, rows: Tensor) -> Tensor:
        return ((rows - self.mean) / self.std).clamp(-6, 6)


class Pool(nn.Module):
    """A hidden layer on each row, and their sum weighed by attention."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Dropout(dropout / 3), nn.Linear(inputs, width), nn.GELU(), nn.Dropout(dropout)
        )
        self.weight = nn.Linear(width, 1)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        hidden = self.hidden(rows)
        weights = self.weight(hidden)[..., 0].masked_fill(~mask, float("-inf")).softmax(1)
        return (hidden * weights[..., None]).sum(1)


class StrongHeads(nn.Module):
    """Attention over windows and shares of grades; see the module's docstring."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grades: Tensor
        self.register_buffer("grades", torch.linspace(LOWEST, HIGHEST, config.grades))
        self.heard, self.told = Standard(config.impression), Standard(config.alignment)
        self.words = Standard(config.text) if config.text else None
        self.pool = Pool(config.impression, config.width, config.dropout)
        self.overall = nn.Linear(config.width, config.grades)
        self.shared = config.text == config.alignment
        width = config.alignment + config.text + (config.text + 1 if self.shared else 0)
        self.textual = nn.Sequential(
            nn.Linear(width, config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, config.grades),
        )

    def measure(self, batch: Batch) -> None:
        """Take the statistics of the training rows, before the first step."""
        self.heard.measure(batch.impression[batch.impression_mask])
        self.told.measure(_mean(batch.alignment, batch.alignment_mask))
        if self.words is not None:
            self.words.measure(batch.text)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of grades, (B, grades) each."""
        overall = self.overall(self.pool(self.heard(batch.impression), batch.impression_mask))
        song = _mean(batch.alignment, batch.alignment_mask)
        parts = [self.told(song)]
        if self.words is not None:
            parts.append(self.words(batch.text))
        if self.shared:
            near = nn.functional.cosine_similarity(song, batch.text, dim=1)
            # The cosine alone says most where both are of one space: scaled so that it is heard.
            parts += [
                self.told(song) * self.words(batch.text) / 3 if self.words else song,
                10 * near[:, None],
            ]
        return overall, self.textual(torch.cat(parts, dim=1))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Impression and alignment, (B,) each."""
        overall, textual = (logits.softmax(1) @ self.grades for logits in self.logits(batch))
        return overall, textual

    def loss(self, batch: Batch, impression: Tensor, alignment: Tensor) -> Tensor:
        """Cross-entropy with grades blurred around the rating, and the absolute error of the mean."""
        total = impression.new_zeros(())
        for logits, wanted in zip(self.logits(batch), (impression, alignment)):
            target = torch.exp(-0.5 * ((self.grades - wanted[:, None]) / 0.35) ** 2)
            target = target / target.sum(1, keepdim=True)
            total = total - (target * logits.log_softmax(1)).sum(1).mean()
            total = total + (logits.softmax(1) @ self.grades - wanted).abs().mean()
        return total


Heads = PaperHeads | StrongHeads


def build(config: ModelConfig) -> Heads:
    """Random heads."""
    return PaperHeads(config) if config.mode == "paper" else StrongHeads(config)


@dataclass(frozen=True)
class Predictor:
    """Trained heads with what they hear by and how well they did."""

    heads: Heads
    config: ModelConfig
    scores: dict[str, Any]  # on held-out utterances: target → metric → value, low, high, count

    @torch.inference_mode()
    def predict(self, heard: Sequence[Heard], batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Impression and alignment of utterances, (N,) each; alignment is NaN without words.

        Raises:
            RequestError: rows of another width, from another encoder.
        """
        overall, textual = [], []
        for start in range(0, len(heard), batch_size):
            part = heard[start : start + batch_size]
            widths = {(h.impression.shape[1], h.alignment.shape[1]) for h in part}
            if widths != {(self.config.impression, self.config.alignment)}:
                raise RequestError(
                    f"it hears rows of {self.config.impression} and {self.config.alignment} values "
                    f"({self.config.hears}, {self.config.reads}), but got {sorted(widths)}"
                )
            first, second = self.heads.eval()(collate(part, self.config.text))
            overall.append(first.numpy())
            silent = np.array([h.text is None for h in part])
            textual.append(np.where(silent, np.nan, second.numpy()))
        return np.concatenate(overall), np.concatenate(textual)

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.contiguous() for k, v in self.heads.state_dict().items()}, folder / "model.safetensors"
        )
        kept = {"model": asdict(self.config), "scores": self.scores}
        (folder / "config.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Predictor":
        """Read what `save` wrote. Raises CheckpointError naming the folder."""
        folder = Path(folder)
        try:
            kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            config = ModelConfig(**kept["model"])
            heads = build(config)
            heads.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"no predictor can be read from {folder}: {error}") from error
        return cls(heads.eval(), config, kept["scores"])
