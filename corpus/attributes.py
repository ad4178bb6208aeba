"""From a user's description back to attributes: the lexicon of the descriptions, read the other way.

Used to choose tempo and singer where no model answers, to warn of contradictions, and to check models.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import TypedDict

from common.description import Audience, normalise
from common.theory import FAMILY
from corpus.speech import SCENES, forms, instrument_names, read, words

SLOW, FAST = 80, 110  # quarter notes a minute: below is slow, above is fast
_KINDS = ("genre", "mood", "tempo", "singer", "theme", "scale")
# Said by users, though no description of the corpus says them. "_" stands for a space.
_MORE: dict[str, dict[str, str]] = {
    "singer": {
        "female": "女生 女孩 女人唱 姐姐唱 女嗓 女音 female woman girl",
        "male": "男生 男孩 男人唱 哥哥唱 男嗓 男音 大叔 male man boy",
        "child": "小孩 小朋友 孩子的声音 儿童唱 child children kid kids",
        "none": (
            "无歌词 不要歌词 不要有人唱 不带人声 不要唱歌 器乐 伴奏带 instrumental no_vocals no_vocal "
            "no_voice no_singing no_lyrics no_words "
            "without_vocals without_singing without_lyrics without_words"
        ),
    },
    "tempo": {
        "slow": "慢歌 慢一些 舒缓 缓慢 慢板 柔板 广板 slow",
        "medium": "行板 中等速度 中速的歌",
        "fast": "快歌 快一些 快板 急板 节奏感强 fast upbeat",
    },
    "mood": {
        "欢快": "欢乐 愉快 高兴 喜庆 happy cheerful", "忧郁": "郁闷",
        "伤感": "想哭 哭 悲 伤心 心碎 心痛 失落 崩溃 emo sad",
        "宁静": "安宁 平和 calm peaceful", "激昂": "励志 澎湃 鼓舞 兴奋 epic",
        "浪漫": "romantic", "梦幻": "dreamy", "怀旧": "nostalgic", "热血": "energetic",
    },
    "theme": {
        "下雨天": "雨", "思乡": "家乡 老家", "母亲": "母亲节", "父亲": "父亲节", "告白": "情人节",
        "失恋": "前女友 前男友", "婚礼": "结婚纪念日 婚庆", "打工": "搬砖 外卖小哥 农民工 社畜",
        "月亮": "中秋节", "过年": "大年三十", "宠物": "我的猫 我的狗 狗狗 小动物 喵星人", "草原": "呼伦贝尔",
    },
    "genre": {
        "节奏布鲁斯": "rnb 蓝调", "嘻哈": "hiphop hip_hop rap", "电子": "electronic", "流行": "pop",
        "抒情": "ballad",
    },
    "piece": {
        "none": "轻音乐 背景音乐 bgm 交响乐 交响曲 协奏曲 奏鸣曲 圆舞曲 进行曲 小夜曲 夜曲 器乐曲 只要伴奏"
    },
    "scene": {"女朋友": "女朋友 男朋友 朋友圈"},
    "instrument": {
        "架子鼓": "鼓 打击乐 drums", "木吉他": "吉他 吉它 结他 guitar", "电吉他": "电吉它",
        "弦乐": "提琴组 管弦乐团 交响乐团", "钢琴": "piano", "小提琴": "提琴 violin", "大提琴": "cello",
        "贝斯": "bass", "萨克斯": "sax saxophone", "长笛": "flute", "笛子": "笛", "小号": "trumpet",
        "二胡": "erhu", "古筝": "guzheng", "琵琶": "pipa",
    },
}  # fmt: skip
# Instruments that the corpus doesn't have, behind the one it has that sounds most like them.
_LIKE = {
    "双簧管": "唢呐 风笛", "箫": "葫芦丝 巴乌 埙 陶笛", "口琴": "笙", "长笛": "口哨 竖笛 短笛",
    "单簧管": "巴松 大管", "长号": "圆号", "大提琴": "马头琴 中提琴", "二胡": "京胡 高胡 板胡",
    "古筝": "古琴 箜篌 扬琴", "琵琶": "三弦 柳琴 月琴 中阮 大阮", "竖琴": "里拉琴",
    "木吉他": "尤克里里 ukulele 曼陀林",
    "颤音琴": "木琴 马林巴 手碟 钢鼓", "音乐盒": "卡林巴 拇指琴", "钢片琴": "编钟 风铃",
    "电钢琴": "电子琴 键盘", "沙锤与打击乐": "手鼓 非洲鼓 铃鼓", "中国鼓": "镲 锣 定音鼓",
}  # fmt: skip
NEAREST = {name: near for near, names in _LIKE.items() for name in names.split()}
_SINGLE = "慢快燃酷雨哭鼓箫笛埙笙镲锣"  # one-character names that may be trusted
_NOT = "不太|不那么|不要|不用|不需要|没有|不带|不含|去掉|不想要|别用|别加|别有|无|别"
_NEGATION = re.compile(
    rf"(?:{_NOT})[^，,。；;、\s]{{0,2}}$|(?<![a-z])(?:no|not|without)\s+(?:an?\s+|any\s+)?$", re.IGNORECASE
)
_AND = ("和", "跟", "与", "、", "及", "或", "也不要")  # a refusal goes on behind these
_TIMBRE = re.compile("(?:音色|质感|音响)$")  # what follows describes an instrument, not the song
_THEME_BEFORE = re.compile(r"(?:关于|讲的是|讲|写|说|主题[为是]?|唱的是|说的是|围绕|取材于|以)[^，,。]{0,1}$")
_THEME_AFTER = re.compile(r"(?:的?主题|为主题|的事|的故事)")
# 适合失恋听: when to hear the song. That is its theme only where nothing else is.
_OCCASION_BEFORE = re.compile(r"(?:适合|用于|用作|可作|匹配)$")
_OCCASION_AFTER = re.compile(r"(?:的时候)?(?:听|放|单曲循环)")
# 钢琴曲, 古筝独奏曲: a piece for an instrument. Where neither a singer nor words are mentioned nobody sings.
_PIECE_OF = re.compile("(?:独奏)?曲(?!风|调|式|目|线|艺)")
_WORDS = re.compile("唱|歌|词")
_BPM = re.compile(r"(\d{2,3})(?:\.\d+)?\s*(?:bpm|拍)|(?:bpm|速度)\s*[为是:]?\s*(\d{2,3})", re.IGNORECASE)
# In small letters too, as people type; but "in a minor key" names no tonic, and "am" no chord.
_KEY = re.compile(
    r"(?<![A-Za-z/-])(?:"
    r"([升降]?[A-Ga-g][#b♯♭]?)\s*(大调|小调|宫调式|羽调式|多利亚|混合利底亚|布鲁斯)|"
    r"([升降]?(?:[A-Gb-g][#b♯♭]?|a[#b♯♭]))\s*(major|minor)|"
    r"([升降]?[A-G][#b♯♭]?)\s*(m(?![A-Za-z0-9/-])))"
)
_SCALE_OF = {
    "大调": "major", "小调": "minor", "宫调式": "gong", "羽调式": "yu", "多利亚": "dorian",
    "混合利底亚": "mixolydian", "布鲁斯": "blues", "m": "minor",
}  # fmt: skip


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
    key: str  # read by common.theory.Key.parse
    mode: str  # major or minor: how the key is heard


def tempo_class(bpm: float) -> str:
    """`slow` below 80, `fast` above 110, `medium` between, of whole quarter notes a minute."""
    return "slow" if round(bpm) < SLOW else "fast" if round(bpm) > FAST else "medium"


def attributes(text: str) -> Attributes:
    """Read the attributes that a description names.

    Longer names win over shorter ones they contain; 不要鼓 and 没有人声 are understood as refusals. Of two
    values of one attribute the first is kept, as people name the main thing first.
    """
    text = normalise(text)
    found: Attributes = {}
    instruments: list[str] = []
    refused: list[str] = []
    piece = False
    for kind, value, negated in _said(text):
        if kind == "instrument":
            (refused if negated else instruments).append(value)
        elif kind == "nearest":
            if not negated:  # who refuses what the corpus lacks doesn't refuse its likeness
                instruments.append(NEAREST[value])
        elif kind == "piece":
            piece |= not negated
        elif kind == "scale" and not negated:
            found.setdefault("mode", FAMILY[value])
        elif not negated and kind != "scene":
            found.setdefault({"tempo": "tempo_class"}.get(kind, kind), value)  # type: ignore[misc]
    if piece and "singer" not in found and not _WORDS.search(text):
        found["singer"] = "none"
    return _with_numbers(text, found, instruments, refused)


def substitutes(text: str) -> dict[str, str]:
    """The instruments that a description asks for and the corpus lacks, with the nearest that it has."""
    said = _said(normalise(text))
    return {name: NEAREST[name] for kind, name, negated in said if kind == "nearest" and not negated}


def _said(text: str) -> list[tuple[str, str, bool]]:
    """(kind, value, whether it is refused) of every name: first those of one meaning, occasions last."""
    clear: list[tuple[str, str, bool]] = []
    double: list[tuple[str, str, bool]] = []
    occasions: list[tuple[str, str, bool]] = []
    negated, last = False, 0
    for start, end in _names(text):
        meanings, before, after = _lexicon()[text[start:end].lower()], text[:start], text[end:]
        negated = bool(_NEGATION.search(before)) or (negated and text[last:start] in _AND)
        last = end
        if meanings[0][0] == "mood" and _TIMBRE.search(before):
            continue
        themes = [m for m in meanings if m[0] == "theme"]
        if themes and (_THEME_BEFORE.search(before) or _THEME_AFTER.match(after)):
            clear.append((*themes[0], negated))
        elif meanings[0][0] == "theme" and (_OCCASION_BEFORE.search(before) or _OCCASION_AFTER.match(after)):
            occasions.append((*themes[0], negated))
        elif len(meanings) == 1:
            clear.append((*meanings[0], negated))
            if meanings[0][0] in ("instrument", "nearest") and _PIECE_OF.match(after):
                clear.append(("piece", "none", negated))
        else:
            double.append((*_first_free(meanings, clear + double), negated))
    return clear + double + occasions


def _first_free(meanings: tuple[tuple[str, str], ...], said: list[tuple[str, str, bool]]) -> tuple[str, str]:
    """Of several meanings (孤独 is a mood and a theme) the first whose kind hasn't been named yet."""
    named = {kind for kind, _, _ in said}
    return next((m for m in meanings if m[0] not in named), meanings[0])


