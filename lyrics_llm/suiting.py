"""What of a plan suits what: genres a mood, a pace and players; moods a theme; themes a singer and a mood.

A description names few fields of a plan, and the writer has met each mood with the genres of its own rows
only: asked for something tender it may well take up dance music. What nobody has decided is narrowed here to
what goes with the rest; among that the writer chooses.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from corpus.genres import GENRES
from corpus.moods import feeling
from corpus.plan import stirs_as
from corpus.styles import Genre
from corpus.words import THEMES

# Who wants these says so: none of them is taken for a feeling that isn't its own, nor where nothing is said.
_ASKED_FOR = ("嘻哈", "雷鬼", "放克", "爵士", "节奏布鲁斯")
_TOLD_IN = {"江湖": "古风"}  # themes that one genre tells of, where nothing else is wished
_NEAR = 0.501  # on the circumplex: a genre has a feeling like a mood, though not the mood itself
_ALIKE = 0.35  # closer: who refuses one of two moods means both
_CALM, _STIRRING = -0.2, 0.5  # arousal from which a mood wants to be slow, or fast
_BRISK, _SLUGGISH = 90, 100  # quarter notes a minute: genres never slower, or never faster
_BENT = 1.1  # how far a genre goes beyond its own tempi
_DRUMLESS = 0.3  # share of songs without drums from which a genre can do without

# The moods that go with a theme. Others go with too many.
_SOFT = "温暖 温柔 深情 怀旧 思念 思乡"
_MOODS: dict[str, tuple[str, ...]] = {
    theme: tuple(moods.split())
    for theme, moods in {
        "母亲": _SOFT,
        "父亲": _SOFT,
        "思乡": "思乡 思念 怀旧 深情 伤感 孤独 苍凉 悠远",
        "离别": "伤感 思念 深情 怀旧 忧郁 思乡 苍凉",
        "失恋": "伤感 忧郁 孤独 思念 深情 深沉 苍凉",
        "孤独": "孤独 忧郁 伤感 宁静 深沉 苍凉 慵懒",
        "失眠": "孤独 忧郁 伤感 宁静 深沉 慵懒",
        "婚礼": "浪漫 温暖 深情 温柔 优雅 欢快",
        "告白": "浪漫 温暖 温柔 深情 青春 欢快 俏皮",
        "初恋": "浪漫 温暖 温柔 青春 怀旧 深情 欢快",
        "过年": "欢快 温暖 阳光 轻松 俏皮 狂欢",
        "宠物": "俏皮 温暖 轻松 欢快 阳光 悠闲 慵懒 温柔",
        "童年": "怀旧 温暖 欢快 俏皮 轻松 阳光 宁静",
        "月亮": "宁静 思念 思乡 梦幻 浪漫 温柔 悠远 飘逸 怀旧 深情 孤独",
        "星空": "宁静 梦幻 浪漫 温柔 温暖 悠远 思念 孤独",
        "下雨天": "忧郁 思念 伤感 孤独 宁静 慵懒 温柔 浪漫 怀旧 深情",
        "草原": "自由 悠远 苍凉 激昂 欢快 宁静 思乡 热血 阳光",
        "夏天": "欢快 青春 阳光 轻松 悠闲 浪漫 自由 动感 狂欢 俏皮 怀旧",
        "旅行": "自由 轻松 阳光 欢快 悠闲 青春 怀旧 激昂 宁静 酷",
        "友情": "温暖 青春 怀旧 欢快 自由 热血 阳光 轻松 激昂",
        "海边": "浪漫 悠闲 阳光 轻松 自由 宁静 温暖 欢快 梦幻",
        "春天": "温暖 阳光 轻松 欢快 浪漫 青春 悠闲 宁静",
        "秋天": "宁静 怀旧 思念 忧郁 悠远 苍凉 温柔 优雅 思乡 慵懒 伤感 孤独",
        "冬天": "温暖 浪漫 孤独 思念 宁静 温柔 忧郁 怀旧 伤感 欢快",
        "日常": "轻松 温暖 悠闲 阳光 欢快 慵懒 俏皮 宁静",
        "梦想": "热血 激昂 自信 青春 自由 温暖 动感 阳光",
        "毕业": "青春 怀旧 深情 伤感 温暖 激昂 热血 自由 思念",
        "重逢": "深情 温暖 怀旧 思念 浪漫 欢快",
        "生日": "欢快 温暖 阳光 俏皮 轻松 浪漫 青春 温柔 狂欢",
        "晚安": "温柔 宁静 温暖 梦幻 慵懒 思念 悠远",
        "美食": "欢快 轻松 俏皮 温暖 悠闲 阳光 动感",
        "运动": "热血 激昂 动感 自信 阳光 自由 青春 欢快 酷",
        "考试": "热血 激昂 青春 自信 温暖 阳光 轻松",
        "青春": "青春 自由 热血 怀旧 欢快 阳光 温暖 激昂",
    }.items()
}
_GROWN = frozenset(
    ["失恋", "离别", "孤独", "失眠", "城市夜晚", "打工", "告白", "初恋", "婚礼", "江湖", "重逢"]
)
_SAD = frozenset(["失恋", "离别", "孤独", "失眠"])
_MERRY = frozenset(["婚礼", "过年", "宠物", "夏天", "生日", "美食", "运动"])
_BUSY = frozenset(  # that quiet songs leave
    ["婚礼", "过年", "打工", "告白", "失恋", "毕业", "江湖", "梦想", "运动", "考试", "生日", "美食"]
)


def themes(singer: object, mood: object) -> tuple[str, ...]:
    """The themes that suit a singer and a mood, as far as either is decided; all where neither is."""
    unsuited: Collection[str] = _GROWN if singer == "child" else ()
    if isinstance(mood, str):
        felt = feeling(mood)
        unsuited = {*unsuited, *(_SAD if felt.tone == "bright" else _MERRY if felt.tone == "dark" else ())}
        if felt.tone == "calm" and felt.arousal <= -0.6:
            unsuited = {*unsuited, *_BUSY}
        unsuited = {*unsuited, *(theme for theme in THEMES if not stirs_as(theme, felt))}
    return tuple(theme for theme in THEMES if theme not in unsuited)


def moods(theme: object, genre: object) -> tuple[str, ...]:
    """The moods that go with a theme, of those of a genre where that is decided; () where any does."""
    fitting = _MOODS.get(theme, ()) if isinstance(theme, str) else ()
    return tuple(m for m in fitting if genre not in GENRES or m in GENRES[str(genre)].moods)


def at_home(field: str, chosen: Mapping[str, str], wished: object) -> tuple[str, ...]:
    """The genre's own moods or players, of those that are wished: guests come where they are asked for.

    Args:
        field: mood, harmony or lead.
        chosen: the fields before it, among them the genre and, before the lead, who sings.
        wished: the values that are allowed, or None for any.
    """
    row = GENRES[chosen["genre"]]
    own = row.moods if field == "mood" else row.players[field]
    if field == "lead" and chosen["singer"] != "none":
        own = tuple(i.name for i in row.leads)
    allowed = tuple(wished) if isinstance(wished, tuple | list | set) and wished else own
    return tuple(dict.fromkeys(v for v in allowed if v in own)) or allowed


def alike(mood: str) -> tuple[str, ...]:
    """The mood and those that feel nearly the same."""
    every = {m: None for row in GENRES.values() for m in row.moods}
    return (mood, *(m for m in every if m != mood and _distance(m, mood) <= _ALIKE))


def genres(wishes: Mapping[str, Any], drums: bool = True) -> tuple[str, ...]:
    """The genres that suit what is decided of a plan; a wish that no genre left suits is passed over.

    Args:
        wishes: of `lyrics_llm.wishes`; mood, theme, tempo, harmony and lead count.
        drums: False where they are refused.
    """
    left = list(GENRES.values())
    for suits in (_has_players, _tells_theme, _is_usual, _has_mood, _has_theme, _has_tempo):
        left = [row for row in left if suits(row, wishes)] or left
    if not drums:
        left = [row for row in left if row.drumless >= _DRUMLESS] or left
    return tuple(row.name for row in left)


def _is_usual(row: Genre, wishes: Mapping[str, Any]) -> bool:
    wished = wishes.get("mood", ())
    moods = (wished,) if isinstance(wished, str) else tuple(wished)
    return row.name not in _ASKED_FOR or bool(set(row.moods).intersection(moods))


def _has_mood(row: Genre, wishes: Mapping[str, Any]) -> bool:
    wished = wishes.get("mood", ())
    if not isinstance(wished, str):
        return not wished or bool(set(row.moods) & set(wished))
    if wished in row.moods:
        return True
    arousal = feeling(wished).arousal
    if (arousal <= _CALM and row.tempo[0] > _BRISK) or (arousal >= _STIRRING and row.tempo[1] < _SLUGGISH):
        return False
    return any(_distance(mood, wished) <= _NEAR for mood in row.moods)


def _has_theme(row: Genre, wishes: Mapping[str, Any]) -> bool:
    fitting = moods(wishes.get("theme"), None)
    return not fitting or bool(set(row.moods) & set(fitting))


def _tells_theme(row: Genre, wishes: Mapping[str, Any]) -> bool:
    theme = wishes.get("theme")
    return row.name == _TOLD_IN.get(theme, row.name) if isinstance(theme, str) else True


def _has_tempo(row: Genre, wishes: Mapping[str, Any]) -> bool:
    tempo = wishes.get("tempo", ())
    wished = tempo if isinstance(tempo, tuple | list | set) else (tempo,)
    low, high = row.tempo[0] / _BENT, row.tempo[1] * _BENT
    return not wished or any(low <= one <= high for one in wished)


def _has_players(row: Genre, wishes: Mapping[str, Any]) -> bool:
    for role in ("harmony", "lead"):
        name = wishes.get(role)
        if isinstance(name, str) and not any(name in row.players[part] for part in ("harmony", "lead")):
            return False
    return True


def _distance(mood: str, other: str) -> float:
    one, two = feeling(mood), feeling(other)
    return math.hypot(one.valence - two.valence, one.arousal - two.arousal)
