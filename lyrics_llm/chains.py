"""Lines in which every three characters stand as in some clause of the corpus's book.

The pairs of neighbouring characters are states, a third character leads from one to the next, and of each
state it is known whether a line of the asked length can still end as a clause does, in the asked rhyme.
So a draft that keeps to the chain needs no luck to get there: drawn freely, most drafts of a rhymed line
turn in the middle of a word to reach their rhyme (我们不怕风里).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from corpus.words import clause_runs

Ids = np.ndarray


class Chains:
    """The book's runs of three characters, in the tokens of a vocabulary; of one theme, or of all."""

    def __init__(self, ids: Mapping[str, int], theme: str | None = None) -> None:
        runs = [run for run in sorted(clause_runs(theme)) if all(c in ids or c in "^$" for c in run)]
        pairs = sorted({run[:2] for run in runs} | {run[1:] for run in runs if run[2] != "$"})
        place = {pair: i for i, pair in enumerate(pairs)}
        steps = np.array(
            sorted((place[run[:2]], place[run[1:]]) for run in runs if run[2] != "$"), dtype=np.int64
        ).reshape(-1, 2)
        self.tokens = np.array([ids.get(pair[1], -1) for pair in pairs], dtype=np.int64)
        self.first = np.array([i for i, pair in enumerate(pairs) if pair[0] == "^"], dtype=np.int64)
        self.source, self.target = steps[:, 0], steps[:, 1]
        self.slices = np.searchsorted(self.source, np.arange(len(pairs) + 1))
        self.ends = np.zeros(len(pairs), dtype=bool)
        self.ends[[place[run[:2]] for run in runs if run[2] == "$"]] = True

    def ways(self, count: int, body: Ids, last: Ids) -> "Ways | None":
        """The lines of `count` characters of `body` that end in one of `last`; None where there is none."""
        alive = self.ends & np.isin(self.tokens, last)
        inside = np.isin(self.tokens, body)
        reach = [alive]
        for _ in range(count - 1):
            onward = np.bincount(self.source, weights=reach[-1][self.target], minlength=len(self.tokens)) > 0
            reach.append(onward & inside)
        found = Ways(self, tuple(reversed(reach)))
        return found if len(found.first) else None


@dataclass(frozen=True)
class Ways:
    """What may be written where, so that a line comes to its end."""

    chains: Chains
    reach: tuple[np.ndarray, ...]  # of each place of the line: the states from which its end can be reached

    @property
    def first(self) -> np.ndarray:
        """The states of a line's first character."""
        return self.chains.first[self.reach[0][self.chains.first]]

    def after(self, state: int, place: int) -> np.ndarray:
        """The states of the character at `place` behind one in `state`."""
        chains = self.chains
        states = chains.target[chains.slices[state] : chains.slices[state + 1]]
        return states[self.reach[place][states]]

    def tokens(self, states: np.ndarray) -> Ids:
        return self.chains.tokens[states]


@dataclass
class Drafts:
    """Several lines on their way: `allowed`, then `take`, for every character."""

    ways: Ways
    count: int  # of lines
    place: int = 0  # of the next character
    states: list[int] = field(default_factory=list)  # of each line's last character
    onward: list[np.ndarray] = field(default_factory=list)  # of each line: the states that may come next

    def allowed(self) -> list[Ids]:
        """The tokens that may come next in each."""
        begun = [self.ways.after(state, self.place) for state in self.states]
        self.onward = begun or [self.ways.first] * self.count
        return [self.ways.tokens(states) for states in self.onward]

    def take(self, tokens: Sequence[int]) -> None:
        """The tokens that came."""
        found = [states[self.ways.tokens(states) == token] for states, token in zip(self.onward, tokens)]
        self.states = [int(states[0]) for states in found]
        self.place += 1
