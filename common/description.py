"""What people say of a song: who speaks, about which dimension, at which length."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Literal

from common.characters import simplified as simplified  # beside `normalise`, for readers of descriptions
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
_BREAKS = re.compile(r"[,;:。、；：!?！？\n\r\t…~～·•|]+|\.(?!\d)|(?<=[^\x00-\x7f])\s+|\s+(?=[^\x00-\x7f])")

# ---- what lists wishes but is none ----
_HAN = "\u3400-\u9fff〇"
_ORDER = "一二三四五六七八九十"
# ① ⑴ ⒈ ❶ ㈠ and keycaps, which would become plain digits; 第①段 is a name.
_ENCLOSED = re.compile("(?<!第)(?:[①-⒛❶-➓㈠-㈩㊀-㊉]|[0-9]\ufe0f?\u20e3)(?!号)")
# `1.`, `1、`, `(1)`, `一、` at the start or after a break; 3.5, `1、2个人` and 一、两首 count.
_NUMBERED = re.compile(
    rf"(?<![^\s,;:。、!?…|])\(?([0-9]{{1,2}}|[{_ORDER}])(?:\s*\)|、(?![0-9零两百{_ORDER}])|\.(?!\d))\s*"
)
_BULLET = re.compile(rf"^[^\S\n]*([-*+•‣▪–—])(?:[^\S\n]+|(?=[{_HAN}]))|(?<=[,;:。!?])\s*([-*+])\s+", re.M)
# Tags; F#小调 and the Chinese way to write it, #F小调 or #Fm, are notes.
_CHORD = r"[A-Ga-g](?:m|maj|min|dim|aug|sus|add)?\d*(?![A-Za-z&])"
_TAG = rf"(?<![A-Za-z0-9#])#+(?=\s*[{_HAN}]|(?!{_CHORD})[A-Za-z])|(?<=[{_HAN}])\s*#+(?![A-Za-z0-9])"
_ARROW = r"\s*(?:[→⇒⟶⇨➔➜➝➞➡]\ufe0f?|[-=]+>)\s*"
# 钢琴/吉他, 女声+R&B, R&B/流行; neither 4/4, A/B, R&B nor 90拍/分钟.
_BAR = rf"(?<=[{_HAN}])\s*[/+&|]\s*(?!分|秒)(?=\w)|(?<=[A-Za-z])\s*[/&|]\s*(?=[{_HAN}])"
_BETWEEN = re.compile("|".join((_TAG, _ARROW, _BAR)))
# 安 静 的 歌: letterspaced; of two single characters each may be a wish.
_SPACED = re.compile(rf"(?<![{_HAN}])[{_HAN}](?: [{_HAN}]){{2,}}(?![{_HAN}])")
# `不要 鼓` is one wish; in 要不要 and 什么都没有 the word refuses nothing that follows.
_REFUSED = re.compile(
    rf"((?<!要)(?:不要|不用|不需要|不想要|不带|不含|不加|别用|别有|去掉)|(?<![都也有])没有|(?<![{_HAN}])[无别没])"
    rf" (?=[{_HAN}A-Za-z])"
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")


def normalise(text: str) -> str:
    """NFKC (full width to half width), single spaces, no space at the ends."""
    return re.sub(r"[ \u3000]+", " ", unicodedata.normalize("NFKC", text)).strip()


def parted(text: str) -> str:
    """A normalised text with a comma for whatever only lists: numbers, bullets, tags, arrows, bars.

    1,000 is one number and becomes 1000; spaces within a wish go, so that it isn't parted there:
    安 静 的 歌, 不要 鼓.
    """
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), normalise(_ENCLOSED.sub(",", text)))
    text = _REFUSED.sub(r"\1", text)
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    while (once := _BETWEEN.sub(",", _without_bullets(_without_numbers(text)))) != text:
        text = once  # `1. - 女声`: one mark behind another
    return text


def _without_numbers(text: str) -> str:
    """Without the numbers of a list, which count up from 1: the 90 of `速度 90. 女声` isn't one."""
    due = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal due
        value = int(match[1]) if match[1].isdecimal() else _ORDER.index(match[1]) + 1
        before = text[: match.start()].rstrip(" ")[-1:]
        opens = value == 1 and not (before.isalnum() or before == ")")
        if not opens and value != due:
            return match[0]
        due = value + 1
        return ","

    return _NUMBERED.sub(mark, text)


def _without_bullets(text: str) -> str:
    """Without bullets; one that opened a line stands between spaces for one too."""
    used = {match[1] or match[2] for match in _BULLET.finditer(text)}
    text = _BULLET.sub(",", text)
    return re.sub(rf"\s[{re.escape(''.join(sorted(used)))}]\s+", ",", text) if used else text


def fragments(text: str, longest: int = 64) -> list[str]:
    """Split a description at punctuation and sense: each piece becomes one ChinMu vector.

    A piece of more than `longest` characters is cut at words' ends into nearly equal parts, so that
    nothing is lost.

    Raises:
        RequestError: nothing but punctuation and spaces came.
    """
    pieces = [p.strip() for p in _BREAKS.split(parted(text)) if p and any(c.isalnum() for c in p)]
    if not pieces:
        raise RequestError("a description needs at least one word, but only punctuation or nothing came")
    return [part for piece in pieces for part in cut(piece, longest)]


def cut(text: str, longest: int) -> list[str]:
    """A text in nearly equal parts of at most `longest` characters, which end where words do."""
    if len(text) <= longest:
        return [text]
    ends = _ends(text, longest)
    for count in range(-(-len(text) // longest), len(text) + 1):
        aims = [len(text) * i / count for i in range(1, count)]
        at = sorted({0, len(text), *(_nearest(ends, aim) for aim in aims)})
        if max(b - a for a, b in pairwise(at)) <= longest:
            break
    return [text[a:b] for a, b in pairwise(at)]


def _nearest(places: list[int], aim: float) -> int:
    return min(places, key=lambda place: abs(place - aim))


def _ends(text: str, longest: int) -> list[int]:
    """Where words end; a particle or mark ends with the word before it, and no word exceeds `longest`."""
    segmented = _segmenter()
    words = [
        word
        for run in re.findall(rf"[{_HAN}]+|[A-Za-z0-9][A-Za-z0-9.'&#/+-]*|.", text, re.S)
        for word in (segmented(run) if re.match(f"[{_HAN}]", run) else [run])
    ]
    ends, end, start = [], 0, 0
    for word in words:
        if (end and not (word[0] in _BOUND or word.isspace())) or end + len(word) - start > longest:
            ends.append(end)
            start = end
        while len(word) > longest:
            ends.append(end := end + longest)
            start, word = end, word[longest:]
        end += len(word)
    return [e for e in dict.fromkeys([*ends, end]) if e]


@cache
def _segmenter() -> Callable[[str], Iterator[str]]:
    """Splits Han text into words of CC-CEDICT, before lyrics are read as after; half a second at first."""
    from pypinyin.seg import mmseg

    from common.pinyin import load_phrases

    load_phrases()
    return mmseg.seg.cut


_BOUND = frozenset("的地得了着过吗呢吧啊,;:。、!?)…")
