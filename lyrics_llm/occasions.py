"""Whether to sing, and of what, where a description says neither.

People ask for a song for a birthday, a lullaby, a song to run to. The demo writer knows the themes of its
corpus; for an occasion it may choose among those that suit it, so that a child isn't sung to sleep with
heartbreak. What of a plan suits the rest of it is in `lyrics_llm.suiting`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from common.description import normalise, simplified

_BRIGHT = ("欢快", "温暖", "阳光", "轻松", "俏皮")
_STRONG = ("热血", "激昂", "动感", "自信")
_SOFT = ("温暖", "温柔", "深情", "怀旧")
_MOURNING = ("思念", "怀旧", "深情")


@dataclass(frozen=True)
class Occasion:
    """What a song is for, by the words that people use."""

    words: tuple[str, ...]
    themes: tuple[str, ...]
    moods: tuple[str, ...] = ()  # where the description names none
    tempo: str | None = None  # slow, easy (slow or medium), medium or fast

    @property
    def known(self) -> bool:
        """Whether it is a theme of the writer's own, and not only near to one."""
        return self.themes[0] in _KNOWN


_KNOWN = ("生日", "晚安", "美食", "运动", "考试")


def _occasion(words: str, themes: str, moods: tuple[str, ...] = (), tempo: str | None = None) -> Occasion:
    return Occasion(tuple(words.split()), tuple(themes.split()), moods, tempo)


# The first whose word a description has is taken: what is said more exactly comes first.
OCCASIONS: tuple[Occasion, ...] = (
    _occasion(
        "摇篮曲 催眠曲 哄睡 哄宝宝 哄孩子 哄娃 睡前 睡觉 入睡 睡着 晚安 助眠 lullaby bedtime sleep",
        "晚安",
        ("宁静", "温柔"),
        "slow",
    ),
    _occasion(
        "看书 阅读 图书馆 自习 写作业 做作业 背单词 读书的时候 读书时 学习的时候 学习时 学习背景 学习音乐 "
        "专注 办公 写代码 敲代码 喝茶 品茶 茶室 午睡 午休 冥想 瑜伽 瑜珈 打坐 禅修 禅意 佛系 静坐 泡澡 胎教 "
        "画画 reading study studying meditation yoga spa",
        "日常 春天 秋天 星空 月亮",
        ("宁静", "温柔"),
        "easy",
    ),
    _occasion(
        "下班 下了班 加完班 下夜班 收工 放松 躺平 回家路上 回家的路上 回家的地铁 解压 解乏",
        "日常 城市夜晚 海边",
        ("轻松", "悠闲", "温暖", "慵懒"),
        "easy",
    ),
    _occasion("搞笑 搞怪 沙雕 幽默 滑稽", "日常 打工 宠物", ("俏皮", "轻松", "欢快")),
    _occasion("起床 早安 早晨 清晨 早上", "春天 日常", ("阳光", "轻松", "欢快")),
    _occasion("金婚 银婚 老伴 求婚 订婚 洞房", "婚礼", ("浪漫", "温暖")),
    _occasion("生日 生辰 祝寿 寿星 大寿 周岁 满月酒 birthday", "生日", _BRIGHT),
    _occasion("圣诞 平安夜 雪人 christmas", "冬天", _BRIGHT),
    _occasion("元旦 跨年 新春 拜年 恭喜发财 元宵", "过年", _BRIGHT),
    _occasion("毕业典礼 散伙饭 同学录", "毕业", ("青春", "怀旧", "深情", "温暖")),
    _occasion("儿童节 六一 幼儿园 小学生 宝贝 宝宝 小宝", "童年 宠物", _BRIGHT),
    _occasion("教师节 老师 恩师 师恩 班主任", "毕业 青春", _SOFT),
    _occasion("高考 中考 考试 考研 考公 备考 期末 金榜题名", "考试", ("热血", "激昂", "自信", "青春")),
    _occasion("军训 加油", "青春 梦想 毕业", ("热血", "激昂", "自信", "青春")),
    _occasion("学习 读书 开学 班歌 校歌 校园 同桌 教室 操场 宿舍", "青春 毕业 初恋"),
    _occasion("年会 团建 公司 创业 团队 企业 开业 项目", "梦想 友情", _STRONG),
    _occasion(
        "广告 促销 代言 宣传片 短视频 抖音 神曲 洗脑", "日常 夏天 旅行", ("欢快", "动感", "阳光", "轻松")
    ),
    _occasion("广场舞 健身操 跳操 秧歌", "草原 春天 过年", ("欢快", "动感"), "fast"),
    _occasion("加班 上班 老板 工作 程序员 工地 工人", "打工"),
    _occasion("祖国 国庆 爱国 中华 国家 建党 建军节 红歌", "草原 梦想 思乡", ("激昂", "深情")),
    _occasion(
        "当兵 军人 军歌 士兵 退伍 部队 战友 战士 英雄 抗战 抗日 战争 烈士", "梦想 友情 江湖", _STRONG
    ),
    _occasion("医护 医生 护士 抗疫 疫情 志愿者 消防员 警察 环卫", "梦想 友情", ("温暖", "深情", "激昂")),
    _occasion(
        "清明 去世 过世 离世 不在了 年走了 离开了我们 葬礼 天堂 扫墓 逝去", "母亲 父亲 思乡 离别", _MOURNING
    ),
    _occasion("出轨 背叛 劈腿 渣男 渣女 离婚 被骗", "失恋", ("伤感", "愤怒", "忧郁")),
    _occasion("异地恋 网恋 七夕 牛郎织女", "月亮 离别 告白", ("思念", "深情", "浪漫")),
    _occasion("俺娘 俺妈 咱妈", "母亲", _SOFT),
    _occasion("俺爹 俺爸 咱爸 老爹", "父亲", _SOFT),
    _occasion("端午 重阳 元宵节 团圆", "思乡 月亮", _SOFT),
    _occasion("爷爷 奶奶 外公 外婆 姥姥 姥爷 老人", "童年 思乡", _SOFT),
    _occasion("女儿 儿子 闺女", "童年 母亲 父亲", _SOFT),
    _occasion("老婆 老公 妻子 丈夫 爱人", "婚礼 告白", ("浪漫", "温暖", "深情")),
    _occasion("女神 男神 表白 喜欢她 喜欢他 爱情 恋爱 love", "告白 初恋", ("浪漫",)),
    _occasion(
        "跑步 夜跑 晨跑 健身 运动 锻炼 撸铁 训练 篮球 足球 比赛 球队 世界杯 奥运 减肥 骑行 马拉松 "
        "workout gym running run hiit",
        "运动",
        _STRONG,
    ),
    _occasion("电竞 游戏 打怪 副本 武侠 仙侠 修仙 侠客", "江湖"),
    _occasion("开车 自驾 高速 火车 飞机 骑车 爬山 登山 露营 徒步 driving", "旅行"),
    _occasion(
        "做饭 美食 火锅 烧烤 奶茶 早餐 夜宵 小吃 吃货 串串 饺子 面条 烤肉 好吃 吃饭 零食 蛋糕 food",
        "美食",
        ("欢快", "轻松", "俏皮", "温暖"),
    ),
    _occasion("咖啡 下午茶 逛街 超市 周末 家务 书店 茶馆 coffee", "日常"),
    _occasion("派对 聚会 干杯 蹦迪 ktv party", "友情 城市夜晚 青春", ("欢快", "动感", "狂欢")),
    _occasion("喝酒 酒吧 喝闷酒", "友情 城市夜晚"),
    _occasion("森林 花开 鲜花 樱花 桃花 田野 小河 农村 乡下 村里 山村", "春天 草原 童年"),
    _occasion("下雪 雪花 雪地 大雪", "冬天"),
    _occasion("宇宙 太空 银河 流星 外星", "星空"),
    _occasion("人工智能 机器人 元宇宙 科技 互联网 ai", "星空 梦想", ("未来", "酷", "梦幻")),
    _occasion(
        "悬疑 恐怖 惊悚 诡异 阴森 瘆人 鬼片 闹鬼 horror scary spooky", "孤独 失眠", ("忧郁", "苍凉", "孤独")
    ),
    _occasion("抑郁 焦虑 压力 压抑 难受", "失眠 孤独 日常"),
    _occasion("情歌 情书", "告白 初恋 失恋 离别 重逢"),
)  # fmt: skip

