"""Readings of Chinese text: pinyin with tones, and its initials and finals.

A line is a row of *units*, each sung on one note (or more, as a melisma): a Han character, a
digit, a Latin word, or a letter of an abbreviation (`KTV`, `5G`). Numbers that are values are sung
as such (`common.numerals`). Signs and other scripts aren't sung, and `unsung` names them. Polyphones
are told apart by the phrase they stand in (CC-CEDICT's phrases through pypinyin-dict; traditional
characters are looked up as simplified ones) and the rules of `common.polyphones`; where that is wrong
the writer says so inline, `还{huan2}给你`, or for all lyrics in a file (`load_overrides`, `annotate`).

Syllables are written in ASCII, `v` for ü and a tone digit 1–5 (5 is the neutral tone): `lv4`.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from common.characters import for_reading
from common.errors import LyricsError
from common.numerals import spelt
from common.polyphones import corrections

INITIALS: tuple[str, ...] = (
    "", "b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h",
    "j", "q", "x", "zh", "ch", "sh", "r", "z", "c", "s",
)  # fmt: skip
# "-i" is the vowel of zhi, chi, shi, ri, zi, ci and si, which no other syllable has.
FINALS: tuple[str, ...] = (
    "", "a", "o", "e", "ai", "ei", "ao", "ou", "an", "en", "ang", "eng", "ong", "er",
    "i", "ia", "io", "ie", "iao", "iu", "ian", "in", "iang", "ing", "iong",
    "u", "ua", "uo", "uai", "ui", "uan", "un", "uang", "ueng",
    "v", "ve", "van", "vn", "-i",
)  # fmt: skip

# The finals that each initial is spelt with in standard Mandarin (Xinhua dictionary's table).
_SPELT: dict[str, str] = {
    "": "a o e ai ei ao ou an en ang eng er "
    "yi ya yo ye yao you yan yin yang ying yong wu wa wo wai wei wan wen wang weng yu yue yuan yun",
    "b": "a o ai ei ao an en ang eng i ie iao ian in ing u",
    "p": "a o ai ei ao ou an en ang eng i ie iao ian in ing u",
    "m": "a o e ai ei ao ou an en ang eng i ie iao iu ian in ing u",
    "f": "a o ei ou an en ang eng u",
    "d": "a e ai ei ao ou an en ang eng ong i ia ie iao iu ian ing u uo ui uan un",
    "t": "a e ai ei ao ou an ang eng ong i ie iao ian ing u uo ui uan un",
    "n": "a e ai ei ao ou an en ang eng ong i ie iao iu ian in iang ing u uo uan un v ve",
    "l": "a o e ai ei ao ou an ang eng ong i ia ie iao iu ian in iang ing u uo uan un v ve",
    "g": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "k": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "h": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "j": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "q": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "x": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "zh": "a e ai ei ao ou an en ang eng ong i u ua uo uai ui uan un uang",
    "ch": "a e ai ao ou an en ang eng ong i u ua uo uai ui uan un uang",
    "sh": "a e ai ei ao ou an en ang eng i u ua uo uai ui uan un uang",
    "r": "e ao ou an en ang eng ong i u ua uo ui uan un",
    "z": "a e ai ei ao ou an en ang eng ong i u uo ui uan un",
    "c": "a e ai ao ou an en ang eng ong i u uo ui uan un",
    "s": "a e ai ao ou an en ang eng ong i u uo ui uan un",
}
SYLLABLES: tuple[str, ...] = tuple(sorted(i + f for i, finals in _SPELT.items() for f in finals.split()))
_KNOWN = frozenset(SYLLABLES)

# Spellings without an initial, by the final they sound as.
_ZERO = {
    "yi": "i", "ya": "ia", "yo": "io", "ye": "ie", "yao": "iao", "you": "iu", "yan": "ian", "yin": "in",
    "yang": "iang", "ying": "ing", "yong": "iong", "wu": "u", "wa": "ua", "wo": "uo", "wai": "uai",
    "wei": "ui", "wan": "uan", "wen": "un", "wang": "uang", "weng": "ueng", "yu": "v", "yue": "ve",
    "yuan": "van", "yun": "vn",
}  # fmt: skip
# Interjections that pypinyin spells without a vowel, by what a singer sings.
_HUMMED = {"n": "en", "ng": "en", "m": "mu", "hm": "heng", "hng": "heng", "ê": "ei", "fiao": "fou"}
_DIGITS = ("ling2", "yi1", "er4", "san1", "si4", "wu3", "liu4", "qi1", "ba1", "jiu3")

# Letters by the syllable that comes nearest to their name.
_NAMES = "ei bi xi di yi ai ji ai ai zhei kei ai ai en ou pi qiu a ai ti you wei dou ai wai zei"
_LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", _NAMES.split(" ")))
# Abbreviations that could be words in capitals; those without a vowel need no list.
_VOWELLED = "OK VIP AI UFO SOS ID USA UK EP IP IQ EQ APP CEO DIY NBA DNA ABC KO LA"
_ABBREVIATIONS = frozenset(_VOWELLED.split(" "))

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f〇"
_LATIN = "A-Za-zÀ-ÖØ-öø-ɏ"  # without × and ÷
_WORD = f"[{_LATIN}]+(?:['’][{_LATIN}]+)*"
_UNIT = re.compile(rf"([{_HAN}]|[0-9]|{_WORD})(?:\{{([^{{}}]*)\}})?")
_INLINE = re.compile(rf"(?<=[{_HAN}0-9{_LATIN}])\{{([^{{}}]*)\}}")
_MINUS = re.compile(r"(?<![0-9A-Za-z])[-－](?=[0-9０-９])")
_ORNAMENTS = frozenset("~～|｜<>＜＞")
_UNKNOWN = "\ufffd"  # our answer to pypinyin for a character that isn't in its tables
_READING = re.compile(r"([a-z]+)([1-5])?")


def is_han(character: str) -> bool:
    """Whether one character is a Han character."""
    return bool(re.fullmatch(f"[{_HAN}]", character))


def plain(text: str) -> str:
    """The text without its inline readings: `plain("还{huan2}给你") == "还给你"`."""
    return re.sub(_INLINE, "", text)


def units(text: str) -> list[str]:
    """What is sung on a note each: Han characters, digits, Latin words; punctuation isn't sung."""
    return [unit for unit, _, _ in _units(text)]


