"""The room's verbs: words and a lead sheet from a description, with any of the models.

`lyrics_llm.write`, `rewrite` and `compose` are these functions; see there.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

from common.description import fragments
from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import plain
from common.rhyme import GROUPS
from common.score import Score
from lyrics_llm import melody as melodies
from lyrics_llm import requested
from lyrics_llm.limits import Limit
from lyrics_llm.sketch import natural_duration
from lyrics_llm.structure import LineForm, Structure, fault_of
from lyrics_llm.themes import theme_of, themes, unthemed
from lyrics_llm.wishes import is_themed, say_unasked
from lyrics_llm.writer import Writer

logger = logging.getLogger(__name__)

Language = Literal["zh", "mixed", "en"]
DEMO = "demo"
_ALONE = "Z"  # the mark of new lines that are asked for a rhyme of their own
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
    _check_description(description)
    _check_seed(seed)
    _check_score("score", score)
    writer = load(model) if isinstance(model, str) else model
    limit = Limit(seconds, tokens)  # loading doesn't count
    if score is None:
        say_unasked(description, structure is not None, bool(rhyme))
    form: Structure | None = None
    if score is not None:
        if structure is not None:
            raise RequestError("the words follow either a structure or a score, but both were given")
        form = melodies.structure_of(score)
    elif structure is not None:
        form = Structure.of(structure)
    if form is None:
        form = writer.structure(description, seed, duration)
    form = form.rhymed(rhyme or _rhyme_said(description, form))
    if not any(lines for _, lines in form.sections):
        raise RequestError("there is no line to write: the structure has none, or nobody is to sing")
    return writer.write(
        description, form, seed, duration, limit=limit, theme=theme, **_language(writer, language)
    )


def _rhyme_said(description: str, form: Structure) -> str:
    """The rhyme of the description, where it isn't a scheme beside a structure that marks its own."""
    said = requested.rhyme(description)
    if said and said not in GROUPS and form.marked:
        logger.warning("the structure marks the lines that rhyme: %s isn't followed", said)
        return ""
    return said


