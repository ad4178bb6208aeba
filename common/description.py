"""What people say of a song: who speaks, about which dimension, at which length."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from common.errors import RequestError

Length = Literal["word", "phrase", "sentence"]


class Audience(StrEnum):
    """Whose words they are: MuSiT is told by a label (Wang 2025, section 3.1.3)."""

    PROFESSIONAL = "professional"
    AMATEUR = "amateur"


@dataclass(frozen=True)
class Description:
    """One thing said of a song. `dimension` is MuChin's question, such as 情绪 or 乐器."""

    text: str
    audience: Audience
    dimension: str
    length: Length

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise RequestError(f"a description of {self.dimension!r} is empty")


# A fragment ends at any of these; a decimal point or an "R&B" inside a fragment doesn't end it.
_BREAKS = re.compile(r"[,;:。、；：!?！？\n\r\t…~～·|]+|\.(?!\d)|(?<=[^\x00-\x7f])\s+|\s+(?=[^\x00-\x7f])")


def normalise(text: str) -> str:
    """NFKC (full width to half width), single spaces, no space at the ends."""
    return re.sub(r"[ \u3000]+", " ", unicodedata.normalize("NFKC", text)).strip()


def fragments(text: str, longest: int = 64) -> list[str]:
    """Split a description at punctuation and sense: each piece becomes one ChinMu vector.

    A piece of more than `longest` characters is cut into equal parts, so that nothing is lost.

    Raises:
        RequestError: nothing but punctuation and spaces came.
    """
    pieces = [p.strip() for p in _BREAKS.split(normalise(text)) if p and any(c.isalnum() for c in p)]
    if not pieces:
        raise RequestError("a description needs at least one word, but only punctuation or nothing came")
    out: list[str] = []
    for piece in pieces:
        parts = -(-len(piece) // longest)
        size = -(-len(piece) // parts)
        out += [piece[i : i + size] for i in range(0, len(piece), size)]
    return out
