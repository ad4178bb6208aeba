"""What a caller and a description decide of a song's plan, and what of it can't be followed.

A wish is a value of a plan's field (`lyrics_llm.tokens.PLAN_FIELDS`), a collection of values that are
allowed, or a number. The caller's win over the description's; what neither decides is the model's choice,
within what suits an occasion, a singer and a mood (`lyrics_llm.occasions`). What a description names comes
before what it hints at (`lyrics_llm.hints`).
"""

import logging
import math
import re
from collections.abc import Collection, Mapping
from functools import cache
from numbers import Real
from typing import Any

from common.description import fragments, normalise, simplified
from common.errors import RequestError
from common.theory import FAMILY, SCALES, Key
from corpus.attributes import Attributes, attributes, in_passing, refused_players, said_in_passing
from corpus.forms import check_tempo
from corpus.genres import GENRES
from corpus.moods import feeling
from corpus.words import THEMES
from lyrics_llm import requested, suiting
from lyrics_llm import tokens as t
from lyrics_llm.hints import hinted
from lyrics_llm.occasions import (
    is_background,
    is_for_children,
    is_sung,
    is_to_be_sung,
    minds_children,
    occasion,
    refused_themes,
)

logger = logging.getLogger(__name__)

_CHOICES = ("genre", "mood", "theme", "singer", "tempo", "key", "swing", "harmony", "lead")
_CLEARLY = 0.55  # valence from which a mood decides between major and minor
_TEMPI = {"slow": (50, 80), "medium": (80, 110), "fast": (112, 180)}
_PACES = _TEMPI | {"easy": (60, 100)}  # of occasions
_MILDLY = {"slow": (70, 92), "medium": (80, 110), "fast": (100, 124)}
# From which probability a hint counts. Beside an occasion it has to say more, above all where the occasion is
# what is asked for, and more again against a theme that is named in passing. A voice and a pace may be open;
# a child, or nobody, sings only where that is clear. For a mood a weak hint is better than none.
# Occasions decide on themes and moods.
_BESIDE, _IN_PASSING = {"theme": 0.5, "mood": 0.5}, {"theme": 0.5, "mood": 0.25}
_CLEAR = 0.6
_LEAST = {"theme": 0.2, "mood": 0.0, "genre": 0.25, "singer": 0.5, "pace": 0.5}
_LEAST_OF = {"child": 0.75, "none": 0.8}
# Who refuses one voice expects the other.
_OTHER_SINGER = {"female": ("male",), "male": ("female",), "child": ("female", "male")}
# Of whom descriptions speak most; the corpus has none of them.
_SINGERS = (
    "周杰伦|林俊杰|陈奕迅|邓紫棋|王菲|张学友|刘德华|薛之谦|毛不易|李荣浩|孙燕姿|蔡依林|许嵩|汪苏泷|华晨宇"
    "|周深|张杰|邓丽君|李宗盛|罗大佑|崔健|朴树|许巍|汪峰|李健|赵雷|宋冬野|陈粒|告五人|梁静茹|张惠妹|张韶涵"
    "|刀郎|凤凰传奇|李谷一|费玉清|张国荣|梅艳芳|陶喆|王力宏|方大同|田馥甄|杨千嬅|蔡健雅|(?:五月天|房东的猫|beyond)(?:乐队|[那式风])"
    r"|taylor\s?swift"
)
_UNHEEDED = {
    "a song that is sung has a chorus": r"(?:没有?|不要|无|去掉|不带)副歌",
    "songs are written in 4/4": (
        r"[48四八]\s*分之\s*(?:12|十二|[235679二三五六七九])|"
        r"[三五六七35679]拍子|四三拍|八六拍|八九拍|圆舞曲|华尔兹|(?<!\d)(?:[35679]|12)\s*/\s*[48](?!\d)|waltz"
    ),
    "one voice sings": (
        r"[男女]{2}(?:声|生)?对唱|对唱|二重唱|[男女]{2}(?:声|生)?合唱|混声|[两二]个人(?:一起)?唱|\bduet"
        r"|先[男女]声?后[男女]声?"
    ),
    "instruments always play": r"阿卡贝拉|无伴奏|清唱|不要伴奏|\ba\s?cappella",
    "voices sing words": r"哼唱|吟唱|哼鸣|啦啦啦|\bhumming",
    "words are sung in Mandarin": (
        r"粤语|广东话|闽南语|台语|客家话|四川话|东北话|方言|[日韩法俄德藏蒙]语|[日韩]文歌?|西班牙语"
    ),
    "words that are written are Chinese": r"英[文语](?:歌|词|版|演唱|唱)?|(?:in|sing)\s+english",
    "a song keeps one tempo": (
        r"渐快|渐慢|变速|越来越[快慢]|慢慢变快|(?:先|由)[慢快][后到至转][快慢]|\baccelerando|\britardando"
    ),
    "a song keeps one key": r"转调|变调|升(?:半|一|半个|一个)?(?:key|调)(?![式性])|\bkey change|\bmodulat\w+",
    "a song is made like no other": (
        r"(?:模仿|翻唱)[^，,。；;、\s]{1,8}|(?:像|类似|仿)[^，,。；;、\s]{2,8}?(?:那样|一样)?的?(?:唱法|嗓音|声线|唱腔)"
        rf"|(?:{_SINGERS})(?:那样|一样|那种|式|的)?(?:的?(?:风格|感觉|唱法|声音|嗓音|歌))?"
    ),
    "chords follow the key and the melody": (
        r"卡农(?:和弦|进行|走向)|(?:和弦(?:进行|走向)?(?:是|为|用|走|[:：])?\s*)[1-7](?:\s*[-–—→,]?\s*[1-7]){2,}"
        r"|(?<!\d)[1-7](?:\s*[-–—→,]?\s*[1-7]){2,}\s*(?:的?和弦|进行|走向|套路)"
        r"|(?<![a-z])[a-g][#b♯♭]?(?:maj|m|min|dim|sus)?\d?(?:\s*[-–—→]\s*[a-g][#b♯♭]?(?:maj|m|min|dim|sus)?\d?){2,}+"
        r"(?![a-z]|\s*(?:的|式)?(?:曲式|结构|形式|form|structure))"
    ),
    "choruses are the loudest": (  # 主歌安静，副歌有力 is what they are anyway
        r"(?:主歌|开头|前奏|尾奏|结尾)(?:部分|段)?(?:要|得|很|更|就|比较)*(?:激昂|爆发|高昂|强烈|热烈|释放|炸|燃|有力|高亢)"
        r"|(?:副歌|高潮)(?:部分|段)?(?:要|得|很|更|就|比较)*(?:安静|压抑|低沉|平静|柔|舒缓|克制|内敛|平淡)"
    ),
    "a plan has one mood and one genre": (
        r"[前后]半[段首部]|先(?!男|女|[慢快]后)[^，,。；;先后]{1,6}后(?![来面天悔])[^，,。；;]{1,6}"
    ),
}


