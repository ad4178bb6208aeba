"""Paths through the frames of a CTC recogniser: of given tokens, of a song's lines, of any syllables.

Conventions: `log_probs` are natural logarithms (frames, tokens), token 0 is the blank; a path gives
every frame a token, and reads as the tokens after merging repeats and dropping blanks. Frame spans are
(first, last + 1).

    align      the best path of given tokens
    walk       the best way through the lines of a song, in which lines may be missing, come again or
               come elsewhere, and anything at all may be sung between them
    recognise  the best path that spells syllables
    matches    which of two rows of syllables are the same, by the fewest edits

Source: Graves et al. 2006 (CTC), Viterbi 1967; a filler between words as in keyword spotting
(Rose and Paul 1990).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import LyricsError

BLANK = 0
_NEVER = -1e30


# ---- given tokens ----------------------------------------------------------------------------


def align(log_probs: np.ndarray, tokens: Sequence[int]) -> tuple[list[tuple[int, int]], float]:
    """The frames of each token on the best path that reads as `tokens`, and the path's log-probability.

    Raises:
        LyricsError: there are fewer frames than the tokens need.
    """
    states = np.zeros(2 * len(tokens) + 1, dtype=np.int64)
    states[1::2] = tokens
    repeats = sum(a == b for a, b in zip(tokens, tokens[1:]))
    if len(log_probs) < max(1, len(tokens) + repeats):
        raise LyricsError(
            f"{len(tokens)} tokens need {len(tokens) + repeats} frames, but there are {len(log_probs)}"
        )
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), _NEVER)
    score[:2] = log_probs[0, states[:2]]
    moves = np.zeros((len(log_probs), len(states)), dtype=np.int8)
    for frame in range(1, len(log_probs)):
        score, moves[frame] = _advance(score, skips)
        score += log_probs[frame, states]
    state = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    best = float(score[state])
    path = np.empty(len(log_probs), dtype=np.int64)
    for frame in range(len(log_probs) - 1, -1, -1):
        path[frame] = state
        state -= moves[frame, state]
    places = [np.flatnonzero(path == 2 * i + 1) for i in range(len(tokens))]
    return [(int(p[0]), int(p[-1]) + 1) for p in places], best


def _advance(score: np.ndarray, skips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best of staying, coming from the state before, and (where allowed) from two before."""
    one, two = np.full_like(score, _NEVER), np.full_like(score, _NEVER)
    one[1:] = score[:-1]
    two[2:] = np.where(skips[2:], score[:-2], _NEVER)
    moves = np.where(one > score, 1, 0)
    best = np.maximum(score, one)
    return np.maximum(best, two), np.where(two > best, 2, moves)


# ---- lines of a song -------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """A line is sung in these frames."""

    line: int
    first: int
    last: int  # one past


@dataclass(frozen=True)
class WalkCosts:
    """What makes a walk prefer the written order, in nats."""

    filler: float = 1.0  # of a frame in which something is sung that belongs to no line
    jump: float = 6.0  # of going on elsewhere than with the next line


def walk(
    log_probs: np.ndarray, lines: Sequence[Sequence[int]], costs: WalkCosts = WalkCosts()
) -> list[Visit]:
    """The visits to lines on the best way through a song, in time.

    Between lines, a frame is a pause or filler: whatever is most likely there, at a cost. So a line is
    visited where its tokens are, on the mean of its frames, less than the filler's cost below the best
    that the recogniser hears, and skipped where they aren't; one byte of memory a frame and token.

    Args:
        lines: tokens of each line; a line without tokens is never visited.
    """
    graph = _Graph(lines)
    if not graph.kept or not len(log_probs):
        return []
    filler = np.maximum(log_probs[:, BLANK], log_probs[:, 1:].max(1) - costs.filler)
    inside = np.full(len(graph.states), _NEVER)
    gaps = np.full(len(graph.kept) + 1, _NEVER)  # gap k: after line k − 1
    trace = _Trace.of(len(log_probs), graph)
    for frame, row in enumerate(log_probs):
        source = np.arange(len(graph.kept))
        if frame:
            entry = gaps[:-1].copy()
            best = int(gaps.argmax())
            elsewhere = gaps[best] - costs.jump > entry
            source[elsewhere], entry[elsewhere] = best, gaps[best] - costs.jump
            ends = inside[graph.ends]
        else:
            entry, ends = np.full(len(graph.kept), -costs.jump), np.full(len(graph.kept), _NEVER)
            entry[0], source[:] = 0.0, 0
            gaps[0] = 0.0
        inside, moves = graph.advance(inside)
        entered = entry > inside[graph.starts]
        inside[graph.starts] = np.where(entered, entry, inside[graph.starts])
        moves[graph.starts[entered]] = _ENTER
        inside += row[graph.states]
        left = ends > gaps[1:]
        gaps[1:] = np.where(left, ends, gaps[1:])
        gaps += filler[frame]
        trace.moves[frame], trace.sources[frame], trace.left[frame] = moves, source, left
    finish = np.full(len(gaps), -costs.jump)
    finish[-1] = 0.0
    return trace.back(graph, gaps + finish, inside[graph.ends] + finish[1:])