def unsung(text: str) -> list[str]:
    """What a reader might say but nobody sings, each once: kana, ℃, $, the minus sign of -5.

    Punctuation and ornaments such as ♪ are silent anyway and aren't named.
    """
    bare = re.sub(_UNIT, " ", plain(spelt(_MINUS.sub("−", text))))
    return list(dict.fromkeys(c for c in bare if _is_said(c)))


def _is_said(character: str) -> bool:
    kind = unicodedata.category(character)
    if kind == "So":  # ℃ and its like, but neither arrows nor hearts nor emoji
        return "\u2100" <= character <= "\u214f" or character == "°"
    read_out = kind[0] in "LN" or kind in ("Sc", "Sm")
    return character in "%％‰" or (read_out and character not in _ORNAMENTS)


def read(text: str) -> list[str]:
    """One reading for each of `units(text)`: `zhang3` with its tone, a Latin word in lower case.

    Raises:
        LyricsError: an inline reading, or that of a rare character, isn't a Mandarin syllable.
    """
    return list(_read(text))


@lru_cache(maxsize=65536)
def _units(text: str) -> tuple[tuple[str, str | None, bool], ...]:
    """(unit, inline reading, whether it is a letter of an abbreviation) of a text."""
    out: list[tuple[str, str | None, bool]] = []
    for match in _UNIT.finditer(spelt(text)):
        unit, override = match.groups()
        if override is None and _is_abbreviation(match):
            out += [(letter, None, True) for letter in unit]
        else:
            out.append((unit, override, False))
    return tuple(out)


def _is_abbreviation(match: re.Match[str]) -> bool:
    """Whether a unit of `_UNIT` is sung letter by letter: KTV, VIP, and beside digits as in 3D."""
    word = match[1]
    if not (word.isascii() and word.isalpha() and word.isupper()):
        return False
    start, end = match.span()
    beside = match.string[max(0, start - 1) : start] + match.string[end : end + 1]
    if len(word) <= 2 and any(c in "0123456789" for c in beside):
        return True
    return word in _ABBREVIATIONS or (2 <= len(word) <= 5 and not set(word) & set("AEIOUY"))


