"""What the song model is told of a song in words: the user's own, what was planned, and who plays.

A description says little, and a user's wording may be one that the text encoder has never met; the plan is
whole and in the corpus's own words. So its plan stands behind a description in short (`caption`), and the
players of both go to the song model by name (`arrangement`). It has been trained with and without each
(`dit.prepare`). Descriptions made longer before they are drawn or sung:
Betker et al. 2023 (DALL-E 3), section 3.
"""

import logging
from collections.abc import Mapping, Sequence

from common.lyrics import Lyrics
from common.score import Score
from corpus.attributes import Attributes, attributes, refused_players, substitutes, tempo_class
from corpus.prompts import in_short
from lyrics_llm.sketch import SongSketch
from lyrics_llm.tokens import PLAN_FIELDS

logger = logging.getLogger(__name__)

_WHOLE = ("genre", "mood", "singer")  # what a whole song is
_ROLES = ("harmony", "lead")  # who plays
_PLAYERS = (*_ROLES, "bass", "pad", "drums")


def of_sketch(sketch: SongSketch, lyrics: Lyrics) -> Attributes:
    """What a plan says of its song's sound; not that nobody sings, where there are words to be sung."""
    fields = sketch.fields()
    if lyrics.lines and sketch.singer == "none":
        del fields["singer"]
    return _planned(fields, sketch.tempo)


def of_score(score: Score) -> Attributes:
    """What a lead sheet says of its song's sound: in its `meta`, by its tempo, and by having no words."""
    known: dict[str, object] = {}
    for name in (*_WHOLE, *_ROLES):
        if (value := score.meta.get(name)) in PLAN_FIELDS[name]:
            known[name] = value
        elif value:
            logger.warning("the song model doesn't know the %s %r of the lead sheet", name, value)
    if not score.note_spans(sung=True):
        known["singer"] = "none"
    return _planned(known, score.tempo)


def _planned(fields: Mapping[str, object], tempo: float) -> Attributes:
    known: Attributes = {"tempo_class": tempo_class(tempo)}
    for name in _WHOLE:
        if name in fields:
            known[name] = str(fields[name])  # type: ignore[literal-required]
    known["instruments"] = tuple(str(fields[role]) for role in _ROLES if role in fields)
    return known


def arrangement(
    description: str, planned: Attributes, named: Mapping[str, object], known: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Role → name of who plays and sings, of those that a song model knows (`dit.conditions.ROLES`).

    An instrument of the description that the plan doesn't name takes the first role that is free and
    has it: 弦乐 becomes the pad.

    Args:
        planned: of `of_sketch` or `of_score`: genre, mood and singer, over which the description's own win.
        named: the plan's instruments by role: a sketch's fields, or a score's `meta`.
        known: names of each role (`SongTransformer.known`).
    """
    said = attributes(description)
    for name, nearest in substitutes(description).items():
        logger.warning("the models know no %s: they are told %s, which comes nearest", name, nearest)
    whole = _merged(said, planned)
    found = {role: str(named[role]) for role in _PLAYERS if named.get(role) in known.get(role, ())}
    for role in _PLAYERS[len(_ROLES) :]:  # of the others `of_score` speaks
        if role in named and known and role not in found:
            logger.warning("the song model doesn't know the %s %r of the lead sheet", role, named[role])
    found |= {role: whole[role] for role in _WHOLE if whole.get(role) in known.get(role, ())}  # type: ignore[literal-required]
    refused = refused_players(description)
    found = {role: name for role, name in found.items() if name not in refused}
    for name in said.get("instruments", ()):
        free = [role for role in _PLAYERS if role not in found and name in known.get(role, ())]
        if free and name not in found.values():
            found[free[0]] = name
    return found


def caption(description: str, planned: Attributes) -> str:
    """The description with its plan in short behind it.

    `caption("想家的歌", {"genre": "民谣", "singer": "male"}) == "想家的歌，民谣，男声"`. What the description
    says itself wins over the plan, but for the tempo and for silence: these are the score's.
    """
    said = attributes(description)
    merged = _merged(said, planned)
    wanted = (*said.get("instruments", ()), *planned.get("instruments", ()))
    refused = refused_players(description)
    merged["instruments"] = tuple(dict.fromkeys(i for i in wanted if i not in refused))
    short = in_short(merged)
    return f"{description}，{short}" if short else description


def _merged(said: Attributes, planned: Attributes) -> Attributes:
    merged: Attributes = planned.copy()
    for name in _WHOLE:
        if name in said and not (name == "singer" and planned.get(name) == "none"):
            merged[name] = said[name]  # type: ignore[literal-required]
    return merged
