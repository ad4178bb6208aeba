"""Limits of time and tokens, and what ends the words when they are reached.

A song that runs into a limit is still whole: the lines that the model hasn't written come from the
corpus's phrase book (`corpus.words`), which has a sentence for every theme, length and rhyme. The
log says how many they are.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import RequestError
from common.lyrics import Lyrics, LyricSection
from common.rhyme import group
from common.seeds import generator
from corpus.words import THEMES
from corpus.words import write as from_phrases
from lyrics_llm.structure import FREE, OPEN, Structure

logger = logging.getLogger(__name__)

_FIRST, _MORE = 8, 40  # draws of the whole form to choose from, and for a line that isn't there yet

# Phrases of one word, of two, and so on.
_ENGLISH: tuple[tuple[str, ...], ...] = tuple(
    tuple(row.split(" / "))
    for row in (
        "listen / tomorrow / slowly / homeward",
        "hold on / stay here / morning comes / look up",
        "all night long / under the sky / here I am / wait for me",
        "I still hear you / the road goes on / stay until the morning / and we begin again",
        "I will wait for you / the lights are going out / somewhere the rain is falling / "
        "every window has its song",
        "and the night is ours now / I see you from the shore / nothing ever takes us far away",
    )
)


@dataclass
class Limit:
    """How long a model may write; the clock starts when the limit is made."""

    seconds: float | None = None
    tokens: int | None = None  # that the model chooses, over all calls with this limit
    spent: int = 0
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if (self.seconds is not None and self.seconds < 0) or (self.tokens is not None and self.tokens < 0):
            raise RequestError(
                f"a limit isn't negative, but got {self.seconds} seconds and {self.tokens} tokens"
            )

    @property
    def reached(self) -> bool:
        late = self.seconds is not None and time.monotonic() - self._since >= self.seconds
        return late or (self.tokens is not None and self.spent >= self.tokens)


def finished(
    structure: Structure,
    done: Sequence[Sequence[str]],
    theme: str,
    mood: str,
    seed: int,
    english: bool = False,
) -> Lyrics:
    """The lines that are `done`, and for the rest of the structure phrases of its length and rhyme.

    English lines of the structure's words don't rhyme: an English structure has no rhymes.
    """
    pool = (
        _English(seed) if english else _Pool(structure, theme if theme in THEMES else THEMES[0], mood, seed)
    )
    used = {line for section in done for line in section}
    sections, missing, total = [], 0, 0
    for number, (tag, forms) in enumerate(structure.sections):
        written = list(done[number]) if number < len(done) else []
        letters = {
            f.mark: f.group or group(line) for f, line in zip(forms, written) if f.mark not in (OPEN, FREE)
        }
        for form in forms[len(written) :]:
            rhyme = form.group or letters.get(form.mark)
            if rhyme is None and form.mark not in (OPEN, FREE):
                rhyme = letters[form.mark] = pool.richest([f.count for f in forms if f.mark == form.mark])
            line = pool.phrase(form.count, rhyme, used)
            used.add(line)
            written.append(line)
            missing += 1
        total += len(forms)
        sections.append(LyricSection(tag, tuple(written)))
    if missing:
        logger.warning(
            "the writer reached its limit: %d of %d lines come from the book of phrases", missing, total
        )
    return Lyrics(tuple(sections))


class _English:
    """Plain English phrases of so many words; longer ones are put together."""

    def __init__(self, seed: int) -> None:
        self.rng = generator(seed, "rest of the words")

    def richest(self, counts: Sequence[int]) -> str:
        raise RequestError("English lines have no rhyme marks")

    def phrase(self, count: int, rhyme: str | None, used: set[str]) -> str:
        """A phrase of so many words, one that isn't used yet where there is any."""
        if count > len(_ENGLISH):
            rest = count - len(_ENGLISH)
            return f"{self.phrase(len(_ENGLISH), None, used)} {self.phrase(rest, None, used)}"
        fresh = [line for line in _ENGLISH[count - 1] if line not in used] or _ENGLISH[count - 1]
        return fresh[int(self.rng.integers(len(fresh)))]


class _Pool:
    """Phrases of the corpus's book in the lengths of a structure, drawn as they are needed."""

    def __init__(self, structure: Structure, theme: str, mood: str, seed: int) -> None:
        self.rng = generator(seed, "rest of the words")
        self.theme, self.mood, self.shape = theme, mood, structure.shape
        self.lines: dict[str, str] = {}  # each with its rhyme group, in the order drawn
        for _ in range(_FIRST):
            self._draw()

    def _draw(self) -> None:
        for line in from_phrases(self.rng, self.theme, self.shape, self.mood).lines:
            self.lines.setdefault(line, group(line))

    def richest(self, counts: Sequence[int]) -> str:
        """The rhyme that most phrases of some lengths have."""
        found = Counter(rhyme for line, rhyme in self.lines.items() if len(line) in counts)
        return found.most_common(1)[0][0]

    def phrase(self, count: int, rhyme: str | None, used: set[str]) -> str:
        """A phrase of so many characters; with the rhyme, and unused, as far as there is one."""
        for _ in range(_MORE):
            fitting = [line for line in self.lines if len(line) == count and line not in used]
            rhyming = [line for line in fitting if rhyme is None or self.lines[line] == rhyme]
            if rhyming:
                return rhyming[0]
            self._draw()
        again = [line for line, r in self.lines.items() if len(line) == count and r == rhyme]
        return (fitting or again or [line for line in self.lines if len(line) == count])[0]