_LINES = re.compile(  # what `lyrics_llm.requested` doesn't read of a form and a rhyme
    r"每[段节][两二三四五六八2-8][句行]|每[句行](?:都是|是|写)?[三四五六七八九十3-9]+个?[字言]|[五七]言[绝律]?[句诗]"
    r"|\d+\s*秒的?[前间尾]奏|[前间尾]奏(?:要|得)?(?:\d+\s*秒|[长短])"
)
_RHYMED = re.compile(r"押\s*[a-z\u4e00-\u9fff]{1,4}韵|双押")


def wishes_of(
    description: str, fixed: Mapping[str, Any], read: bool = True, hints: bool = True
) -> dict[str, Any]:
    """What the caller and the description decide, by plan field; values or collections of them.

    Args:
        read: whether what the description says outright counts, or the caller's alone.
        hints: whether what it hints at counts as well; a large model understands that better by itself.
    Raises:
        RequestError: nothing is described, or a field or its value is unknown.
    """
    fragments(description)  # raises when nothing is said
    fixed = {name: value for name, value in fixed.items() if value is not None}
    wishes: dict[str, Any] = {}
    for name, value in fixed.items():
        if name not in _CHOICES:
            raise RequestError(f"a plan has no {name!r}: choose {', '.join(_CHOICES)}")
        if name == "key":
            key = Key.parse(value) if isinstance(value, str) else value
            wishes |= {"tonic": key.tonic, "scale": key.scale}
        elif name == "tempo":
            wishes[name] = check_tempo(value)
        elif name == "swing":
            wishes[name] = _check_swing(value)
        elif value not in t.PLAN_FIELDS[name]:
            allowed = "、".join(map(str, t.PLAN_FIELDS[name]))
            raise RequestError(f"{name} {value!r} isn't known: choose one of {allowed}")
        else:
            wishes[name] = value
    if not read:
        return wishes
    text = simplified(normalise(description))
    for reason, words in _UNHEEDED.items():
        if match := re.search(words, text, re.IGNORECASE):
            logger.warning("%s: %s isn't followed", reason, match[0])
    return _read(description, fixed, hints) | wishes