@lru_cache(maxsize=65536)
def _read(text: str) -> tuple[str, ...]:
    # pypinyin sees the bare text, so that phrases stand together; its answer is one entry a Han
    # character, which the rest skips.
    han = iter(_han_readings(for_reading(plain(spelt(text)))))
    readings = []
    for unit, override, letter in _units(text):
        guess = next(han) if is_han(unit[0]) else None
        if override is not None:
            readings.append(_checked(override.strip().lower(), unit))
        elif guess is not None:
            readings.append(_checked(guess, unit))
        elif letter:
            readings.append(_LETTERS[unit.lower()] + "1")
        else:
            readings.append(_DIGITS[int(unit)] if unit.isdigit() else unit.lower())
    return tuple(readings)


# ---- readings that people can see and correct ------------------------------------------------

Overrides = Mapping[str, Mapping[int, str]]  # phrase → place in it → reading


def load_overrides(path: str | Path) -> dict[str, dict[int, str]]:
    """Read a file of phrases with the readings that differ, one a line: `还{huan2}给`; # comments.

    Raises:
        LyricsError: the file can't be read, or a line has no reading or a wrong one; it is named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LyricsError(f"the readings in {path} can't be read: {error}") from error
    table: dict[str, dict[int, str]] = {}
    for number, line in enumerate(lines, 1):
        phrase = line.partition("#")[0].strip()
        if not phrase:
            continue
        found = list(re.finditer(rf"([{_HAN}])(?:\{{([^{{}}]*)\}})?", phrase))
        try:
            readings = {
                i: _checked(m[2].strip().lower(), m[1]) for i, m in enumerate(found) if m[2] is not None
            }
        except LyricsError as error:
            raise LyricsError(f"{path}, line {number}: {error}") from error
        if not readings or plain(phrase) != "".join(m[1] for m in found):
            raise LyricsError(
                f"{path}, line {number}: a phrase with a reading, such as 还{{huan2}}给, is needed, "
                f"but got {phrase!r}"
            )
        table[plain(phrase)] = readings
    return table


def annotate(text: str, overrides: Overrides | None = None, every: bool = False) -> str:
    """The text with readings written behind their characters, where a person can see and change them.

    Args:
        overrides: of `load_overrides`; longer phrases win over shorter ones, what stands inline
            already over all.
        every: write the reading of every Han character, not only of the overrides.
    """
    bare, chosen, removed = plain(text), dict[int, str](), 0
    for given in re.finditer(_INLINE, text):
        chosen[given.start() - removed - 1] = given[1]
        removed += len(given[0])
    for phrase in sorted(overrides or {}, key=len, reverse=True):
        for match in re.finditer(f"(?={re.escape(phrase)})", bare):
            for place, reading in (overrides or {})[phrase].items():
                chosen.setdefault(match.start() + place, reading)
    marked = "".join(c + (f"{{{chosen[i]}}}" if i in chosen else "") for i, c in enumerate(bare))
    if not every:
        return marked
    marked = spelt(marked)
    readings = iter(read(marked))

    def shown(match: re.Match[str]) -> str:
        unit, override = match.groups()
        reading = next(readings)
        for _ in unit[1:] if override is None and _is_abbreviation(match) else ():
            next(readings)
        return f"{unit}{{{reading}}}" if is_han(unit[0]) else match[0]

    return _UNIT.sub(shown, marked)


def _han_readings(text: str) -> list[str]:
    """The dictionary's answers as they are, since an inline reading may stand for a missing one."""
    if not re.search(f"[{_HAN}]", text):
        return []
    lazy_pinyin, style = _pypinyin()
    better = corrections(text)
    out = []
    for match in re.finditer(f"[{_HAN}]+", text):
        found = lazy_pinyin(match[0], style=style, neutral_tone_with_five=True, errors=_unreadable)
        out += [better.get(at, reading) for at, reading in enumerate(found, match.start())]
    return out


