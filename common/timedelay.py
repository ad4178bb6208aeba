"""A residual block that sees three frames: what time-delay networks are made of.

Source: Waibel et al. 1989 (time-delay networks); residual blocks and layer norm as is usual today.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Three frames, `step` apart → hidden → one frame, added to what came in."""

    def __init__(self, width: int, hidden: int, step: int) -> None:
        super().__init__()
        self.step = step
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(3 * width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, D); mask (B, T, 1) is 1 where there is sound, and nothing else is seen."""
        seen = self.norm(x) if mask is None else self.norm(x) * mask
        padded = F.pad(seen, (0, 0, self.step, self.step))
        count = x.shape[1]
        seen = torch.cat([padded[:, i * self.step : i * self.step + count] for i in range(3)], dim=-1)
        return x + self.narrow(F.gelu(self.wide(seen)))