_SUNG = re.compile("[歌唱词]")
_PLAYED = re.compile(
    "(?<!神)曲(?!风|调|式|目|线|艺)|音乐|[器弦管民配]乐|旋律|铃声|片头|片尾|背景|[伴独合演]奏"
)
# 冥想音乐, 配乐: of these nobody expects words, unless somebody is spoken of who sings.
_BACKGROUND = re.compile(
    "(?:冥想|瑜[伽珈]|禅修?|胎教|助眠|睡眠|催眠|学习|阅读)的?(?:背景)?音乐|配乐|原声带", re.IGNORECASE
)
_VOICE = re.compile("[歌唱词声嗓]|人声")
_REFUSED = re.compile("(?:不要|不是|不想|不用|别|没有|无关|不谈)[^，,。；;、]{0,2}$")

_CHILDREN = re.compile(r"童|娃|孩子?|儿歌|小朋友|宝宝|幼儿|小学|\bkids?\b|\bchild", re.IGNORECASE)
# 带孩子, 哄娃: whoever minds a child is grown up.
_MINDED = re.compile(
    "(?:[带养生哄陪喂]|给(?=[^，,。；;]{0,3}[换喂洗讲盖]))[^，,。；;]{0,2}(?:娃|孩子?|宝宝|小家伙)"
)


def minds_children(description: str) -> bool:
    """Whether it speaks of somebody who looks after a child, and is none."""
    return bool(_MINDED.search(simplified(normalise(description))))


def is_sung(description: str) -> bool:
    """Whether it speaks of a song, singing or words."""
    return bool(_SUNG.search(description))


def is_to_be_sung(description: str) -> bool:
    """Whether somebody is expected to sing: a song is asked for, or nothing that instruments may play alone.

    What asks for an instrumental outright is read by `corpus.attributes`.
    """
    return is_sung(description) or not _PLAYED.search(description)


def is_background(description: str) -> bool:
    """Whether music for something is asked for that instruments play alone, and no voice is mentioned."""
    text = simplified(normalise(description))
    return bool(_BACKGROUND.search(text)) and not _VOICE.search(_BACKGROUND.sub("", text))


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
    """Whether a child may sing, where no singer is named: somebody small is spoken of, and isn't minded."""
    return bool(_CHILDREN.search(simplified(normalise(description)))) and not minds_children(description)
