"""What is sung in a song: its phones, moment by moment, and from them a vector of its words.

A song's theme is in its words and not in its sound. `Words` is a small recogniser of initials and
finals, taught by the times at which a corpus knows them to be sung; of each Mandarin syllable it then
says how likely it is sung somewhere, and these likelihoods make the vector. Detectors of words that were
learned instead, convolutions over the phones, heard no theme after as long a training (docs/LOG.md).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chinmu.config import AudioConfig
from common.phones import BLANK, SPELLINGS, TOKENS
from common.timedelay import Block
from corpus.record import SongRecord
from corpus.sung import UNKNOWN, frame_labels, sung_lines

STRIDE = 2  # frames of features to one of phones: 21.5 Hz at the demo's hop
_STEPS = (1, 2, 4, 1, 2, 4)  # frames between the three that each block of the recogniser sees
_LEAD = 3  # frames before a final in which its initial is looked for: 0.14 s


_SPELLED = (
    [tokens[0] if len(tokens) == 2 else BLANK for tokens in SPELLINGS.values()],
    [tokens[-1] for tokens in SPELLINGS.values()],
)
_INITIALS = sorted({token for token in _SPELLED[0] if token != BLANK})


class Words(nn.Module):
    """Log-mel windows (W, bands, frames) → what each phone's logits are, and a vector of the words."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(bands, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, stride=STRIDE, padding=2)
        self.blocks = nn.ModuleList(Block(width, 2 * width, step) for step in _STEPS)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(TOKENS))
        self.outward = nn.Linear(len(SPELLINGS), 2 * width)
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
        found = syllables(logits.float().softmax(-1)).amax(1)
        return logits, self.out_norm(self.outward(found.to(logits.dtype)))


def syllables(phones: Tensor) -> Tensor:
    """How likely each syllable's final begins, or goes on, at each moment behind its initial.

    Args:
        phones: (W, T, len(TOKENS)) probabilities.
    Returns:
        (W, T, len(SPELLINGS)), in the order of `common.phones.SPELLINGS`. A syllable without an initial
        begins where its final didn't sound just before, nor any initial.
    """
    initials, finals = (torch.tensor(part, device=phones.device) for part in _SPELLED)
    shifted = [F.pad(phones, (0, 0, k, 0))[:, : phones.shape[1]] for k in range(1, _LEAD + 1)]
    before = torch.stack(shifted).amax(0)
    behind = before[..., initials]
    anew = (1 - before[..., _INITIALS].amax(-1, keepdim=True)) * (1 - before[..., finals])
    return phones[..., finals] * torch.where(initials == BLANK, anew, behind)


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
