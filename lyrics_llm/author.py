"""The room's verbs: words and a lead sheet from a description, with any of the models.

`lyrics_llm.write`, `rewrite` and `compose` are these functions; see there.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from common.description import fragments
from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, SectionTag
from common.score import Score
from lyrics_llm import melody as melodies
from lyrics_llm.limits import Limit
from lyrics_llm.sketch import natural_duration
from lyrics_llm.structure import Structure
from lyrics_llm.themes import themes
from lyrics_llm.writer import Writer

logger = logging.getLogger(__name__)

Language = Literal["zh", "mixed", "en"]
DEMO = "demo"
_DEMO_FOLDER = Path(__file__).parent.parent / "app" / "models" / "demo" / "writer"


@lru_cache(maxsize=2)
def load(model: str = DEMO, adapter: str | None = None, four_bit: bool = False) -> Any:
    """The writer of a name: "demo", a folder, or a Qwen3 of the Hugging Face hub.

    Args:
        adapter: folder of a LoRA adapter of `lyrics_llm.train`, for a Qwen3.
        four_bit: a Qwen3 in NF4.
    Raises:
        CheckpointError: it can't be read.
    """
    folder = _DEMO_FOLDER if model == DEMO else Path(model)
    if (folder / "tokenizer.json").is_file() and "<section:verse>" in (folder / "tokenizer.json").read_text(
        encoding="utf-8"
    ):
        if adapter or four_bit:
            raise RequestError("the demo writer takes no adapter and isn't quantised: name a Qwen3")
        return Writer.from_pretrained(folder)
    from lyrics_llm.chat import ChatWriter

    return ChatWriter.from_pretrained(model, adapter=adapter, four_bit=four_bit)


def write(
    description: str,
    structure: Any = None,
    rhyme: str | None = None,
    theme: str | None = None,
    seed: int = 0,
    *,
    score: Score | None = None,
    duration: float = 30.0,
    language: Language = "zh",
    seconds: float | None = None,
    tokens: int | None = None,
    model: Any = DEMO,
) -> Lyrics:
    fragments(description)  # raises when nothing is said
    writer = load(model) if isinstance(model, str) else model
    limit = Limit(seconds, tokens)  # loading doesn't count
    form: Structure | None = None
    if score is not None:
        if structure is not None:
            raise RequestError("the words follow either a structure or a score, but both were given")
        form = melodies.structure_of(score)
    elif structure is not None:
        form = Structure.of(structure)
    if form is None:
        form = writer.structure(description, seed, duration)
    form = form.rhymed(rhyme)
    if not any(lines for _, lines in form.sections):
        raise RequestError("there is no line to write: the structure has none, or nobody is to sing")
    return writer.write(
        description, form, seed, duration, limit=limit, theme=theme, **_language(writer, language)
    )


def rewrite(
    lyrics: Lyrics,
    section: int,
    line: int | None = None,
    instruction: str = "",
    *,
    description: str = "",
    count: int | None = None,
    seed: int = 0,
    language: Language = "zh",
    seconds: float | None = None,
    tokens: int | None = None,
    model: Any = DEMO,
) -> Lyrics:
    places = _places(lyrics, section, line)
    text = "，".join(part for part in (instruction, description) if part.strip())
    if not text:
        text = "，".join(themes(lyrics).texts)
        if not text:
            raise RequestError("say in `instruction` or `description` what the new words are about")
    form = Structure.of(lyrics)
    if count is not None:
        form = _counted(form, section - 1, places, count)
    keep = [
        [None if number == section - 1 and p in places else old for p, old in enumerate(s.lines)]
        for number, s in enumerate(lyrics.sections)
    ]
    writer = load(model) if isinstance(model, str) else model
    limit = Limit(seconds, tokens)
    written = writer.write(
        text, form, seed, keep=keep, limit=limit, replaced=lyrics, **_language(writer, language)
    )
    new = written.sections[section - 1].lines
    fresh = tuple(new[p] if p in places else old for p, old in enumerate(lyrics.sections[section - 1].lines))
    sections = [
        replace(s, lines=fresh) if number == section - 1 else s for number, s in enumerate(lyrics.sections)
    ]
    return Lyrics(tuple(sections))


def compose(
    lyrics: Lyrics,
    description: str,
    seed: int = 0,
    *,
    duration: float | None = None,
    melody: Score | None = None,
    model: Any = DEMO,
    **fixed: Any,
) -> Score:
    fragments(description)
    if melody is not None:
        if duration is not None or fixed:
            raise RequestError("a given melody has its own duration, tempo and key: leave them out")
        return melodies.harmonised(melodies.sing(melody, lyrics))
    writer = load(model) if isinstance(model, str) else model
    seconds = natural_duration(lyrics) if duration is None else duration
    return writer.compose(lyrics, description, seconds, seed, **fixed)


def _language(writer: Any, language: Language) -> dict[str, Any]:
    """The language as an argument of a writer that knows several."""
    if isinstance(writer, Writer):
        if language != "zh":
            raise RequestError("the demo writer knows Chinese only: name a Qwen3 for English or mixed lines")
        return {}
    return {"language": language}


def _places(lyrics: Lyrics, section: int, line: int | None) -> list[int]:
    """The lines to replace, from 0. Raises LyricsError naming what there is."""
    if not 1 <= section <= len(lyrics.sections):
        raise LyricsError(f"there is no section {section}: the lyrics have {len(lyrics.sections)}")
    lines = lyrics.sections[section - 1].lines
    if not lines:
        raise LyricsError(f"section {section} (<{lyrics.sections[section - 1].tag}>) has no lines to rewrite")
    if line is None:
        return list(range(len(lines)))
    if not 1 <= line <= len(lines):
        raise LyricsError(f"there is no line {line} in section {section}: it has {len(lines)}")
    return [line - 1]


def _counted(form: Structure, section: int, places: Sequence[int], count: int) -> Structure:
    sections: list[tuple[SectionTag, Any]] = list(form.sections)
    tag, lines = sections[section]
    sections[section] = (
        tag,
        tuple(replace(f, count=count, pauses=()) if p in places else f for p, f in enumerate(lines)),
    )
    return Structure(tuple(sections))
