"""Scores as ABC 2.1, the plain-text notation that other programs open, edit and print.

The words stand in `w:` lines, a syllable a note: `_` holds the syllable before, `*` is a note
that isn't sung. A line of lyrics ends with its `w:` line. A section begins at `P:` and its tag.
What ABC has no sign for stands in directives that other programs pass over:

    %%baihua-swing 0.2           %%baihua-lead-in 0.25        %%baihua-tail 2.0
    %%baihua-tempo 100.4         %%baihua-key C gong          %%baihua-meta {"genre": "民谣"}
    %%baihua-energy 0.9          %%baihua-fill                %%baihua-groove kick|snare|hat
    %%baihua-readings 3:huan2    readings of the next line that its words alone don't give
    %%baihua-open                the next line of music doesn't end a line of lyrics

A tempo, key or title that was edited in Q:, K: or T: counts: the directive holds only while the
field beside it is its rounding.

Reading other people's ABC: repeats and first and second endings are written out; a pickup
fills its bar from the left with rest; of several voices the first is read, of several notes at
once the highest; lengths that aren't a twelfth of a quarter note are moved with a warning.

Source: Walshaw 2011, the ABC music standard 2.1.
"""

from common.abc_read import read
from common.abc_write import write
from common.errors import ScoreError
from common.score import Score


def to_abc(score: Score) -> str:
    """The score as ABC; `from_abc` reads it back to an equal score."""
    return write(score)


def from_abc(text: str) -> Score:
    """Read one tune of ABC.

    Raises:
        ScoreError: something isn't understood or bars don't add up; the message names the line.
    """
    return read(text)


__all__ = ["ScoreError", "from_abc", "to_abc"]
