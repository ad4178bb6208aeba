"""Who plays and sings, and in which mood: the names of each role, of a song of the corpus, and on its frames.

A description reaches the song model as vectors of a text encoder, in which one instrument among several
words is hard to find, and leads play for a few seconds of a song. A lead sheet names its players outright
(`Score.meta`), and the song model takes them as that: a name for each of `dit.conditions.ROLES`.
"""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from common.frames import GROUPS
from corpus.facts import Facts
from corpus.genres import GENRES, MOODS
from corpus.plan import SINGERS
from corpus.record import SongRecord
from dit.conditions import ROLES, Conditions

_SINGER, _LEAD = ROLES.index("singer"), ROLES.index("lead")


@cache
def names() -> dict[str, tuple[str, ...]]:
    """What the corpus calls the players of each role."""
    players = {role: set[str]() for role in ROLES}
    for genre in GENRES.values():
        for role, options in genre.players.items():
            players[role].update(options)
    listed = {role: tuple(sorted(found)) for role, found in players.items()}
    return listed | {"genre": tuple(GENRES), "singer": SINGERS, "mood": MOODS}


def of_record(record: SongRecord) -> dict[str, str]:
    """What is known of a song: genre, singer and mood, and of one of the corpus everybody who is heard."""
    whole = {"genre": record.genre, "singer": record.singer, "mood": record.mood}
    facts = Facts.of_record(record)
    players = {} if facts is None else facts.instruments
    return {role: name for role, name in whole.items() if name is not None} | players


# ---- on frames -------------------------------------------------------------------------------


def tune(conditions: Conditions) -> Tensor:
    """(B, T) who has the tune: a lead's number, or behind the leads a singer's; -1 where nobody is known."""
    leads = len(names()["lead"]) + 1
    sung = conditions.channels[..., GROUPS["voice"].start] > 0
    played = conditions.channels[..., GROUPS["lead"].start] > 0
    lead, singer = (conditions.arrangement[:, role, None] for role in (_LEAD, _SINGER))
    found = torch.where(played & (lead > 0), lead, -1)
    found = torch.where(sung & (singer > 0), leads + singer, found)
    return torch.where(conditions.has_score[:, None], found, -1)


def weights(conditions: Conditions, leads: float) -> Tensor:
    """(B, T) of each frame: 1 where a known singer sings, `leads` where a known lead plays, else 0."""
    who = tune(conditions)
    played = (who >= 0) & (who <= len(names()["lead"]))
    return (who >= 0).float() + (leads - 1) * played.float()


def players() -> int:
    """How many numbers `tune` has."""
    return len(names()["lead"]) + len(SINGERS) + 2


def exchanged(conditions: Conditions) -> Conditions:
    """The same songs with every lead replaced by another."""
    count = len(names()["lead"])
    lead = conditions.arrangement[:, _LEAD]
    arrangement = conditions.arrangement.clone()
    arrangement[:, _LEAD] = torch.where(lead > 0, (lead - 1 + count // 2) % count + 1, 0)
    return replace(conditions, arrangement=arrangement)
