"""From a user's description back to attributes: the lexicon of the descriptions, read the other way.

Used to choose tempo and singer where no model answers, to warn of contradictions, and to check models.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import TypedDict

from common.description import Audience, normalise, simplified
from common.theory import FAMILY
from corpus import quantities
from corpus.speech import SCENES, forms, instrument_names, read, words

SLOW, FAST = 80, 110  # quarter notes a minute: below is slow, above is fast
_KINDS = ("genre", "mood", "tempo", "singer", "theme", "scale")


def _behind(table: str) -> dict[str, str]:
    """Name → what is nearest to it, of a table of the lexicon."""
    rows = read("asked")[table].items()
    return {name.replace("_", " "): near for near, names in rows for name in words(names)}


NEAREST, NEAREST_GENRES = _behind("instruments"), _behind("genres")
_SINGLE = "慢快燃酷雨哭鼓箫笛埙笙镲锣"  # one-character names that may be trusted
_NOT = "(?<!要)不要|不用|不需要|没有|没什么|不带|不含|去掉|不想要|不想听|不像|(?<!是)不是|并非|别用|别加|别有"
_NEGATION = re.compile(
    rf"(?:{_NOT})[^，,。；;、\s]{{0,2}}$|(?:不太|不那么|不怎么|无)$|(?<![离告分特个区])别[^，,。；;、\s]?$"
    r"|(?<![a-z])(?:no|not|without|don'?t\s+want)\s+(?:an?\s+|any\s+|too\s+|so\s+|very\s+)?$",
    re.IGNORECASE,
)
# A whole clause that says how the song is not to be: 不要那种哭哭啼啼的.
_CLAUSE_REFUSED = re.compile(
    r"(?<![^，,。；;!！？?\s])(?:千万|可)?(?:不要|不想要|不想听|别给我|别整|别来|别太|别那么|不能太|不是那种|受不了)"
    r"[^，,。；;!！？?\s]*"
)
_AND = ("和", "跟", "与", "、", "及", "或", "也不要", "or", "and", "nor")  # a refusal goes on behind these
# 鼓不要, 吉他和鼓都不要, 除了鼓都要: refusals that are said behind what they refuse, or around it.
_BEHIND = re.compile(
    r"(?<![^，,。；;!？?\s])([^，,。；;!？?\s不没别要]{1,12}?)(?:都|也|就|统统|全部?)?"
    r"(?:不要|不用|不需要|别加|别用|免了|去掉)了?(?=$|[，,。；;!？?\s])"
)
_EXCEPT = re.compile(
    r"除了([^，,。；;还也]{1,10}?)(?:以外|之外|外)?[，,]?(?:其他的?|别的|其余的?|什么)?都(?:要|可以|行|好)"
)
_ONLY = re.compile(r"(?:只要|只有|只用|仅有|仅用|只需要?|(?<![a-z])only\s)[^，,。；;]{0,12}$", re.IGNORECASE)
# 写给孩子的歌, a song for my girl: who listens doesn't sing. But a song for kids is one that kids sing.
_LISTENER = re.compile(r"(?:给|为|献给|哄|陪|讲|关于)[^，,。；;]{0,3}$")
_FOR = re.compile(r"(?<![a-z])(?:for|to|about)\s(?:my\s|an?\s|the\s)?$", re.IGNORECASE)
_STORY = re.compile("的?(?:故事|成长|梦想)")
# 给暗恋三年的女孩表白: who is far behind the word for giving listens too, unless singing is spoken of.
_FAR_LISTENER = re.compile(r"(?:给|跟|向|对|追|暗恋|喜欢)[^，,。；;唱]{0,8}$")
_SINGS = re.compile(r"[子们]?(?:来|的|一起)?(?:唱|声|嗓)")
# 今天很难过，来首欢快的歌: a feeling that is asked for comes before those that are told.
_WISHED = re.compile(
    r"(?:想听|听点|(?<!不)要|来[点首个段曲]|来一[首段曲]|求[一]?首|换[点首]|(?<!没)希望)[^，,。；;]{0,3}$"
)
_TIMBRE = re.compile("(?:音色|质感|音响)$")  # what follows describes an instrument, not the song
_THEME_BEFORE = re.compile(r"(?:关于|讲的是|讲|写|说|主题[为是]?|唱的是|说的是|围绕|取材于|以)[^，,。]{0,1}$")
_THEME_AFTER = re.compile(r"(?:的?主题|为主题|的事|的故事)")
_OF_A_SONG = re.compile("关于|[歌曲唱词]|音乐|旋律|主题|^写|(?<![a-z])song", re.IGNORECASE)
_STORY_LEAST = 4  # characters of a clause beside its names
_CLAUSES = re.compile(r"[^，,。；;、！!？?\s]+")
# 适合失恋听: when to hear the song. That is its theme only where nothing else is.
_OCCASION_BEFORE = re.compile(r"(?:适合|用于|用作|可作|匹配)$")
_OCCASION_AFTER = re.compile(r"(?:的时候)?(?:听|放|单曲循环)")
# 钢琴曲, 古筝独奏曲: a piece for an instrument. Where neither a singer nor words are mentioned nobody sings.
_PIECE_OF = re.compile("(?:独奏)?曲(?!风|调|式|目|线|艺)")
_WORDS = re.compile("唱|歌|词")


class Attributes(TypedDict, total=False):
    """What a description says; what it doesn't say is missing."""

    genre: str
    mood: str
    theme: str
    tempo: float  # quarter notes a minute, when a number was given
    tempo_class: str  # slow, medium or fast
    singer: str  # female, male, child or none
    instruments: tuple[str, ...]
    without: tuple[str, ...]  # instruments that were refused
    refused: dict[str, tuple[str, ...]]  # genre, mood, theme, singer, tempo_class → what was refused
    key: str  # read by common.theory.Key.parse
    mode: str  # major or minor: how the key is heard
    duration: float  # seconds, when a length was given


