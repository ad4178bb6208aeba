"""What is sung when: the phones of a record's timed lines, as labels of frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.phones import BLANK, spell
from common.pinyin import read
from corpus.record import SongRecord, TimedLine

UNKNOWN = -100  # cross_entropy's ignore_index: nobody knows what is sung in this frame
LEAD = 0.1  # seconds that a consonant begins before its vowel, about


@dataclass(frozen=True)
class Line:
    """A sung line: seconds, the tokens of its syllables, and their onsets and ends where they are known."""

    start: float  # of the first consonant
    end: float
    syllables: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[float, float], ...] = ()  # of the vowels


def sung_lines(record: SongRecord) -> tuple[Line, ...]:
    """The lines of a record whose times are known."""
    return tuple(_line(line) for line in record.timing)


def _line(line: TimedLine) -> Line:
    timed = line.syllables
    if not timed:
        return Line(line.start - LEAD, line.end, tuple(spell(s) for s in read(line.text)))
    readings = [s.reading or read(s.text)[0] for s in timed]
    spans = tuple((s.start, s.end) for s in timed)
    return Line(timed[0].start - LEAD, timed[-1].end, tuple(spell(r) for r in readings), spans)


def frame_labels(lines: Sequence[Line], rate: float, begin: float, count: int) -> np.ndarray:
    """The token of each of `count` frames of sound that begins at `begin` seconds of the song.

    Args:
        rate: frames a second; frame k stands for the time begin + k / rate.
    Returns:
        (count,) int64, an index into `common.phones.TOKENS`, or UNKNOWN.
    """
    labels = np.full(count, BLANK, dtype=np.int64)

    def at(seconds: float) -> int:
        return int(np.clip(np.ceil((seconds - begin) * rate - 0.5), 0, count))

    for line in lines:
        if not line.spans:
            labels[at(line.start) : at(line.end)] = UNKNOWN
        for tokens, (start, end) in zip(line.syllables, line.spans):
            onset, vowel = at(start - LEAD), at(start)
            if len(tokens) == 2:
                labels[onset:vowel] = tokens[0]
            elif vowel > 0 and labels[vowel - 1] == tokens[0]:
                labels[vowel - 1] = BLANK  # the same vowel begins anew
            labels[vowel : max(vowel + 1, at(end))] = tokens[-1]
    return labels
