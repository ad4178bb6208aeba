"""A small phrase grammar: templates with choices, expanded to every sentence they can say."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_CHOICE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Template:
    """One template of a block: its pattern and the marks in front of it."""

    pattern: str
    marks: str = ""

    def __iter__(self) -> Iterator[str]:
        return iter(expand(self.pattern))


def templates(block: str, marks: str = "^~") -> list[Template]:
    """The templates of a block of text, separated by white space."""
    out = []
    for word in block.split():
        pattern = word.lstrip(marks)
        out.append(Template(pattern, word[: len(word) - len(pattern)]))
    return out


@cache
def expand(pattern: str) -> tuple[str, ...]:
    """Every sentence of a pattern: `{大|小}雨` is 大雨 and 小雨; choices may be nested or empty."""
    match = _CHOICE.search(pattern)
    if not match:
        return (pattern,)
    head, tail = pattern[: match.start()], pattern[match.end() :]
    out = [text for choice in match[1].split("|") for text in expand(head + choice + tail)]
    return tuple(dict.fromkeys(out))


def joints(pattern: str) -> tuple[set[str], set[str]]:
    """(pairs of neighbouring characters, ends of two characters) in all sentences of a pattern.

    `joints("{大|小}雨") == ({"大雨", "小雨"}, {"大雨", "小雨"})`; no sentence is made for it.
    """
    pairs: set[str] = set()
    ends = _joints(pattern, {""}, pairs)
    return pairs, {end for end in ends if len(end) == 2}


def _joints(pattern: str, ends: set[str], pairs: set[str]) -> set[str]:
    """The ends of what was said before followed by the pattern; adds the pairs on the way."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "{":
            choices, at = _choices(pattern, at + 1)
            ends = set().union(*(_joints(choice, ends, pairs) for choice in choices))
        else:
            ends = {(end + pattern[at])[-2:] for end in ends}
            pairs |= {end for end in ends if len(end) == 2}
            at += 1
    return ends


def _choices(pattern: str, at: int) -> tuple[list[str], int]:
    """The choices of a brace that opens before `at`, and where the pattern goes on behind it."""
    choices, depth, start = [], 0, at
    while depth or pattern[at] != "}":
        if pattern[at] == "|" and not depth:
            choices.append(pattern[start:at])
            start = at + 1
        depth += {"{": 1, "}": -1}.get(pattern[at], 0)
        at += 1
    return [*choices, pattern[start:at]], at + 1


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, uniformly."""
    return options[int(rng.integers(len(options)))]
