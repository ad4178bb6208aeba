"""Traditional Chinese characters as simplified ones, which the tables of this project are written in."""

import re
from collections.abc import Callable
from functools import cache

# 著 is Taiwan's 着, unless it means to write or to be known.
_TAIWANESE = re.compile("(?<![名显原巨专编论译著昭卓合拙土])著(?![名作称述者书录])")


def simplified(text: str) -> str:
    """Traditional characters as simplified ones; a text that has none is left as it is."""
    if _convert("t2s")(text) == text:
        return text
    return _convert("tw2s")(text)  # knows the Taiwanese 著 of 聽著 too


def for_reading(text: str) -> str:
    """A text as it is read aloud, character by character: simplified, 看著 as 看着; of the same length."""
    text = _TAIWANESE.sub("着", text)
    plain = simplified(text)
    return plain if len(plain) == len(text) else text


@cache
def _convert(kind: str) -> Callable[[str], str]:
    from opencc import OpenCC

    return OpenCC(kind).convert