def tempo_class(bpm: float) -> str:
    """`slow` below 80, `fast` above 110, `medium` between, of whole quarter notes a minute."""
    return "slow" if round(bpm) < SLOW else "fast" if round(bpm) > FAST else "medium"


def attributes(text: str) -> Attributes:
    """Read the attributes that a description names.

    Longer names win over shorter ones they contain; 不要鼓, 鼓不要 and 没有人声 are understood as refusals,
    and 只要钢琴 refuses all other instruments. Of two values of one attribute the first is kept, as people
    name the main thing first. Traditional characters are read as simplified ones.
    """
    text = _plain(text)
    found: Attributes = {}
    instruments: list[str] = []
    without: list[str] = []
    refused: dict[str, list[str]] = {}
    piece, only = False, False
    for kind, value, negated in _said(text):
        name = {"tempo": "tempo_class", "nearest": "instrument"}.get(kind, kind)
        if kind == "only":
            only = True
        elif name == "instrument" and not negated:
            instruments.append(NEAREST.get(value, value) if kind == "nearest" else value)
        elif kind == "instrument":
            without.append(value)
        elif kind == "piece":
            piece |= not negated
        elif kind == "scale":
            other = {"major": "minor", "minor": "major"}
            found.setdefault("mode", other[FAMILY[value]] if negated else FAMILY[value])
        elif negated and kind in ("genre", "mood", "theme", "singer", "tempo"):
            refused.setdefault(name, []).append(value)
        elif not negated and kind not in ("scene", "nearest"):
            found.setdefault(name, value)  # type: ignore[misc]
    if piece and "singer" not in found and not _WORDS.search(text):
        found["singer"] = "none"
    if only and instruments:
        without += [name for name in read("speech")["instrument"] if name not in instruments]
    return _with_numbers(text, found, instruments, without, refused)


def substitutes(text: str) -> dict[str, str]:
    """What a description asks for and the corpus lacks, instruments and genres, with the nearest it has."""
    text = _plain(text)
    said = _said(text)
    found = {name: NEAREST[name] for kind, name, negated in said if kind == "nearest" and not negated}
    genres = (text[start:end].lower() for start, end in _names(text))
    return found | {name: NEAREST_GENRES[name] for name in genres if name in NEAREST_GENRES}


