"""Lyrics as tokens of what is sung: section tags, line breaks, pinyin initials and finals, letters.

A Han character becomes its initial (where it has one) and its final, without the tone: sung
tones are replaced by the melody. A Latin word becomes `<word>` and its letters. The vocabulary
is fixed, so a trained model stays readable (Wang 2025, section 3.1.2, gives the model pinyin
and section tags; the split into halves is ours: 60 tokens learn from far fewer songs than 400).
"""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from common.lyrics import TAGS, Lyrics
from common.pinyin import FINALS, INITIALS, SYLLABLES, read, split, toneless
from common.score import HOLD, Score

logger = logging.getLogger(__name__)

PADDING, BREAK, WORD = 0, 1, 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY: tuple[str, ...] = (
    "<pad>",
    "<br>",
    "<word>",
    *(f"<{tag}>" for tag in TAGS),
    *(f"{initial}-" for initial in INITIALS[1:]),
    *(f"-{final}" for final in FINALS[1:]),
    *_LETTERS,
)
VOCABULARY_SIZE = len(VOCABULARY)
_IDS = {token: index for index, token in enumerate(VOCABULARY)}
_SYLLABLES = frozenset(SYLLABLES)


@dataclass(frozen=True)
class TimedTokens:
    """Tokens and when each is sung, in seconds from the start of the song; None when nobody knows."""

    ids: tuple[int, ...]
    times: tuple[float, ...] | None = None

    def window(self, start: float, end: float) -> tuple[int, ...]:
        """The tokens sung in [start, end), headed by the tag of the section that is going on at `start`.

        Without times only the whole song has known words: the answer is empty for a part of it.
        """
        if self.times is None:
            return ()
        within = [(i, t) for i, t in zip(self.ids, self.times) if t < end]
        heads = [i for i, t in within if t < start and _is_tag(i)]
        return (*heads[-1:], *(i for i, t in within if t >= start))


def encode(lyrics: Lyrics) -> list[int]:
    """Token ids of a whole song's words; sections without lines keep their tag.

    Raises:
        LyricsError: an inline reading isn't a Mandarin syllable.
    """
    ids: list[int] = []
    for section in lyrics.sections:
        ids.append(tag_id(section.tag))
        for line in section.lines:
            for reading in read(line):
                ids += encode_reading(reading)
            ids.append(BREAK)
    return ids


def encode_score(score: Score) -> TimedTokens:
    """The tokens of a score's words with the time of each; the same tokens as `encode(score.lyrics())`."""
    ids: list[int] = []
    times: list[float] = []

    def put(tokens: Sequence[int], time: float) -> None:
        ids.extend(tokens)
        times.extend([time] * len(tokens))

    spans = score.note_spans(sung=True)
    for number, section in enumerate(score.section_spans()):
        put([tag_id(section.label)], section.start)
        sung = [span for span in spans if span.section == number]
        for index, span in enumerate(sung):
            if span.syllable != HOLD:
                for reading in [span.reading] if span.reading else read(span.syllable or ""):
                    put(encode_reading(reading), span.start)
            if span.ends_line or index == len(sung) - 1:
                put([BREAK], span.start)
    return TimedTokens(tuple(ids), tuple(times))


def encode_reading(reading: str) -> list[int]:
    """The tokens of one reading: `zhuang4` is zh- and -uang, `love` is <word> and four letters."""
    if toneless(reading) in _SYLLABLES:
        initial, final, _ = split(reading)
        return ([_IDS[f"{initial}-"]] if initial else []) + [_IDS[f"-{final}"]]
    letters = [c for c in unicodedata.normalize("NFKD", reading.lower()) if c in _LETTERS]
    if not letters:
        logger.warning("%r has no letter that can be sung and is left out", reading)
        return []
    return [WORD, *(_IDS[c] for c in letters)]


def decode(ids: Sequence[int]) -> str:
    """The tokens written out, a line a line: for people and tests."""
    return " ".join(VOCABULARY[i] for i in ids).replace(" <br>", "\n")


def tag_id(tag: str) -> int:
    """The token of a section tag."""
    return _IDS[f"<{tag}>"]


def _is_tag(token: int) -> bool:
    return WORD < token <= WORD + len(TAGS)