_ENTER = 3


class _Graph:
    """The states of all lines in a row: their tokens with a blank between each two."""

    def __init__(self, lines: Sequence[Sequence[int]]) -> None:
        self.kept = [k for k, line in enumerate(lines) if len(line)]
        parts = []
        for k in self.kept:
            part = np.zeros(2 * len(lines[k]) - 1, dtype=np.int64)
            part[::2] = lines[k]
            parts.append(part)
        sizes = np.array([len(p) for p in parts], dtype=np.int64)
        self.states = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        self.ends = np.cumsum(sizes) - 1
        self.starts = self.ends - sizes + 1
        self.skips = np.zeros(len(self.states), dtype=bool)
        self.skips[2:] = (self.states[2:] != BLANK) & (self.states[2:] != self.states[:-2])
        # No way leads from one line into the next but through a gap.
        self.skips[self.starts] = False
        self.skips[np.minimum(self.starts + 1, len(self.states) - 1)] &= sizes == 1

    def advance(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        best, moves = _advance(score, self.skips)
        # A line's first state comes from itself or a gap.
        best[self.starts], moves[self.starts] = score[self.starts], 0
        return best, moves


@dataclass(frozen=True)
class _Trace:
    """How each state was reached in each frame."""

    moves: np.ndarray  # (frames, states) states back, or _ENTER
    sources: np.ndarray  # (frames, lines) the gap a line is entered from
    left: np.ndarray  # (frames, lines) whether gap k + 1 was reached from the end of line k

    @classmethod
    def of(cls, frames: int, graph: _Graph) -> "_Trace":
        lines = len(graph.kept)
        return cls(
            np.zeros((frames, len(graph.states)), dtype=np.int8),
            np.zeros((frames, lines), dtype=np.int16),
            np.zeros((frames, lines), dtype=bool),
        )

    def back(self, graph: _Graph, gaps: np.ndarray, ends: np.ndarray) -> list[Visit]:
        """The visits of the best way that ends in a gap or at the end of a line."""
        frame = len(self.moves) - 1
        in_gap = gaps.max() >= ends.max()
        place = int(gaps.argmax()) if in_gap else int(graph.ends[int(ends.argmax())])
        line = -1 if in_gap else int(ends.argmax())
        last, visits = frame, []
        while frame >= 0:
            if in_gap:
                if place > 0 and self.left[frame, place - 1]:
                    in_gap, line, last = False, place - 1, frame - 1
                    place = int(graph.ends[line])
                frame -= 1
            elif self.moves[frame, place] == _ENTER:
                visits.append(Visit(graph.kept[line], frame, last + 1))
                in_gap, place = True, int(self.sources[frame, line])
                frame -= 1
            else:
                place -= int(self.moves[frame, place])
                frame -= 1
        return visits[::-1]


# ---- any syllables ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Recognised:
    """A syllable that is heard."""

    syllable: str
    first: int
    last: int  # one past
    log_prob: float  # mean over its frames


class Speller:
    """The best path that spells syllables, each one or two tokens.

    States: a pause; every first token of two with the blank that may follow it; every syllable's last
    token. A new syllable costs `price` nats, which keeps noise from being heard as many short ones.
    """

    def __init__(self, spellings: Mapping[str, tuple[int, ...]], price: float = 0.0) -> None:
        self.names, self.price = list(spellings), price
        tokens = [spellings[name] for name in self.names]
        assert all(len(t) in (1, 2) for t in tokens), "syllables have one or two tokens"
        self.initials = np.array(sorted({t[0] for t in tokens if len(t) == 2}), dtype=np.int64)
        place = {int(token): i for i, token in enumerate(self.initials)}
        self.last = np.array([t[-1] for t in tokens], dtype=np.int64)
        self.alone = np.array([len(t) == 1 for t in tokens])
        # State numbers: 0 the pause, then initials, then blanks after initials, then syllables.
        self.base = 1 + 2 * len(self.initials)
        blanks = np.zeros(len(self.initials), dtype=np.int64)
        self.states = np.concatenate([[BLANK], self.initials, blanks, self.last])
        self.single = self.base + np.flatnonzero(self.alone)
        self.single_tokens = self.states[self.single]
        self.double = self.base + np.flatnonzero(~self.alone)
        # The initial's state before each syllable of two; the same token twice needs the blank between.
        self.before = np.array([1 + place[t[0]] for t in tokens if len(t) == 2], dtype=np.int64)
        self.merging = self.states[self.before] == self.states[self.double]

    def best(self, log_probs: np.ndarray) -> list[Recognised]:
        """The syllables of the best path, in time."""
        if not len(log_probs):
            return []
        initials = len(self.initials)
        score = np.full(len(self.states), _NEVER)
        score[0] = 0.0
        score[1 : 1 + initials] = -self.price
        score[self.base :] = np.where(self.alone, -self.price, _NEVER)
        score += log_probs[0, self.states]
        came = np.zeros((len(log_probs), len(score)), dtype=np.int16)
        for frame in range(1, len(log_probs)):
            score, came[frame] = self._advance(score)
            score += log_probs[frame, self.states]
        final = score.copy()
        final[1 : self.base] = _NEVER
        state = int(final.argmax())
        path = np.empty(len(log_probs), dtype=np.int64)
        for frame in range(len(log_probs) - 1, -1, -1):
            path[frame], state = state, int(came[frame, state])
        return self._read(path, log_probs)

    def _advance(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the states one frame on, before its own, and which state each came from."""
        new, came = score.copy(), np.arange(len(score))

        def offer(states: slice | np.ndarray, values: np.ndarray, sources: np.ndarray) -> None:
            better = values > new[states]
            new[states] = np.where(better, values, new[states])
            came[states] = np.where(better, sources, came[states])

        n, base = len(self.initials), self.base
        syllables = score[base:]
        first = int(syllables.argmax())
        others = np.where(self.last == self.last[first], _NEVER, syllables)
        second = int(others.argmax())
        offer(slice(0, 1), syllables[first : first + 1], np.array([base + first]))
        for states, tokens in ((np.arange(1, 1 + n), self.initials), (self.single, self.single_tokens)):
            # The same token again would be read as one: come from another, or through a pause.
            same = tokens == self.last[first]
            value = np.where(same, others[second], syllables[first])
            source = np.where(same, base + second, base + first)
            paused = score[0] > value
            value, source = np.where(paused, score[0], value), np.where(paused, 0, source)
            offer(states, value - self.price, source)
        offer(np.arange(1 + n, base), score[1 : 1 + n], np.arange(1, 1 + n))
        offer(self.double, np.where(self.merging, _NEVER, score[self.before]), self.before)
        offer(self.double, score[self.before + n], self.before + n)
        return new, came

    def _read(self, path: np.ndarray, log_probs: np.ndarray) -> list[Recognised]:
        """Syllables of a path of states; the initial's frames belong to the syllable."""
        out, begin = [], None
        for frame, state in enumerate(path):
            if state == 0:
                begin = None
            elif state < self.base:
                if frame == 0 or path[frame - 1] == 0 or path[frame - 1] >= self.base:
                    begin = frame
            else:
                if frame == 0 or path[frame - 1] != state:
                    fresh = begin if begin is not None and not self.alone[state - self.base] else frame
                    out.append([int(state), fresh, frame + 1])
                out[-1][2], begin = frame + 1, None
        rows = []
        for state, first, last in out:
            mean = float(log_probs[np.arange(first, last), self.states[path[first:last]]].mean())
            rows.append(Recognised(self.names[state - self.base], first, last, mean))
        return rows


# ---- rows of syllables -----------------------------------------------------------------------


def matches(heard: Sequence[str], written: Sequence[str]) -> tuple[list[tuple[int, int]], int]:
    """Pairs (place in heard, place in written) of equal syllables on a path of fewest edits, and the edits.

    Edits are substitutions, insertions and deletions, at 1 each.

    Source: Wagner and Fischer 1974.
    """
    columns = np.arange(len(written) + 1)
    table = np.zeros((len(heard) + 1, len(written) + 1), dtype=np.int32)
    table[0] = columns
    known = {s: i for i, s in enumerate(dict.fromkeys([*heard, *written]))}
    target = np.array([known[s] for s in written], dtype=np.int64)
    for row, syllable in enumerate(heard, 1):
        above = table[row - 1]
        best = above + 1
        best[1:] = np.minimum(best[1:], above[:-1] + (target != known[syllable]))
        best[0] = row
        # Insertions run along the row: the least of (value − column) so far, plus the column.
        table[row] = np.minimum.accumulate(best - columns) + columns
    pairs, i, j = [], len(heard), len(written)
    while i and j:
        same = heard[i - 1] == written[j - 1]
        if table[i, j] == table[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            if same:
                pairs.append((i, j))
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1], int(table[-1, -1])
