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


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, uniformly."""
    return options[int(rng.integers(len(options)))]
