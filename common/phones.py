"""What is sung, as tokens: initials and finals without tones, and the syllables they make.

A syllable is an initial and a final, or a final alone, so rare syllables share what common ones
teach. Tones are left out: the tune replaces them in singing.
"""

from functools import lru_cache

from common import pinyin

BLANK = 0
TOKENS: tuple[str, ...] = ("", *pinyin.INITIALS[1:], *pinyin.FINALS[1:])
_PLACE = {token: i for i, token in enumerate(TOKENS)}


@lru_cache(maxsize=4096)
def spell(syllable: str) -> tuple[int, ...]:
    """The tokens of a syllable, with or without its tone; of a Latin word, those that come nearest.

    Raises:
        LyricsError: the reading has no letters.
    """
    initial, final, _ = pinyin.split(pinyin.toneless(syllable))
    return tuple(_PLACE[part] for part in (initial, final) if part)


SPELLINGS: dict[str, tuple[int, ...]] = {syllable: spell(syllable) for syllable in pinyin.SYLLABLES}
