"""A melody that the user brings without words, and the words that are sung to it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, cycle, islice
from typing import Any

import lyrics_llm
from app.request import Request
from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection
from common.score import Note, Score
from corpus.attributes import attributes
from lyrics_llm.melody import phrases
from lyrics_llm.writer import say_unkept

logger = logging.getLogger(__name__)

_SHOWN = 12  # phrases whose notes an error counts


def with_words(request: Request, score: Score, writer: Any) -> Score:
    """The score of a request, with words on its melody where it has none and somebody is to sing.

    The user's own lyrics are set to it. Where there are none and the description asks for a singer,
    words are written for it; where they can't be it is played, and a note says why.

    Args:
        writer: of the words, as `lyrics_llm.write` takes it.
    Raises:
        LyricsError: the lyrics have more lines than the melody has phrases, or a line has more
            syllables than its notes can be split into.
    """
    if request.instrumental or score.note_spans(sung=True):
        return score
    own = request.lyrics.sung() if request.lyrics is not None else None
    if request.lyrics is not None:
        say_unkept(request.lyrics)
    if own is not None and own.lines:
        words = on_phrases(own, score)
    elif own is None and _asks_for_singing(request):
        try:
            words = lyrics_llm.write(
                request.description,
                rhyme=request.rhyme or None,
                theme=request.theme or None,
                seed=request.seed,
                score=score,
                duration=request.seconds,
                model=writer,
            )
        except (LyricsError, RequestError) as error:
            logger.warning("the score is played and not sung: no words can be written for it (%s)", error)
            return score
        logger.warning("the score has no words, so some are written for the singer who was asked for")
    else:
        return score
    sung = lyrics_llm.compose(words, request.description, request.seed, melody=score)
    # A score that was made to be played says so.
    return replace(sung, meta={k: v for k, v in score.meta.items() if (k, v) != ("singer", "none")})


def on_phrases(lyrics: Lyrics, score: Score) -> Lyrics:
    """The lyrics in the sections of a melody, a line for each of its phrases (`lyrics_llm.melody`).

    Where the lyrics have the melody's sections, each has its own lines. Lines that are fewer than the
    phrases are sung again from the first on, with a warning.

    Raises:
        LyricsError: there are more lines than phrases; the message says how many each section takes.
    """
    found = [phrases(section) for section in score.sections]
    flat = [phrase for section in found for phrase in section]
    if not flat:
        raise LyricsError("the score has no melody to sing the lyrics to: leave out one of them")
    if len(flat) < len(lyrics.lines):
        takes = ", ".join(f"{s.tag} {len(parts)}" for s, parts in zip(score.sections, found) if parts)
        raise LyricsError(
            f"the melody has {len(flat)} phrases, of {_sizes(flat)} notes, but the lyrics have "
            f"{len(lyrics.lines)} lines to sing: write one line for each phrase ({takes})"
        )
    if len(flat) > len(lyrics.lines):
        logger.warning(
            "the melody has %d phrases and the lyrics %d lines, so lines are sung again",
            len(flat), len(lyrics.lines),
        )  # fmt: skip
    sections = [section for section in lyrics.sections if section.lines]
    sung = [(section.tag, len(parts)) for section, parts in zip(score.sections, found) if parts]
    if [s.tag for s in sections] == [tag for tag, _ in sung] and all(
        len(s.lines) <= count for s, (_, count) in zip(sections, sung)
    ):
        lines = chain.from_iterable(islice(cycle(s.lines), n) for s, (_, n) in zip(sections, sung))
    else:
        lines = chain(cycle(lyrics.lines))
    pairs = zip(score.sections, found)
    return Lyrics(tuple(LyricSection(s.tag, tuple(islice(lines, len(parts)))) for s, parts in pairs))


def _sizes(found: Sequence[Sequence[Note]]) -> str:
    """Their notes, counted: `7, 7, 5 …`."""
    return ", ".join(str(len(phrase)) for phrase in found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")


def _asks_for_singing(request: Request) -> bool:
    if request.instrumental is not None:
        return not request.instrumental
    if request.wording:
        return True
    return attributes(request.description).get("singer", "none") != "none"
