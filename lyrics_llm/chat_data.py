"""What a Qwen3 is tuned on: songs of the corpus and of MuChin as questions and answers.

A song gives words to write (for a description, a theme found in them, a structure with MuChin's
marks), a plan and a lead sheet (corpus songs only), or its themes. A batch is a pure function of
(seed, step, process).
"""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from common.errors import ConfigError
from common.lyrics import Lyrics
from common.pinyin import units
from common.seeds import derive_seed, generator
from corpus import muchin
from corpus.record import SongRecord, Split
from corpus.synth import Sheet, sheet
from lyrics_llm import chat
from lyrics_llm import tokens as t
from lyrics_llm.chat_config import ChatConfig
from lyrics_llm.data import IGNORED, says
from lyrics_llm.pieces import lyrics_text
from lyrics_llm.sequence import plan_tokens, score_tokens
from lyrics_llm.sketch import SongSketch
from lyrics_llm.structure import FREE, LineForm, Structure
from lyrics_llm.themes import themes

logger = logging.getLogger(__name__)

_ATTEMPTS = 20  # at an example that isn't too long
_MOST_SAID = 6  # fragments of MuChin in a description

Example = tuple[list[chat.Message], str]


class Examples:
    """Item n is the n-th batch: (ids (B, T), labels (B, T)), padded at the end."""

    def __init__(
        self,
        config: ChatConfig,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        process: int = 0,
        split: Split = "train",
    ) -> None:
        self.config, self.tokenizer, self.seed = config, tokenizer, seed
        self.process, self.split = process, split

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        rows = [self._row(number * self.config.songs + i) for i in range(self.config.songs)]
        width = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(rows), width), pad)
        labels = torch.full((len(rows), width), IGNORED)
        for index, (row, begin) in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            labels[index, begin : len(row)] = torch.tensor(row[begin:])
        return ids, labels

    def _row(self, index: int) -> tuple[list[int], int]:
        """Ids of an example, and where its answer begins."""
        for attempt in range(_ATTEMPTS):
            messages, answer = self.example(index, attempt)
            prompt = chat.prompt_ids(self.tokenizer, messages)
            said = self.tokenizer.encode(answer + chat.END_OF_TURN, add_special_tokens=False)
            if len(prompt) + len(said) <= self.config.longest:
                return [*prompt, *said], len(prompt)
        raise ConfigError(
            f"{_ATTEMPTS} songs in a row have more than {self.config.longest} tokens: "
            "raise chat.longest, or ask for shorter songs with chat.seconds"
        )

    def example(self, index: int, attempt: int = 0) -> Example:
        """A question and its answer."""
        place = (self.split, self.process, index, attempt)
        rng = generator(self.seed, "chat example", *place)
        if self.records and rng.random() < self.config.muchin_share:
            record, marks = self.records[int(rng.integers(len(self.records)))]
            return _of_muchin(record, marks, rng, self.config.lyrics_share)
        seed = derive_seed(self.seed, "chat song", *place)
        written = sheet(seed, self.split, durations=self.config.seconds)
        return _of_corpus(written, says(written, rng), rng, self.config.lyrics_share)

    @cached_property
    def records(self) -> list[tuple[SongRecord, Structure]]:
        """The songs of MuChin in this split that have words and descriptions, with their structures."""
        if self.config.muchin is None:
            return []
        folder = Path(self.config.muchin)
        places = {f"muchin-{path.parent.name}": path.parent for path in folder.rglob("str_rhyme")}
        found = [
            (r, marked_structure(r.lyrics, muchin.rhyme_marks(places[r.id])))
            for r in muchin.read(folder)
            if r.split == self.split and r.lyrics and r.lyrics.lines and r.descriptions and r.id in places
        ]
        logger.info("%d songs of MuChin in the split %s", len(found), self.split)
        return found


def marked_structure(lyrics: Lyrics, marks: tuple[tuple[bool, ...], ...]) -> Structure:
    """The structure of written words with an annotator's rhyme marks."""
    return Structure(
        tuple(
            (section.tag, tuple(_form(line, rhymed) for line, rhymed in zip(section.lines, row)))
            for section, row in zip(lyrics.sections, marks)
        )
    )


def _form(line: str, rhymed: bool) -> LineForm:
    return LineForm(min(t.LONGEST_LINE, max(1, len(units(line)))), "A" if rhymed else FREE)


def _of_muchin(
    record: SongRecord, structure: Structure, rng: np.random.Generator, lyrics_share: float
) -> Example:
    assert record.lyrics is not None, "records without words are left out"
    if rng.random() >= lyrics_share and (found := themes(record.lyrics).texts):
        return chat.theme_messages(record.lyrics), "、".join(found)
    audience = [d.text for d in record.descriptions]
    count = min(len(audience), int(rng.integers(1, _MOST_SAID + 1)))
    said = "，".join(audience[int(i)] for i in rng.choice(len(audience), count, replace=False))
    return _words(said, structure, record.lyrics, None, rng)


def _of_corpus(written: Sheet, said: str, rng: np.random.Generator, lyrics_share: float) -> Example:
    draw, lyrics = rng.random(), written.lyrics
    if lyrics.lines and draw < lyrics_share:
        return _words(said, Structure.of(lyrics), lyrics, written.plan.theme, rng)
    sketch = SongSketch.of_plan(written.plan)
    task = int(rng.integers(3))
    if task == 0 and lyrics.lines and (found := themes(lyrics).texts):
        return chat.theme_messages(lyrics), "、".join(found)
    if task == 1:
        rows, messages = score_tokens(written.score, sketch), chat.score_messages(said, sketch, lyrics)
    else:
        rows, messages = plan_tokens(sketch), chat.plan_messages(said)
    return messages, "".join(map(chat.spelling, rows))


def _words(
    said: str, structure: Structure, lyrics: Lyrics, theme: str | None, rng: np.random.Generator
) -> Example:
    """Words for a description; their theme is told in half of the examples."""
    found = [theme] if theme else list(themes(lyrics).texts)
    told = "、".join(found) if found and rng.random() < 0.5 else None
    return chat.lyrics_messages(said, structure, told), lyrics_text(lyrics)
