"""What is sung in a song: its phones, moment by moment, and from them a vector of its words.

A song's theme is in its words and not in its sound. `Words` is a small recogniser of initials and
finals, taught by the times at which a corpus knows them to be sung, and behind it detectors of what
is spelled by them: a syllable, a word, a few words, each counted where it fits best.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chinmu.config import AudioConfig
from common.phones import BLANK, TOKENS
from common.timedelay import Block
from corpus.record import SongRecord
from corpus.sung import UNKNOWN, frame_labels, sung_lines

STRIDE = 2  # frames of features to one of phones: 21.5 Hz at the demo's hop
_STEPS = (1, 2, 4, 1, 2, 4)  # frames between the three that each block of the recogniser sees
_SPANS = (1, 2, 4)  # frames between the five that each detector sees: 0.2 s, then 0.6 s, then 1.3 s


class Words(nn.Module):
    """Log-mel windows (W, bands, frames) → what each phone's logits are, and a vector of the words."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(bands, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, stride=STRIDE, padding=2)
        self.blocks = nn.ModuleList(Block(width, 2 * width, step) for step in _STEPS)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(TOKENS))
        inputs = [len(TOKENS) - 1, *[2 * width] * (len(_SPANS) - 1)]
        self.detectors = nn.ModuleList(
            nn.Conv1d(size, 2 * width, 5, dilation=span, padding=2 * span)
            for size, span in zip(inputs, _SPANS, strict=True)
        )
        self.outward = nn.Linear(2 * width * len(_SPANS), 2 * width)
        self.out_norm = nn.LayerNorm(2 * width)
        self.out_features = 2 * width

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (W, ceil(frames / 2), len(TOKENS)) and the vectors (W, out_features)."""
        # What a band is like all the time is the recording's, not the singer's (cepstral mean normalisation).
        x = F.gelu(self.first(mel - mel.mean(-1, keepdim=True)))
        x = F.gelu(self.second(x)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        spelled = logits.float().softmax(-1)[..., BLANK + 1 :].to(logits.dtype).transpose(1, 2)
        found = []
        for detector in self.detectors:
            spelled = F.gelu(detector(spelled))
            found.append(spelled.amax(-1))
        return logits, self.out_norm(self.outward(torch.cat(found, dim=1)))


def phones(record: SongRecord, config: AudioConfig, count: int) -> np.ndarray:
    """(count,) the phone of each frame of a song's features, an index into TOKENS.

    UNKNOWN where it isn't known what is sung, and everywhere in a song that is sung at times unknown.
    """
    if not record.timing and record.singer != "none":
        return np.full(count, UNKNOWN, dtype=np.int64)
    rate = config.sample_rate / config.hop_length
    return frame_labels(sung_lines(record), rate, 0.0, count)


def spelling(logits: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far a recogniser is from the phones that are known.

    Args:
        logits: (W, T, len(TOKENS)).
        known: (W, T) labels, or UNKNOWN.
    Returns:
        The summed cross-entropy, the frames that are known, and of those with a phone how many are right.
    """
    flat, wanted = logits.flatten(0, 1).float(), known.flatten()
    error = F.cross_entropy(flat, wanted, ignore_index=UNKNOWN, reduction="sum")
    sung = wanted > BLANK
    right = (flat.argmax(-1) == wanted) & sung
    return error, (wanted != UNKNOWN).sum(), torch.stack([right.sum(), sung.sum()])
