"""What words mean that no description says: public word vectors as a second teacher of the text tower.

A small text tower that has read nothing but a corpus's descriptions knows a word that they lack by its
characters alone. Vectors of words (word2vec and its kin), learned from a large text, say which words are
used alike; the tower learns to tell them from a word's characters, in the same steps in which it learns
what descriptions say, so that a new word lands beside those it is used like. The vectors serve training
only: nothing of them is in the model.

Source: Mikolov 2013 (word2vec). Pinter 2017 ("Mimicking word embeddings using subword RNNs") reads
vectors off characters likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chinmu.text import canonical
from common.errors import CheckpointError, ConfigError
from common.seeds import generator

LONGEST = 6  # characters: what is longer is rather a phrase


@dataclass(frozen=True)
class WordVectors:
    """Words in canonical form, the most frequent first, and their unit vectors (N, D) about the mean."""

    words: list[str]
    vectors: np.ndarray


def read(path: str | Path, most: int) -> WordVectors:
    """The first `most` Chinese words of a file of word2vec's format, binary or text, gzipped or not.

    Raises:
        CheckpointError: it isn't such a file, or has no Chinese word.
        ConfigError: gensim, which reads it, isn't installed.
    """
    try:
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise ConfigError("gensim reads word vectors: pip install 'baihua[words]'") from error
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file of word vectors {path}")
    found = None
    for binary in (False, True):  # a binary file is no text, but text may pass for binary
        try:
            found = KeyedVectors.load_word2vec_format(str(path), binary=binary, unicode_errors="ignore")
            break
        except (ValueError, EOFError, UnicodeDecodeError, OSError, IndexError):
            continue
    if found is None:
        raise CheckpointError(f"{path} isn't a file of word vectors in word2vec's format")
    rows: dict[str, int] = {}
    for row, word in enumerate(found.index_to_key):
        if 0 < len(word) <= LONGEST and all("\u4e00" <= c <= "\u9fff" for c in word):
            rows.setdefault(canonical(word), row)
        if len(rows) == most:
            break
    vectors = np.asarray(found.vectors[list(rows.values())], dtype=np.float32)
    if not rows or not np.isfinite(vectors).all():
        raise CheckpointError(f"{path} has no Chinese word, or vectors that aren't finite")
    # All vectors of a large text lean the same way, which tells nothing (Mu 2018, "All-but-the-top").
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    vectors -= vectors.mean(0)
    return WordVectors(list(rows), vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9))


class Meanings(nn.Module):
    """Reads a word's vector off what the text tower makes of its characters."""

    def __init__(self, known: WordVectors, width: int) -> None:
        super().__init__()
        self.words = known.words
        self.vectors: Tensor
        self.register_buffer("vectors", torch.from_numpy(known.vectors), persistent=False)
        self.head = nn.Linear(width, known.vectors.shape[1])

    def drawn(self, count: int, seed: int, *key: object) -> tuple[Sequence[str], Tensor]:
        """Some words, which follow from the seed and the key, and the rows of their vectors."""
        size = min(count, len(self.words))
        rows = generator(seed, "meaning", *key).choice(len(self.words), size=size, replace=False)
        return [self.words[row] for row in rows], torch.from_numpy(rows)

    def forward(self, states: Tensor, rows: Tensor) -> Tensor:
        """Mean of 1 − cosine between what is read off states (N, width) and the vectors of rows (N,)."""
        read = self.head(states.float())
        return (1 - F.cosine_similarity(read, self.vectors[rows.to(self.vectors.device)])).mean()