def refused_players(text: str) -> frozenset[str]:
    """Instruments that a description refuses, and their kin: who wants no piano wants no electric one.

    Kin has the refused one's name within its own. What it asks for isn't refused: 不要钢琴，电钢琴可以.
    """
    found, plain = attributes(text), _plain(text)
    refused = set(found.get("without", ()))
    asked = set(found.get("instruments", ()))
    families = refused - asked
    if "木吉他" in refused and not any(name in plain for name in instrument_names("木吉他")):
        families.add("吉他")  # any of them: 不要吉他
    kin = {
        name
        for name in read("speech")["instrument"]
        if any(word in alias.replace("低音吉他", "") for word in families for alias in instrument_names(name))
    }
    return frozenset((refused | kin) - asked)


def unnamed(text: str, kinds: Collection[str]) -> str:
    """A description without the names of some kinds, such as genre, and without what it refuses.

    A mark stands where they were. What is left may still hint at something.
    """
    text = _CLAUSE_REFUSED.sub("，", _plain(text))
    parts, last = [], 0
    for start, end in _names(text):
        meanings = _lexicon()[text[start:end].lower()]
        if meanings[0][0] in kinds or _NEGATION.search(text[last:start]):
            parts += [text[last:start], "，"]
            last = end
    return "".join([*parts, text[last:]])


def in_passing(text: str, kind: str) -> bool:
    """Whether names of a kind, such as theme, stand in nothing but clauses that tell a story: 在菜市场撞见.

    思乡 by itself, 关于母亲 and 母亲的歌 say what is wanted; where nothing is named nothing is in passing.
    """

    def named(clause: str) -> list[tuple[int, int]]:
        return [n for n in _names(clause) if kind in {k for k, _ in _lexicon()[clause[slice(*n)].lower()]}]

    return _in_passing(text, named)


def said_in_passing(text: str, word: str) -> bool:
    """Whether a word stands in nothing but such clauses."""
    return _in_passing(text, lambda clause: [m.span() for m in re.finditer(re.escape(word), clause)])


def _in_passing(text: str, places: Callable[[str], list[tuple[int, int]]]) -> bool:
    """The same of what stands at the `places` (start, end) of each clause."""
    found = False
    for clause in _CLAUSES.findall(_plain(text)):
        spans = places(clause)
        rest = len(clause) - sum(end - start for start, end in spans)
        told = rest >= _STORY_LEAST and not _OF_A_SONG.search(clause)
        told = told and not any(_THEME_BEFORE.search(clause[:start]) for start, _ in spans)
        if spans and not told:
            return False
        found |= bool(spans)
    return found


def _plain(text: str) -> str:
    """The text in one way of writing, with its refusals before what they refuse."""
    text = _EXCEPT.sub(r"不要\1", simplified(normalise(text)))
    return _BEHIND.sub(r"不要\1", text)


def _said(text: str) -> list[tuple[str, str, bool]]:
    """(kind, value, whether it is refused) of every name: wishes, those of one meaning, occasions last."""
    clear: list[tuple[str, str, bool]] = []
    double: list[tuple[str, str, bool]] = []
    wished: list[tuple[str, str, bool]] = []
    occasions: list[tuple[str, str, bool]] = []
    negated, last, kind = False, 0, ""
    for start, end in _names(text):
        meanings, before, after = _lexicon()[text[start:end].lower()], text[:start], text[end:]
        between = text[last:start]
        # Lists of wishes are parted by 、 too: it goes on only from one instrument to another.
        goes_on = between.strip() in _AND and (between.strip() != "、" or meanings[0][0] == kind)
        negated = bool(_NEGATION.search(between)) or (negated and goes_on)
        last, kind = end, meanings[0][0]
        if meanings[0][0] == "mood" and _TIMBRE.search(before):
            continue
        if meanings[0][0] in ("instrument", "nearest") and _ONLY.search(before):
            clear.append(("only", "", False))
        if meanings[0] == ("singer", "child") or meanings[0][0] == "person":
            grown = meanings[0][1] != "child"
            if _LISTENER.search(before) or _STORY.match(after) or (grown and _FOR.search(before)):
                continue
            if grown and _FAR_LISTENER.search(before) and not _SINGS.match(after):
                continue
            if meanings[0][0] == "person":
                occasions.append(("singer", meanings[0][1], negated))
                continue
        themes = [m for m in meanings if m[0] == "theme"]
        if themes and (_THEME_BEFORE.search(before) or _THEME_AFTER.match(after)):
            clear.append((*themes[0], negated))
        elif meanings[0][0] == "theme" and (_OCCASION_BEFORE.search(before) or _OCCASION_AFTER.match(after)):
            occasions.append((*themes[0], negated))
        elif meanings[0][0] == "mood" and not negated and _WISHED.search(before):
            wished.append((*meanings[0], negated))
        elif len(meanings) == 1:
            clear.append((*meanings[0], negated))
            if meanings[0][0] in ("instrument", "nearest") and _PIECE_OF.match(after):
                clear.append(("piece", "none", negated))
        else:
            double.append((*_first_free(meanings, wished + clear + double), negated))
    return wished + clear + double + occasions


