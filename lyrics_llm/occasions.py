"""Whether to sing, and of what, where a description says neither.

People ask for a song for a birthday, a lullaby, a song to run to. The demo writer knows the themes of its
corpus; for an occasion it may choose among those that suit it, so that a child isn't sung to sleep with
heartbreak. A child's song, and one in a clear mood, keep away from what doesn't suit them.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from common.description import normalise, simplified
from corpus.moods import feeling
from corpus.words import THEMES

_BRIGHT = ("欢快", "温暖", "阳光", "轻松", "俏皮")
_STRONG = ("热血", "激昂", "动感", "自信")
_SOFT = ("温暖", "温柔", "深情", "怀旧")


@dataclass(frozen=True)
class Occasion:
    """What a song is for, by the words that people use."""

    words: tuple[str, ...]
    themes: tuple[str, ...]
    moods: tuple[str, ...] = ()  # where the description names none
    tempo: str | None = None  # slow, medium or fast


def _occasion(words: str, themes: str, moods: tuple[str, ...] = (), tempo: str | None = None) -> Occasion:
    return Occasion(tuple(words.split()), tuple(themes.split()), moods, tempo)


# The first whose word a description has is taken: what is said more exactly comes first.
OCCASIONS: tuple[Occasion, ...] = (
    _occasion(
        "摇篮曲 催眠曲 哄睡 哄宝宝 哄孩子 睡前 晚安 助眠 lullaby bedtime",
        "星空 童年",
        ("宁静", "温柔"),
        "slow",
    ),
    _occasion("起床 早安 早晨 清晨 早上", "春天 日常", ("阳光", "轻松", "欢快")),
    _occasion("金婚 银婚 老伴 求婚 订婚 洞房", "婚礼", ("浪漫", "温暖")),
    _occasion("生日 生辰 祝寿 寿星 大寿 周岁 满月酒 birthday", "友情 童年 春天 日常", _BRIGHT),
    _occasion("圣诞 平安夜 雪人 christmas", "冬天", _BRIGHT),
    _occasion("元旦 跨年 新春 拜年 恭喜发财 元宵", "过年", _BRIGHT),
    _occasion("儿童节 六一 幼儿园 小学生 宝贝 宝宝 小宝", "童年 宠物", _BRIGHT),
    _occasion("教师节 老师 恩师 师恩 班主任", "毕业 青春", _SOFT),
    _occasion("高考 中考 考试 考研 学习 读书 开学 军训 班歌 校歌", "青春 梦想 毕业"),
    _occasion("年会 团建 公司 创业 团队 企业 开业 项目", "梦想 友情", _STRONG),
    _occasion("加班 上班 老板 工作 程序员 工地 工人", "打工"),
    _occasion("祖国 国庆 爱国 中华 国家", "草原 梦想 思乡", ("激昂", "深情")),
    _occasion("当兵 军人 军歌 士兵 退伍 部队 战友 战士 英雄", "梦想 友情 江湖", _STRONG),
    _occasion("清明 去世 葬礼 天堂 扫墓 逝去", "母亲 父亲 思乡 离别", ("思念", "怀旧", "深情")),
    _occasion("端午 重阳 元宵节 团圆", "思乡 月亮", _SOFT),
    _occasion("爷爷 奶奶 外公 外婆 姥姥 姥爷 老人", "童年 思乡", _SOFT),
    _occasion("女儿 儿子 闺女", "童年 母亲 父亲", _SOFT),
    _occasion("老婆 老公 妻子 丈夫 爱人", "婚礼 告白", ("浪漫", "温暖", "深情")),
    _occasion("女神 男神 表白 喜欢她 喜欢他 爱情 恋爱 love", "告白 初恋", ("浪漫",)),
    _occasion(
        "跑步 健身 运动 锻炼 篮球 足球 比赛 球队 世界杯 奥运 减肥 瑜伽 骑行 workout gym", "梦想 青春", _STRONG
    ),
    _occasion("电竞 游戏 打怪 副本 武侠 仙侠 修仙 侠客", "江湖"),
    _occasion("开车 自驾 高速 火车 飞机 骑车 爬山 登山 露营 徒步", "旅行"),
    _occasion("咖啡 下午茶 做饭 美食 火锅 烧烤 奶茶 早餐 逛街 超市 周末 家务 书店 茶馆", "日常"),
    _occasion("派对 聚会 喝酒 干杯 蹦迪 酒吧", "友情 城市夜晚"),
    _occasion("森林 花开 鲜花 樱花 桃花 田野 小河 农村 乡下 村里 山村", "春天 草原 童年"),
    _occasion("下雪 雪花 雪地 大雪", "冬天"),
    _occasion("宇宙 太空 银河 流星 外星", "星空"),
    _occasion("抑郁 焦虑 压力 压抑 难受 解压", "失眠 孤独 日常"),
)  # fmt: skip

_SUNG = re.compile("[歌唱词]")
_PLAYED = re.compile("曲(?!风|调|式|目|线|艺)|音乐|[器弦管民配]乐|旋律|铃声|片头|片尾|背景|[伴独合演]奏")
_REFUSED = re.compile("(?:不要|不是|不想|不用|别|没有|无关|不谈)[^，,。；;、]{0,2}$")

_CHILDREN = re.compile(r"[童娃]|孩子?|儿歌|小朋友|宝宝|幼儿|小学|\bkids?\b|\bchild", re.IGNORECASE)
_GROWN = frozenset(
    ["失恋", "离别", "孤独", "失眠", "城市夜晚", "打工", "告白", "初恋", "婚礼", "江湖", "重逢"]
)
_SAD = frozenset(["失恋", "离别", "孤独", "失眠"])
_MERRY = frozenset(["婚礼", "过年", "宠物", "夏天"])


def is_to_be_sung(description: str) -> bool:
    """Whether somebody is expected to sing: a song is asked for, or nothing that instruments may play alone.

    What asks for an instrumental outright is read by `corpus.attributes`.
    """
    return bool(_SUNG.search(description)) or not _PLAYED.search(description)


def occasion(description: str) -> tuple[str, Occasion] | None:
    """The occasion that a description names, with the word that named it; None where there is none."""
    return next(((word, one) for word, one, refused in _named(description) if not refused), None)


def refused_themes(description: str) -> frozenset[str]:
    """The themes of the occasions that a description refuses: 不要写爱情."""
    return frozenset(theme for _, one, refused in _named(description) if refused for theme in one.themes)


def _named(description: str) -> Iterator[tuple[str, Occasion, bool]]:
    """(word, its occasion, whether it is refused) of each word of a description; Latin words are whole."""
    text = simplified(normalise(description)).lower()
    for one in OCCASIONS:
        for word in one.words:
            whole = rf"(?<![a-z]){word}(?![a-z])" if word.isascii() else word
            if found := re.search(whole, text):
                yield word, one, bool(_REFUSED.search(text[: found.start()]))


def is_for_children(description: str) -> bool:
    """Whether a child may sing, where no singer is named: somebody small is spoken of."""
    return bool(_CHILDREN.search(simplified(normalise(description))))


def suited(singer: object, mood: object) -> tuple[str, ...]:
    """The themes that suit a singer and a mood, as far as either is decided; all where neither is."""
    unsuited: Collection[str] = _GROWN if singer == "child" else ()
    if isinstance(mood, str):
        tone = feeling(mood).tone
        unsuited = {*unsuited, *(_SAD if tone == "bright" else _MERRY if tone == "dark" else ())}
    return tuple(theme for theme in THEMES if theme not in unsuited)
