"""The network: log-mel frames → at 25 Hz, how likely each initial, each final and silence are.

Two strided convolutions, then residual blocks, each of which sees three frames, further apart from
block to block (a time-delay network). A frame is heard with `REACH` seconds on both sides and nothing
more, so a song that is heard in pieces with that margin gives the same answer as the whole.

A folder of a trained recogniser has config.json (sizes, what it learned from, its own error rates on
held-out songs) and model.safetensors.

Source: Waibel et al. 1989 (time-delay networks); residual blocks and layer norm as is usual today.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.errors import CheckpointError, ConfigError
from common.phones import TOKENS
from common.timedelay import Block
from eval.syllables import features

STRIDE = 4  # mel frames of an output frame
FRAME_RATE = features.RATE / features.HOP / STRIDE  # 25 Hz; frame k is centred on k / 25 s
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class ModelConfig:
    """Sizes."""

    width: int = 128
    hidden: int = 224  # of each block
    steps: tuple[int, ...] = (1, 2, 4, 1, 2, 4)  # frames between the three that each block sees

    def __post_init__(self) -> None:
        if min(self.width, self.hidden, *self.steps) < 1:
            raise ConfigError(f"width, hidden and steps are positive, but got {self}")

    @property
    def reach(self) -> int:
        """Output frames on both sides that a frame depends on."""
        # The strided convolutions reach 2 + 2 · 2 mel frames, the window of a mel frame 3 more.
        return sum(self.steps) + 3


class Network(nn.Module):
    """Log-mel (B, BANDS, M) → log-probabilities (B, ceil(M / 4), len(TOKENS))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.first = nn.Conv1d(features.BANDS, width, 5, stride=2, padding=2)
        self.second = nn.Conv1d(width, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(Block(width, config.hidden, step) for step in config.steps)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(TOKENS))

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Args: lengths: (B,) mel frames that are sound; the rest is padding and changes nothing."""
        mel = mel * _until(lengths, mel.shape[-1])[:, None]
        x = F.gelu(self.first(mel))
        x = F.gelu(self.second(x * _until((lengths + 1) // 2, x.shape[-1])[:, None])).transpose(1, 2)
        mask = _until(frames(lengths), x.shape[1])[..., None]
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x)).float().log_softmax(-1)

    @torch.inference_mode()
    def listen(self, samples: np.ndarray) -> Tensor:
        """Log-probabilities (frames, tokens) of a piece of mono samples at 16 kHz, heard at once."""
        mel, device = features.log_mel(samples), self.head.weight.device
        lengths = torch.tensor([mel.shape[1]], device=device)
        return self.eval()(mel[None].to(device), lengths)[0].cpu()


def _until(lengths: Tensor, size: int) -> Tensor:
    """(B, size) 1 before each length, 0 after."""
    return (torch.arange(size, device=lengths.device) < lengths[:, None]).float()


def frames(mel_frames: Any) -> Any:
    """Output frames of so many mel frames: a quarter, rounded up."""
    return (mel_frames + STRIDE - 1) // STRIDE


# ---- folders ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What is kept beside the weights."""

    model: ModelConfig = field(default_factory=ModelConfig)
    learned_from: str = ""
    accuracy: dict[str, Any] = field(default_factory=dict)  # of `eval.lyrics`, on held-out songs


def save(network: Network, folder: Path, about: About) -> None:
    """Write config.json and model.safetensors, the weights in half precision, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"tokens": list(TOKENS), **asdict(about)}
    weights = {k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()}
    part = folder / f"{WEIGHTS}.part"
    save_file(weights, part)
    part.replace(folder / WEIGHTS)
    write_about(folder, kept)


def write_about(folder: Path, kept: dict[str, Any]) -> None:
    part = folder / f"{CONFIG}.part"
    part.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / CONFIG)


def load(folder: str | Path) -> tuple[Network, About]:
    """Read what `save` wrote, in float32.

    Raises:
        CheckpointError: the folder has no such model, or one of other tokens; it is named.
    """
    folder = Path(folder)
    try:
        kept = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if kept["tokens"] != list(TOKENS):
            raise ValueError("its tokens are others than this version's")
        network = Network(ModelConfig(**kept["model"] | {"steps": tuple(kept["model"]["steps"])}))
        network.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
        about = About(network.config, kept["learned_from"], kept["accuracy"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"no syllable recogniser can be read from {folder}: {error}") from error
    return network.eval(), about
