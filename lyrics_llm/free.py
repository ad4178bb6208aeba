"""The demo's writer without its grammar: what it does by itself, to measure what the grammar adds."""

from collections.abc import Generator

import numpy as np
import torch

from common.lyrics import TAGS, Lyrics, LyricSection
from common.seeds import derive_seed
from lyrics_llm import tokens as t
from lyrics_llm.constrain import Ids
from lyrics_llm.sample import Temper, write
from lyrics_llm.sequence import plan_tokens
from lyrics_llm.writer import Writer

_MOST = 700  # tokens after which it is stopped


def write_freely(writer: Writer, description: str, seed: int, theme: str | None = None) -> Lyrics:
    """Words for a planned song of 30 seconds, any token after any other; what can be read of them.

    A heading begins a section, `<line:n>` a line; `<again>` repeats the last section of its tag.
    Tokens that have no place in words are passed over. Lyrics without any section are an empty verse.
    """
    sketch = writer.plan(description, seed, theme=theme)
    vocabulary = writer.vocabulary
    prompt = writer.prompt(description) + vocabulary.encode([*plan_tokens(sketch), t.LYRICS])
    source = torch.Generator().manual_seed(derive_seed(seed, "writer", "free"))
    everything = np.arange(len(vocabulary))
    names = write(
        writer.model, [prompt], [_anything(everything, {vocabulary.ids[t.SCORE], vocabulary.ids[t.END]})],
        [source], Temper(0.75, 0.08), vocabulary.ids[t.PAD],
    )[1][0]  # fmt: skip
    return _read([vocabulary.names[i] for i in names])


def _anything(everything: Ids, stops: set[int]) -> Generator[Ids, int, None]:
    for _ in range(_MOST):
        if (yield everything) in stops:
            return


def _read(names: list[str]) -> Lyrics:
    sections: list[tuple[str, list[str]]] = []
    for name in names:
        if name.startswith("<section:"):
            sections.append((name[len("<section:") : -1], []))
        elif not sections:
            continue
        elif name.startswith("<line:"):
            sections[-1][1].append("")
        elif name == t.AGAIN:
            earlier = [lines for tag, lines in sections[:-1] if tag == sections[-1][0]]
            sections[-1][1].extend(earlier[-1] if earlier else [])
        elif not name.startswith("<") and sections[-1][1]:
            sections[-1][1][-1] += name
    kept = [(tag, tuple(line.strip() for line in lines if line.strip())) for tag, lines in sections]
    found = tuple(LyricSection(tag, lines) for tag, lines in kept if tag in TAGS)  # type: ignore[arg-type]
    return Lyrics(found or (LyricSection("verse"),))