def _with_numbers(text: str, found: Attributes, instruments: list[str], refused: list[str]) -> Attributes:
    bpm, key = _BPM.search(text), _KEY.search(text)
    if bpm:
        found["tempo"] = float(bpm[1] or bpm[2])
        found["tempo_class"] = tempo_class(found["tempo"])
    if key:
        named, scale = (part for part in key.groups() if part)
        scale = _SCALE_OF.get(scale, scale)
        tonic = named[1:] + {"升": "#", "降": "b"}[named[0]] if named[0] in "升降" else named
        tonic = tonic[0].upper() + tonic[1:]
        found["key"] = f"{tonic.replace('♯', '#').replace('♭', 'b')} {scale}"
        found["mode"] = FAMILY[scale]
    if instruments:
        found["instruments"] = tuple(dict.fromkeys(instruments))
    if refused:
        found["without"] = tuple(dict.fromkeys(refused))
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
    for kind, rows in _MORE.items():
        for value, names in rows.items():
            for name in names.split():
                add(name.replace("_", " "), kind, value, 99)
    for name in NEAREST:
        add(name, "nearest", name, 99)
    for row in read("speech")["scene"].values():
        for name in (name for kind in SCENES for name in words(row[kind]) if len(name) > 2):
            if name.lower() not in meanings:
                add(name, "scene", name, 0)  # so that no mood or theme is read out of a likeness
    order = ("instrument", "nearest", "singer", "genre", "tempo", "mood", "theme", "scale", "piece", "scene")
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
