"""What the writer has learned, on descriptions of held-out songs.

    python -m lyrics_llm.evaluate --model runs/lyrics/model --songs 100

The songs are of the corpus's split `test`: half of them are described in phrasings, and half have
combinations, that training never saw. Every share has its count and a 95 % Wilson interval; the
rhyme rate, a mean over lines of songs, a bootstrap interval over songs.

- parsed: lyrics and score read back from their text form (`Lyrics.parse`, ABC) as they were.
- tags, lines, characters: sections whose tag, number of lines, and syllables of every line are the
  asked ones.
- rhyme: lines of sections with at least two whose track (十三辙) another line of the section shares.
- the plan's fields: songs whose genre, mood, theme, singer, tempo (±8 %) is that of the described
  song, among those whose description names it; the model alone decides here.
- distinct: share of lines that no earlier line of any song equals, repeated sections aside.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common import config as configs
from common.abc import from_abc, to_abc
from common.errors import command
from common.lyrics import Lyrics
from common.pinyin import units
from common.rhyme import group
from common.score import Score
from common.seeds import derive_seed, generator
from common.statistics import Estimate, bootstrap, finite, wilson
from corpus.attributes import attributes, tempo_class
from corpus.synth import Sheet, sheet
from lyrics_llm.data import says
from lyrics_llm.sketch import SongSketch
from lyrics_llm.writer import Writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate."""

    model: str  # folder of a writer
    songs: int = 100  # held-out descriptions
    duration: float = 30.0  # seconds of the songs that are written
    batch: int = 10  # songs written together
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """One description and what came of it."""

    described: Sheet
    description: str
    sketch: SongSketch
    lyrics: Lyrics
    score: Score


def written(writer: Writer, config: EvaluateConfig) -> list[Written]:
    """Songs for held-out descriptions; the plan is the model's alone."""
    out: list[Written] = []
    for start in range(0, config.songs, config.batch):
        indices = range(start, min(config.songs, start + config.batch))
        seeds = [derive_seed(config.seed, "evaluate writer", i) for i in indices]
        sheets = [sheet(seed, "test") for seed in seeds]
        texts = [says(s, generator(seed, "says")) for s, seed in zip(sheets, seeds)]
        sketches = writer.plans(texts, seeds, [config.duration] * len(texts), read=False)
        lyrics = writer.writes(texts, sketches, seeds)
        scores = writer.composes(lyrics, sketches, seeds, texts)
        out += [Written(*row) for row in zip(sheets, texts, sketches, lyrics, scores)]
        logger.info("%d of %d songs", len(out), config.songs)
    return out


# ---- figures -----------------------------------------------------------------------------------


def evaluate(writer: Writer, config: EvaluateConfig) -> dict[str, Estimate]:
    """All figures of a writer, by name."""
    songs = written(writer, config)
    figures = {"parsed": wilson(sum(_reads_back(s) for s in songs), len(songs))}
    figures |= form_agreement([(s.sketch.shape, s.lyrics) for s in songs])
    figures["rhyme"] = rhyme_rate([s.lyrics for s in songs])
    figures["rhyme of the corpus"] = rhyme_rate([s.described.lyrics for s in songs])
    figures["distinct"] = distinct([s.lyrics for s in songs])
    for name, agrees in _FIELDS.items():
        said = [s for s in songs if name in attributes(s.description)]
        if said:
            figures[name] = wilson(sum(agrees(s) for s in said), len(said))
    return figures


def _reads_back(song: Written) -> bool:
    words = song.lyrics
    return Lyrics.parse(str(words)) == words and from_abc(to_abc(song.score)) == song.score


def form_agreement(rows: Sequence[tuple[Sequence[tuple[str, Sequence[int]]], Lyrics]]) -> dict[str, Estimate]:
    """Sections with the asked tag, number of lines, and syllables, of (asked shape, lyrics) pairs."""
    hits, count = {"tags": 0, "lines": 0, "characters": 0}, 0
    for shape, lyrics in rows:
        count += max(len(shape), len(lyrics.sections))
        for (tag, counts), section in zip(shape, lyrics.sections):
            hits["tags"] += section.tag == tag
            hits["lines"] += len(section.lines) == len(counts)
            hits["characters"] += tuple(len(units(line)) for line in section.lines) == tuple(counts)
    return {name: wilson(n, count) for name, n in hits.items()}


def rhyme_rate(songs: Sequence[Lyrics]) -> Estimate:
    """Estimate of lines, in sections of at least two, that another line of their section rhymes with."""
    hits, counts = [], []
    for lyrics in songs:
        sections = [[group(line) for line in s.lines] for s in lyrics.sections if len(s.lines) > 1]
        hits.append(sum(bool(g) and groups.count(g) > 1 for groups in sections for g in groups))
        counts.append(sum(map(len, sections)))
    rows = np.array([hits, counts], dtype=float).T
    return bootstrap(rows, statistic=lambda drawn: drawn[:, 0].sum() / max(1.0, drawn[:, 1].sum()))


def distinct(songs: Sequence[Lyrics]) -> Estimate:
    """Estimate of different lines among the lines of all songs, repeated sections counted once."""
    lines: list[str] = []
    for lyrics in songs:
        for section in dict.fromkeys(lyrics.sections):
            lines += section.lines
    return wilson(len(set(lines)), max(1, len(lines)))


def _tempo_agrees(song: Written) -> bool:
    return abs(song.sketch.tempo / song.described.plan.tempo - 1) <= 0.08


_FIELDS: dict[str, Callable[[Written], bool]] = {
    "genre": lambda s: s.sketch.genre == s.described.plan.genre,
    "mood": lambda s: s.sketch.mood == s.described.plan.mood,
    "theme": lambda s: s.sketch.theme == s.described.plan.theme,
    "singer": lambda s: s.sketch.singer == s.described.plan.singer,
    "tempo": _tempo_agrees,
    "tempo_class": lambda s: tempo_class(s.sketch.tempo) == tempo_class(s.described.plan.tempo),
}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: a table and a JSON object on the standard output."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = configs.parse(EvaluateConfig, argv)
    figures = evaluate(Writer.from_pretrained(config.model), config)
    for name, share in figures.items():
        print(f"{name:20s} {share}")
    report: dict[str, Any] = {name: asdict(share) for name, share in figures.items()}
    print(json.dumps(finite(report), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