def tokens_of(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers moved to the vocabulary's grid."""
    grid: dict[str, tuple[float, ...]] = {"tempo": t.TEMPI, "swing": t.SWINGS}
    out = {k: v for k, v in wishes.items() if v != ()}
    for name, steps in grid.items():
        if isinstance(out.get(name), float | int):
            out[name] = min(steps, key=lambda step: abs(step - wishes[name]))
    return out


# What a song is said to be about: 关于机器人, 给我的仓鼠写首歌, about war.
_SUBJECT = re.compile(
    r"关于([\u4e00-\u9fffa-z]{1,10}?)(?:的|$|[,。])|(?:写|唱)给(?:我的?)?([\u4e00-\u9fff]{1,6}?)的?(?:歌|$|[,。])"
    r"|给(?:我的?)?([\u4e00-\u9fff]{1,6}?)写|\babout ([a-z][a-z ]{1,30})"
)


def say_nearest(description: str, singer: str, theme: str) -> None:
    """That the words aren't of what the song is for, where that has no theme of its own."""
    if singer == "none" or attributes(description).get("theme") in THEMES:
        return
    found = occasion(description)
    if found is not None and theme in found[1].themes and not found[1].known:
        logger.warning(
            "the lyric model has no theme for %s: it writes of %s, the nearest that it knows", found[0], theme
        )
        return
    subject = _SUBJECT.search(simplified(normalise(description)).lower())
    if subject and found is None and not is_themed(description):
        said = next(part for part in subject.groups() if part)
        logger.warning("the lyric model has no theme for %s: it writes of %s", said, theme)


def is_themed(description: str) -> bool:
    """Whether a description says what the words are about, or the few things that they could be about."""
    fragments(description)  # raises when nothing is said
    theme = _read(description, {}, hints=True).get("theme")
    return isinstance(theme, str) or (isinstance(theme, tuple) and len(theme) <= len(THEMES) // 3)


def say_unasked(description: str, structure: bool, rhyme: bool) -> None:
    """That lines or a rhyme that a description names aren't followed, where they aren't asked for apart."""
    text = simplified(normalise(description))
    if not structure and (match := _LINES.search(text)):
        logger.warning("lines follow from the length: %s isn't followed; ask for it as a structure", match[0])
    if not rhyme and not requested.rhyme(text) and (match := _RHYMED.search(text)):
        logger.warning("the writer chooses the rhymes: %s isn't followed; ask for it as a rhyme", match[0])


def refuses_drums(description: str) -> bool:
    """Whether it says 不要鼓, or names another kit that is not to play, and asks for none."""
    kits = {kit.name for genre in GENRES.values() for kit in genre.kits}
    found = attributes(description)
    return bool(kits.intersection(found.get("without", ()))) and kits.isdisjoint(found.get("instruments", ()))


# ---- what a description says -------------------------------------------------------------------


def _read(description: str, fixed: Mapping[str, Any], hints: bool) -> dict[str, Any]:
    found = attributes(description)
    wishes = _said(found, refused_players(description), fixed.get("singer"))
    refused = found.get("refused", {})
    if "genre" not in wishes and "genre" in refused:
        wishes["genre"] = tuple(v for v in t.PLAN_FIELDS["genre"] if v not in refused["genre"])
    if "mood" not in wishes and "mood" in refused:
        alike = {near for mood in refused["mood"] for near in suiting.alike(mood)}
        wishes["mood"] = tuple(v for v in t.PLAN_FIELDS["mood"] if v not in alike)
    if "tempo" not in found and "tempo_class" in refused:
        wishes["tempo"] = _tempi_but(found.get("tempo_class"), refused["tempo_class"])
    wishes |= _occasional(description, {**wishes, **fixed})
    unsuited = {*refused.get("theme", ()), *refused_themes(description)}
    if unsuited and not isinstance(wishes.get("theme"), str):
        left = tuple(theme for theme in wishes.get("theme", THEMES) if theme not in unsuited)
        wishes["theme"] = left or tuple(theme for theme in THEMES if theme not in unsuited)
    if hints:
        unwanted = {"theme": unsuited, "singer": refused.get("singer", ())}
        wishes |= _hinted(description, {**wishes, **fixed}, fixed, unwanted)
    if "singer" not in wishes:
        wishes |= _singers(description, refused.get("singer", ()))
    return wishes | _suited(description, {**wishes, **fixed})


def _suited(description: str, decided: Mapping[str, Any]) -> dict[str, Any]:
    """A mood for the theme and a genre for the rest, as far as nobody has decided on them."""
    wishes: dict[str, Any] = {}
    free = "genre" not in decided
    if "mood" not in decided and (moods := suiting.moods(decided.get("theme"), decided.get("genre"))):
        wishes["mood"] = moods
    if free or not isinstance(decided["genre"], str):
        fitting = suiting.genres({**decided, **wishes}, drums=not refuses_drums(description))
        left = tuple(g for g in decided.get("genre", fitting) if g in fitting)
        if left and len(left) < len(GENRES):
            wishes["genre"] = left
    return wishes


def _hinted(
    description: str,
    decided: Mapping[str, Any],
    fixed: Mapping[str, Any],
    refused: Mapping[str, Collection[str]],
) -> dict[str, Any]:
    """What the description hints at, of what nobody has decided; of what is left where something is refused.

    Args:
        decided: what the description names and its occasion, and what the caller fixes.
        refused: themes and singers that aren't to be.
    """
    among = {kind: wish for kind, wish in decided.items() if isinstance(wish, tuple)}
    among["singer"] = tuple(s for s in t.PLAN_FIELDS["singer"] if s not in refused["singer"])
    if is_sung(description):
        among["singer"] = tuple(s for s in among["singer"] if s != "none")
    if minds_children(description):
        among["singer"] = tuple(s for s in among["singer"] if s != "child")
    if refuses_drums(description):
        quiet = suiting.genres({}, drums=False)
        among["genre"] = tuple(g for g in among.get("genre", quiet) if g in quiet)
    # An occasion has its themes and moods: a train is for journeys. But tears on a platform are clear.
    beside: Mapping[str, float] = {}
    if (found := occasion(description)) is not None:
        beside = _IN_PASSING if said_in_passing(description, found[0]) else _BESIDE
        among = {kind: wish for kind, wish in among.items() if kind not in beside}
    wishes: dict[str, Any] = {}
    for kind, hint in hinted(description, among).items():
        if hint.probability < max(_LEAST_OF.get(hint.label, _LEAST[kind]), beside.get(kind, 0.0)):
            continue
        if kind == "pace":
            wishes |= {} if "tempo" in decided else {"tempo": _tempi(hint.label)}
        elif isinstance(decided.get(kind), tuple | None):
            wishes[kind] = hint.label
    if "theme" not in fixed:
        wishes |= _story(description, decided.get("theme"), refused["theme"])
    return wishes


def _story(description: str, theme: object, refused: Collection[str]) -> dict[str, Any]:
    """The theme that a description clearly tells of, where others only suit or are named in passing."""
    if isinstance(theme, str) and not in_passing(description, "theme"):
        return {}
    hint = hinted(description, {"theme": [one for one in THEMES if one not in refused]}).get("theme")
    return {"theme": hint.label} if hint is not None and hint.probability >= _CLEAR else {}


def _said(found: Attributes, refused: Collection[str], singer: object) -> dict[str, Any]:
    """The attributes that a description names, as plan fields; names that aren't fields are passed over.

    Args:
        refused: instruments.
        singer: the caller's, who wins over the description's.
    """
    wishes: dict[str, Any] = {
        name: found[name]  # type: ignore[literal-required]
        for name in ("genre", "mood", "theme", "singer")
        if found.get(name) in t.PLAN_FIELDS[name]
    }
    if "tempo" in found:
        wishes["tempo"] = found["tempo"]
    elif "tempo_class" in found:
        wishes["tempo"] = _tempi(found["tempo_class"])
    if "key" in found:
        key = Key.parse(found["key"])
        wishes |= {"tonic": key.tonic, "scale": key.scale}
    elif "mode" in found:
        wishes["scale"] = tuple(s for s in SCALES if FAMILY[s] == found["mode"] and s in _scales_of(found))
    elif scales := _scales_felt(found):
        wishes["scale"] = scales
    return wishes | _players(found, refused, sung=(singer or found.get("singer")) != "none")


def _singers(description: str, refused: tuple[str, ...]) -> dict[str, Any]:
    """Who may sing where nobody is named: grown-ups, and a child where somebody small is spoken of."""
    if is_background(description) and "none" not in refused:
        return {"singer": "none"}
    allowed = ["female", "male"]
    for name in refused:
        allowed = [singer for singer in allowed if singer in _OTHER_SINGER.get(name, allowed)]
    if is_for_children(description) and "child" not in refused:
        allowed.append("child")
    if not is_to_be_sung(description) and "none" not in refused:
        return {"singer": (*allowed, "none")}
    return {"singer": tuple(allowed) or tuple(s for s in t.PLAN_FIELDS["singer"] if s not in refused)}


def _players(found: Attributes, refused: Collection[str], sung: bool) -> dict[str, Any]:
    """Who plays of the instruments that a description names, or anybody but those that it refuses.

    The first named plays the chords, the last one the tune: where nobody sings anybody may, also one who
    plays the chords if no other is named (钢琴曲), behind a singer only who leads songs.
    """
    tunes = _sung_leads() if sung else t.PLAN_FIELDS["lead"]
    wishes: dict[str, Any] = {}
    for role, known in (("harmony", t.PLAN_FIELDS["harmony"]), ("lead", tunes)):
        wished = [i for i in found.get("instruments", ()) if i in known]
        if wished and role == "harmony":
            wishes[role] = wished[0]
        elif wished:
            others = [i for i in wished if i != wishes.get("harmony")]
            wishes[role] = (others or wished)[-1]
        elif refused:
            # Where all who lead songs are refused (只要钢琴), whoever is left has the tune.
            left = [i for i in known if i not in refused]
            wishes[role] = tuple(left or [i for i in t.PLAN_FIELDS[role] if i not in refused])
    return wishes


@cache
def _sung_leads() -> tuple[str, ...]:
    """The instruments that have the tune between the lines of sung songs."""
    return tuple(sorted({i.name for genre in GENRES.values() for i in genre.leads}))


def _occasional(description: str, decided: Mapping[str, Any]) -> dict[str, Any]:
    """Of an occasion its themes, mood and pace; without one the themes that suit the singer and the mood."""
    found = occasion(description)
    fitting = suiting.themes(decided.get("singer"), decided.get("mood"))
    wishes: dict[str, Any] = {}
    if found is None and "theme" not in decided and decided.get("mood") in THEMES:
        return {"theme": decided["mood"]}  # 想家 is a feeling and what the song is of
    if found is None:
        return {"theme": fitting} if "theme" not in decided and len(fitting) < len(THEMES) else {}
    if "theme" not in decided:
        wishes["theme"] = tuple(one for one in found[1].themes if one in fitting) or found[1].themes
    if found[1].moods and "mood" not in decided:
        wishes["mood"] = found[1].moods
    if found[1].tempo and "tempo" not in decided:
        low, high = _PACES[found[1].tempo]
        wishes["tempo"] = tuple(tempo for tempo in t.TEMPI if low <= tempo <= high)
    return wishes


def _check_swing(value: object) -> float:
    """The swing as a number. Raises RequestError when it isn't one that a score has."""
    swing = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= swing <= 1:
        raise RequestError(f"swing is 0 (straight) to 1, but {value!r} was asked")
    return swing


def _tempi_but(wished: str | None, refused: Collection[str]) -> tuple[float, ...]:
    """The tempi that aren't refused; of a class that is wished and refused, its mild half: 快，但不要太快."""
    if wished is not None and wished in refused:
        low, high = _MILDLY[wished]
        return tuple(tempo for tempo in t.TEMPI if low <= tempo <= high)
    return tuple(tempo for name in _TEMPI if name not in refused for tempo in _tempi(name))


def _tempi(name: str) -> tuple[float, ...]:
    """The tempi of the vocabulary that are slow, medium or fast."""
    low, high = _TEMPI[name]
    return tuple(tempo for tempo in t.TEMPI if low <= tempo <= high)


def _scales_felt(found: Attributes) -> tuple[str, ...]:
    """The scales as bright or dark as a named mood, where it is clearly one and the genre has any.

    The model has seen a mood mostly with its own genres, and people ask for sad pop.
    """
    valence = feeling(found.get("mood", "")).valence
    if abs(valence) < _CLEARLY:
        return ()
    family = "major" if valence > 0 else "minor"
    return tuple(scale for scale in _scales_of(found) if FAMILY[scale] == family)


def _scales_of(found: Attributes) -> tuple[str, ...]:
    """The scales that a named genre is written in; all when none is named."""
    genre = found.get("genre")
    return tuple(GENRES[genre].harmony) if genre in GENRES else tuple(SCALES)
