"""Batches of songs as token rows, composed on the fly from seeds.

A batch is a pure function of (seed, step, process), so a resumed run reads what an unbroken one
would have read.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from common.description import normalise
from common.seeds import derive_seed, generator
from corpus.record import Split
from corpus.synth import Sheet, sheet
from lyrics_llm import tokens as t
from lyrics_llm.config import DataConfig
from lyrics_llm.sequence import lyrics_tokens, plan_tokens, prompt_tokens, score_tokens
from lyrics_llm.sketch import SongSketch
from lyrics_llm.tokens import Vocabulary

Rows = list[tuple[list[int], list[bool]]]  # ids, and which of them are learned
Padded = tuple[Tensor, Tensor]  # ids (B, T), labels (B, T), padded at the end

IGNORED = -100  # a label that isn't learned
_MOST_DESCRIPTION = 160  # characters


def says(written: Sheet, rng: np.random.Generator) -> str:
    """A description of the song: a user's whole sentence, or some of what was said of it."""
    prompts = [text for texts in written.prompts.values() for text in texts]
    if prompts and rng.random() < 0.75:
        return prompts[int(rng.integers(len(prompts)))]
    said = [d.text for d in written.descriptions if d.text not in prompts]
    chosen = rng.choice(len(said), size=min(len(said), int(rng.integers(1, 6))), replace=False)
    return "，".join(said[int(i)] for i in chosen)


def song_row(
    vocabulary: Vocabulary, written: Sheet, description: str, scored: bool = True
) -> tuple[list[int], list[bool]]:
    """A song's ids, and which of them are learned: what a grammar leaves to choose.

    Without its score (`scored`) the row ends behind the words, which costs a third of the tokens.
    """
    sketch = SongSketch.of_plan(written.plan)
    prompt = prompt_tokens(vocabulary, normalise(description)[:_MOST_DESCRIPTION])
    plan = plan_tokens(sketch)
    words = lyrics_tokens(vocabulary, written.lyrics)
    score = score_tokens(written.score, sketch) if scored else []
    row = [*prompt, *plan, t.LYRICS, *words, t.SCORE, *score]
    learned = [False] * len(prompt) + [True] * len(plan) + [False] + _chosen(words)
    learned += [False] + [not token.startswith(("<section:", "<bars:")) for token in score]
    return vocabulary.encode(row), learned


def told_row(vocabulary: Vocabulary, written: Sheet, description: str) -> tuple[list[int], list[bool]]:
    """A description and the plan alone: a tenth of a song's tokens, and all that tells what it means."""
    prompt = prompt_tokens(vocabulary, normalise(description)[:_MOST_DESCRIPTION])
    plan = plan_tokens(SongSketch.of_plan(written.plan))
    return vocabulary.encode([*prompt, *plan]), [False] * len(prompt) + [True] * len(plan)


def _chosen(words: list[str]) -> list[bool]:
    """Of the words' tokens those that aren't given by the form; a section's first line or its repeat is."""
    firsts = [False] + [token.startswith("<section:") for token in words[:-1]]
    return [not token.startswith(("<section:", "<line:")) or first for token, first in zip(words, firsts)]


class Songs(Dataset):
    """Item n is what step n reads: a padded batch of songs and, with `told`, one of further descriptions."""

    def __init__(
        self, config: DataConfig, vocabulary: Vocabulary, seed: int, process: int = 0, split: Split = "train"
    ) -> None:
        self.config, self.vocabulary, self.seed = config, vocabulary, seed
        self.process, self.split = process, split
        self._drawn = lru_cache(maxsize=2)(self._draw)

    def __getitem__(self, step: int) -> list[Padded]:
        pool, place = divmod(step, self.config.pool)
        songs, told = self._drawn(pool)
        # Which of the pool's batches comes first is drawn, so that short ones aren't always early.
        order = generator(self.seed, "order", self.split, self.process, pool).permutation(self.config.pool)
        rows = [self._padded(songs[int(order[place])])]
        return [*rows, self._padded(told[place])] if self.config.told else rows

    def _draw(self, pool: int) -> tuple[list[Rows], list[Rows]]:
        """A pool of songs, sorted by length and cut into batches of about as many tokens each."""
        count = self.config.songs * self.config.pool
        drawn = [self._song(pool * count + i) for i in range(count)]
        told = [row for _, rows in drawn for row in rows]
        songs = sorted((song for song, _ in drawn), key=lambda song: len(song[0]))
        ends = np.cumsum([len(ids) for ids, _ in songs])
        share = np.minimum(ends * self.config.pool // (ends[-1] + 1), self.config.pool - 1)
        # A single long song may be more than a share: every batch has at least one.
        first = np.searchsorted(share, np.arange(self.config.pool))
        for number in range(1, self.config.pool):
            first[number] = max(first[number], first[number - 1] + 1)
        for number in range(self.config.pool - 1, 0, -1):
            first[number] = min(first[number], count - self.config.pool + number)
        each = len(told) // self.config.pool
        return (
            [songs[a:b] for a, b in zip(first, [*first[1:], count])],
            [told[i * each : (i + 1) * each] for i in range(self.config.pool)],
        )

    def _song(self, index: int) -> tuple[tuple[list[int], list[bool]], Rows]:
        """A song's row, and the short rows of further descriptions of it."""
        seed = derive_seed(self.seed, "lyrics song", self.split, self.process, index)
        written = sheet(seed, self.split, durations=self.config.seconds)
        rng = generator(seed, "says", self.split)
        scored = bool(rng.random() < self.config.scored)
        ids, learned = song_row(self.vocabulary, written, says(written, rng), scored)
        told = [told_row(self.vocabulary, written, says(written, rng)) for _ in range(self.config.told)]
        return (ids[: self.config.longest], learned[: self.config.longest]), told

    def _padded(self, songs: Rows) -> Padded:
        width = max(len(ids) for ids, _ in songs)
        rows = torch.full((len(songs), width), self.vocabulary.ids[t.PAD])
        labels = torch.full((len(songs), width), IGNORED)
        for index, (ids, learned) in enumerate(songs):
            row = torch.tensor(ids)
            rows[index, : len(ids)] = row
            labels[index, : len(ids)] = torch.where(torch.tensor(learned), row, IGNORED)
        return rows, labels


class _From:
    """Steps from the one at which a run begins or resumes."""

    def __init__(self, first: int, stride: int) -> None:
        self.first, self.stride = first, stride

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += self.stride


def batches(songs: Songs, first: int) -> Iterator[list[Padded]]:
    """The batches of steps `first`, `first` + 1, …; composed in worker processes where asked."""
    loader = DataLoader(songs, batch_size=None, sampler=_From(first, 1), num_workers=songs.config.workers)  # type: ignore[arg-type]
    return iter(loader)
