"""What lyrics are about: the known theme that they name, and their own recurring words.

Nothing is invented: a theme is given only with the words of the lyrics that speak for it, and
lyrics that name none and repeat nothing have none. A chat model can be asked instead
(`lyrics_llm.chat.ChatWriter.themes`); its answer is held to words, too.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

from common.lyrics import Lyrics
from common.pinyin import load_phrases, plain
from common.score import Score
from corpus.attributes import attributes
from lyrics_llm.wishes import is_themed

# Words that every song has.
_EMPTIES = (
    "我们 你们 他们 自己 什么 怎么 这样 那样 这里 那里 一个 一样 不会 不能 "
    "不要 没有 就是 还是 已经 可以 因为 所以 如果 但是 只是 不是 为了 知道 "
    "觉得 时候 那么 这么 有人 为何 一直 总是 再次 一切 所有 不再 今天 明天 "
    "昨天 有的 是不是 一起 也许 或许 如何 曾经 不曾 不想 不知 不知道 每个 那个 "
    "这个 起来 出来 下去 过来 过去 只有 只要 我的 你的 好了"
)
_EMPTY = frozenset(_EMPTIES.split(" "))
_LONGEST = 4  # characters of a word
_MOST = 3  # words


@dataclass(frozen=True)
class Themes:
    """What lyrics are about; both may be empty."""

    known: str | None  # of corpus.words.THEMES
    words: tuple[str, ...]  # of the lyrics, the most frequent first

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*([self.known] if self.known else []), *self.words)))


def themes(lyrics: Lyrics) -> Themes:
    """The known theme that the lyrics name, and up to three words that recur in different lines."""
    lines = list(dict.fromkeys(plain(line) for line in lyrics.lines))
    return Themes(attributes("，".join(lines)).get("theme"), _keywords(lines))


def theme_of(lyrics: Lyrics, description: str) -> str | None:
    """The known theme of lyrics, where the description says none itself."""
    return None if is_themed(description) or not lyrics.lines else themes(lyrics).known


def unthemed(score: Score, title: str) -> Score:
    """A score without the theme that its plan drew, which nobody asked for and no word speaks of."""
    meta = {name: value for name, value in score.meta.items() if name != "theme"}
    return replace(score, title=title, meta=meta)


def _keywords(lines: list[str]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for line in lines:
        found = {
            piece[i : i + n]
            for piece in re.findall("[\u4e00-\u9fff]+", line)
            for n in range(2, _LONGEST + 1)
            for i in range(len(piece) - n + 1)
        }
        counts.update(word for word in found if word in _dictionary() and _tells(word))
    ranked = sorted((w for w, n in counts.items() if n > 1), key=lambda w: (-counts[w], -len(w), w))
    chosen: list[str] = []
    for word in ranked:
        if not any(word in other or other in word for other in chosen):
            chosen.append(word)
    return tuple(chosen[:_MOST])


def _tells(word: str) -> bool:
    """Whether a word is of something: not one that every song has, nor one cut off before its particle."""
    return word not in _EMPTY and word[-1] not in "的了着过得地吗呢吧啊"


@cache
def _dictionary() -> frozenset[str]:
    """The phrases that pypinyin knows with CC-CEDICT's: words of Chinese, by and large."""
    from pypinyin.constants import PHRASES_DICT

    load_phrases()  # whether or not anything was read before
    return frozenset(PHRASES_DICT)
