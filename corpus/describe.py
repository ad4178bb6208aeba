"""What professionals and amateurs say of a synthetic song: true sentences about its plan and score.

The dimensions are the questions of MuChin (Wang et al. 2024): ten for professionals, who name tempo, key,
harmony, form and arrangement, and eight for amateurs, who say how it feels, what it resembles and when one
would hear it. Each is answered in words, phrases and sentences.
"""

from collections.abc import Iterator

import numpy as np

from common.description import Audience, Description, Length
from common.score import Score
from corpus.attributes import Attributes, attributes, tempo_class
from corpus.facts import Facts
from corpus.phrases import pick
from corpus.plan import SongPlan
from corpus.prompts import compose_prompt
from corpus.speakers import Speaker
from corpus.speech import answers, choose_templates

__all__ = ["Attributes", "attributes", "describe", "prompt", "tempo_class"]

# How many answers of each length a dimension gets at most: people write many tags and few sentences (MuChin).
_COUNTS: dict[Length, int] = {"word": 2, "phrase": 2, "sentence": 1}


def describe(
    plan: SongPlan, score: Score, rng: np.random.Generator, held_out: bool = False
) -> tuple[Description, ...]:
    """Answers of both audiences on all dimensions, at all three lengths.

    A dimension of which nothing true can be said is left out: the theme of an instrumental, for one.

    Args:
        held_out: say it in the phrasings kept for evaluation; else these are never used.
    """
    facts = Facts(plan, score)
    out: list[Description] = []
    for audience in Audience:
        speaker = Speaker(facts, audience, rng, held_out)
        for dimension, rows in answers(audience).items():
            said: set[str] = set()
            for length, count in _COUNTS.items():
                for text in _answers(speaker, rows[length], count, said):
                    out.append(Description(text, audience, dimension, length))
    return tuple(out)


def _answers(speaker: Speaker, templates: tuple[str, ...], count: int, said: set[str]) -> Iterator[str]:
    """Up to `count` answers that haven't been said yet."""
    usable = [t for t in choose_templates(templates, speaker.held_out) if speaker.can_say(t)]
    if not usable:
        usable = [t for t in choose_templates(templates, False) if speaker.can_say(t)]
    for _ in range(4 * count if usable else 0):
        text = speaker.say(pick(speaker.rng, usable))
        if text not in said:
            said.add(text)
            count -= 1
            yield text
        if count == 0:
            return


def prompt(
    plan: SongPlan, score: Score, rng: np.random.Generator, audience: Audience, held_out: bool = False
) -> str:
    """One whole description as a user of this audience would type it, with one to about eight attributes."""
    return compose_prompt(Speaker(Facts(plan, score), Audience(audience), rng, held_out))