def rewrite(
    lyrics: Lyrics | str,
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
    _check_seed(seed)
    lyrics = _read(lyrics)
    places = _places(lyrics, section, line)
    text = "，".join(part for part in (instruction, description) if part.strip())
    if not text:
        text = "，".join(themes(lyrics).texts)
        if not text:
            raise RequestError("say in `instruction` or `description` what the new words are about")
    keep = [
        [None if number == section - 1 and p in places else old for p, old in enumerate(s.lines)]
        for number, s in enumerate(lyrics.sections)
    ]
    shown, seen = _writable(lyrics, keep, section, count)
    form = Structure.of(shown)
    new = [place for place, old in enumerate(seen[section - 1]) if old is None]
    rhyme = _rhyme_said(text, form)
    if rhyme in GROUPS:  # whatever the others rhyme on
        form = _changed(form, section - 1, new, mark=_ALONE, group=rhyme)
    elif rhyme:
        logger.warning("what stays of the words decides the rhyme: %s isn't followed", rhyme)
    if count is not None:
        form = _changed(form, section - 1, new, count=count, pauses=())
    writer = load(model) if isinstance(model, str) else model
    limit = Limit(seconds, tokens)
    written = writer.write(
        text, form, seed, keep=seen, limit=limit, replaced=lyrics, **_language(writer, language)
    )
    lines = zip(written.sections[section - 1].lines, seen[section - 1])
    found = iter([line for line, old in lines if old is None])
    fresh = tuple(next(found) if old is None else old for old in keep[section - 1])
    sections = [
        replace(s, lines=fresh) if number == section - 1 else s for number, s in enumerate(lyrics.sections)
    ]
    return Lyrics(tuple(sections))


def compose(
    lyrics: Lyrics | str,
    description: str,
    seed: int = 0,
    *,
    duration: float | None = None,
    melody: Score | None = None,
    model: Any = DEMO,
    **fixed: Any,
) -> Score:
    _check_description(description)
    _check_seed(seed)
    _check_score("melody", melody)
    lyrics = _read(lyrics)
    if melody is not None:
        if duration is not None or fixed:
            raise RequestError("a given melody has its own duration, tempo and key: leave them out")
        return melodies.harmonised(melodies.sing(melody, lyrics))
    writer = load(model) if isinstance(model, str) else model
    seconds = natural_duration(lyrics) if duration is None else duration
    theme = theme_of(lyrics, description)
    if theme and "theme" not in fixed:
        fixed["theme"] = theme
    score = writer.compose(lyrics, description, seconds, seed, **fixed)
    themed = fixed.get("theme") or is_themed(description)
    return score if themed else unthemed(score, plain(lyrics.lines[0]) if lyrics.lines else "")


def _check_description(description: object) -> None:
    """Raises RequestError when nothing is described."""
    if not isinstance(description, str):
        raise RequestError(f"a description is text, but got {description!r}")
    fragments(description)


def _check_seed(seed: object) -> None:
    """Raises RequestError when it isn't a whole number."""
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise RequestError(f"the seed is a whole number, but got {seed!r}")


def _check_score(name: str, score: object) -> None:
    """Raises RequestError when it is anything but a score that was read."""
    if score is not None and not isinstance(score, Score):
        raise RequestError(
            f"the {name} is one that was read, as by common.abc.from_abc(text) or "
            f"common.midi.from_midi(path), but got {score!r}"
        )


def _read(lyrics: object) -> Lyrics:
    """Lyrics, or the text of some. Raises RequestError when it is neither."""
    if isinstance(lyrics, str):
        return Lyrics.parse(lyrics)
    if not isinstance(lyrics, Lyrics):
        raise RequestError(f"lyrics are text, or read by Lyrics.parse, but got {lyrics!r}")
    return lyrics


def _language(writer: Any, language: Language) -> dict[str, Any]:
    """The language as an argument of a writer that knows several. Raises RequestError for any other."""
    if language not in get_args(Language):
        raise RequestError(f"the language is {', '.join(get_args(Language))}, but got {language!r}")
    if isinstance(writer, Writer):
        if language != "zh":
            raise RequestError("the demo writer knows Chinese only: name a Qwen3 for English or mixed lines")
        return {}
    return {"language": language}


def _places(lyrics: Lyrics, section: int, line: int | None) -> list[int]:
    """The lines to replace, from 0. Raises LyricsError naming what there is."""
    for name, place in (("section", section), ("line", line)):
        whole = isinstance(place, Integral) and not isinstance(place, bool)
        if not whole and not (name == "line" and place is None):
            raise RequestError(f"a {name} is told by its number, from 1, but got {place!r}")
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


def _writable(
    lyrics: Lyrics, keep: Sequence[Sequence[str | None]], section: int, count: int | None
) -> tuple[Lyrics, list[list[str | None]]]:
    """Lyrics and their kept lines without those that no line can be like, such as ……; they just stay.

    Raises:
        RequestError: a line to replace is one of those, and no count says how long the new one is.
    """
    sections, kept = [], []
    for number, (old, given) in enumerate(zip(lyrics.sections, keep), 1):
        lines: list[str] = []
        seen: list[str | None] = []
        for place, (line, stays) in enumerate(zip(old.lines, given), 1):
            fault = fault_of(line)
            if fault and stays is None and count is None:
                raise RequestError(
                    f"section {number} (<{old.tag}>), line {place}: {fault}; "
                    "say the syllables of the new line with `count`"
                )
            if fault and stays is not None:
                continue
            lines.append(" ".join(["la"] * LineForm(count).count) if fault and count is not None else line)
            seen.append(stays)
        sections.append(LyricSection(old.tag, tuple(lines)))
        kept.append(seen)
    return Lyrics(tuple(sections)), kept


def _changed(form: Structure, section: int, places: Sequence[int], **changes: Any) -> Structure:
    """The structure with other fields of some lines of a section."""
    tag, lines = form.sections[section]
    changed = tuple(replace(f, **changes) if place in places else f for place, f in enumerate(lines))
    return Structure((*form.sections[:section], (tag, changed), *form.sections[section + 1 :]))