def _first_free(meanings: tuple[tuple[str, str], ...], said: list[tuple[str, str, bool]]) -> tuple[str, str]:
    """Of several meanings (孤独 is a mood and a theme) the first whose kind hasn't been named yet."""
    named = {kind for kind, _, _ in said}
    return next((m for m in meanings if m[0] not in named), meanings[0])


def _with_numbers(
    text: str,
    found: Attributes,
    instruments: list[str],
    without: list[str],
    refused: dict[str, list[str]],
) -> Attributes:
    bpm, key, seconds = quantities.tempo(text), quantities.key(text), quantities.duration(text)
    if bpm:
        found["tempo"] = bpm
        found["tempo_class"] = tempo_class(bpm)
    if key:
        found["key"] = f"{key[0]} {key[1]}"
        found["mode"] = FAMILY[key[1]]
    if seconds:
        found["duration"] = seconds
    if instruments:
        found["instruments"] = tuple(dict.fromkeys(instruments))
    if without:
        found["without"] = tuple(dict.fromkeys(without))
    if refused:
        found["refused"] = {name: tuple(dict.fromkeys(values)) for name, values in refused.items()}
    return found


@cache
def _lexicon() -> dict[str, tuple[tuple[str, str], ...]]:
    """Name in lower case → the attributes it may mean, an attribute's own name before another's synonym."""
    meanings: dict[str, dict[tuple[str, str], int]] = {}

    def add(name: str, kind: str, value: str, rank: int) -> None:
        if len(name) > 1 or name in _SINGLE:
            meanings.setdefault(name.lower(), {}).setdefault((kind, value), rank)

    for kind in _KINDS:
        for value in read("speech")[kind]:
            for audience in Audience:
                for rank, name in enumerate(forms(kind, value, audience)):
                    add(name, kind, value, rank)
    for name in read("speech")["instrument"]:
        for rank, alias in enumerate(instrument_names(name)):
            add(alias, "instrument", name, rank)
    for kind, rows in read("asked")["more"].items():
        for value, names in rows.items():
            for name in names.split():
                add(name.replace("_", " "), kind, value, 99)
    for name in NEAREST:
        add(name, "nearest", name, 99)
    for name, genre in NEAREST_GENRES.items():
        add(name, "genre", genre, 99)
    for row in read("speech")["scene"].values():
        for name in (name for kind in SCENES for name in words(row[kind]) if len(name) > 2):
            if name.lower() not in meanings:
                add(name, "scene", name, 0)  # so that no mood or theme is read out of a likeness
    order = (
        "instrument",
        "nearest",
        "singer",
        "person",
        "genre",
        "tempo",
        "mood",
        "theme",
        "scale",
        "piece",
        "scene",
    )
    return {
        name: tuple(sorted(found, key=lambda m: (found[m] > 0, order.index(m[0]), found[m])))
        for name, found in meanings.items()
    }


def _names(text: str) -> Iterator[tuple[int, int]]:
    """Where names stand in the text: at each place the longest, then on behind it."""
    lowered, longest, start = text.lower(), _longest(), 0
    while start < len(text):
        ends = range(min(len(text), start + longest), start, -1)
        end = next((e for e in ends if lowered[start:e] in _lexicon() and _whole(text, start, e)), None)
        if end is not None:
            yield start, end
        start = end or start + 1


@cache
def _longest() -> int:
    return max(map(len, _lexicon()))


def _whole(text: str, start: int, end: int) -> bool:
    """Latin names are whole words."""
    head = start > 0 and _latin(text[start - 1]) and _latin(text[start])
    return not head and not (end < len(text) and _latin(text[end - 1]) and _latin(text[end]))


def _latin(character: str) -> bool:
    return character.isascii() and character.isalpha()