def readings_of(character: str) -> list[str]:
    """All Mandarin readings of one Han character, the usual one first."""
    from pypinyin import Style, pinyin

    usual = read(character)
    spelt_out = pinyin(character, style=Style.TONE3, heteronym=True, neutral_tone_with_five=True)[0]
    others = [r for r in spelt_out if _HUMMED.get(r[:-1], r[:-1]).replace("ü", "v") in _KNOWN]
    return list(dict.fromkeys(usual + [_checked(r, character) for r in others]))


@cache
def load_phrases() -> None:
    """Give pypinyin the phrases of CC-CEDICT, once in a process; half a second."""
    from pypinyin_dict.phrase_pinyin_data import cc_cedict

    cc_cedict.load()


@cache
def _pypinyin():  # type: ignore[no-untyped-def]
    """pypinyin with CC-CEDICT's phrases; half a second on first use, so never on import."""
    from pypinyin import Style, lazy_pinyin

    load_phrases()
    return lazy_pinyin, Style.TONE3


def _unreadable(characters: str) -> list[str]:
    return [_UNKNOWN] * len(characters)


def _checked(reading: str, character: str) -> str:
    body, tone = (reading[:-1], reading[-1]) if reading[-1:].isdigit() else (reading, "5")
    body = _HUMMED.get(body.replace("ü", "v"), body.replace("ü", "v"))
    if reading.startswith(_UNKNOWN):
        raise LyricsError(
            f"no reading of {character!r} is known: write it behind the character, as in {character}{{huan2}}"
        )
    if body not in _KNOWN or tone not in "12345":
        raise LyricsError(
            f"{character!r} is read {reading!r}, which is no Mandarin syllable: "
            f"write its reading behind it, as in {character}{{huan2}}"
        )
    return body + tone


def toneless(reading: str) -> str:
    """`toneless("zhang3") == "zhang"`."""
    return reading.rstrip("12345")


@lru_cache(maxsize=8192)
def split(reading: str) -> tuple[str, str, int]:
    """Initial (of `INITIALS`), final (of `FINALS`) and tone (0 when none is given) of a reading.

    A Latin word isn't pinyin; it gets the nearest initial and final of its first syllable by
    spelling and tone 0, so that a singer of Mandarin has something to sing.

    Raises:
        LyricsError: the reading is empty or has no letters.
    """
    match = _READING.fullmatch(reading)
    if match is None or match[1] not in _KNOWN:
        return _nearest(reading)
    body, tone = match[1], int(match[2] or 0)
    if body in _ZERO:
        return "", _ZERO[body], tone
    initial = next((i for i in (body[:2], body[:1]) if i in INITIALS), "")
    final = body[len(initial) :]
    if initial in ("j", "q", "x") and final.startswith("u"):
        final = "v" + final[1:]
    if final == "i" and initial in ("zh", "ch", "sh", "r", "z", "c", "s"):
        final = "-i"
    return initial, final, tone


_ENGLISH_INITIALS = {"th": "s", "v": "f", "w": "", "y": "", "wh": "", "ph": "f", "c": "k", "q": "k", "x": "s"}
_ENGLISH_FINALS = {
    "a": "a", "e": "ai", "i": "i", "o": "o", "u": "a", "y": "ai", "ee": "i", "ea": "i", "oo": "u", "ou": "ao",
    "ow": "ou", "ay": "ei", "ai": "ei", "igh": "ai", "ie": "ai", "oa": "ou", "au": "o", "aw": "o", "ey": "ei",
}  # fmt: skip


def _nearest(word: str) -> tuple[str, str, int]:
    match = re.match(r"([^aeiouy]*|y(?=[aeiou]))(igh|[aeiouy][aeiouyw]?)?", word.lower())
    if not word or not any(c.isalpha() for c in word):
        raise LyricsError(f"a reading is pinyin such as zhang3, or a word, but got {word!r}")
    assert match is not None, "the pattern matches the empty string"
    onset, vowel = match[1] or "", match[2] or "e"
    starts = (onset[:2], onset[:1])
    initial = next(
        (_ENGLISH_INITIALS.get(s, s) for s in starts if s in _ENGLISH_INITIALS or s in INITIALS), ""
    )
    return initial, _ENGLISH_FINALS.get(vowel, _ENGLISH_FINALS.get(vowel[:1], "e")), 0
