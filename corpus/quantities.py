"""The numbers of a description: how fast, in which key, how long.

Chinese and Arabic figures: 每分钟八十拍, 速度一百二, 90bpm; 降B小调, F sharp minor, 1=C; 两分半, 时长90秒.
"""

import re

from common.numerals import spoken

_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_HAN = "零〇一二两三四五六七八九十百"
_NUMBER = rf"(?:\d+(?:\.\d+)?|[{_HAN}]+)"

# ---- tempo -----------------------------------------------------------------------------------

# 16拍前奏 and 6/16拍 count beats of something else; ♩=96 and 四分音符=96 say it as scores do.
_BPM = re.compile(
    rf"(?<![/\d.{_HAN}])(?<!\d,)({_NUMBER})\s*(?:bpm|beats\s+(?:per|a)\s+minute|拍(?!子|号|的?[前间尾过]奏|的?[前间尾]))"
    rf"|(?:bpm|速度|tempo|每分钟|♩|四分音符)\s*(?:[为是约:=]|大约|大概|at|of|around)*\s*({_NUMBER})(?![\d.{_HAN}])",
    re.IGNORECASE,
)
_SLOWEST = 10.0  # beats a minute that a number may mean at all


def number(text: str) -> float | None:
    """The value of Arabic or Chinese figures: 八十 is 80, 一百二 is 120; None where they are no number."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    found = spoken(1000).get(text.replace("两百", "二百"))
    if found is None and text and set(text) <= _DIGITS.keys():
        return float("".join(str(_DIGITS[character]) for character in text))
    return found


# 90到100之间, 90-100 BPM
_TO = r"\s*(?:bpm|拍)?\s*(?:到|至|to|[-~–—～]+)\s*"
_RANGE_BEFORE = re.compile(rf"({_NUMBER}){_TO}$", re.IGNORECASE)
_RANGE_AFTER = re.compile(rf"{_TO}({_NUMBER})(?![\d.{_HAN}])", re.IGNORECASE)


def tempo(text: str) -> float | None:
    """Quarter notes a minute that a normalised text asks for, the middle of two; None where it names none."""
    for match in _BPM.finditer(text):
        group = 1 if match[1] else 2
        if match[group] in ("四四", "二四", "八三", "八六"):  # 四四拍 is a metre
            continue
        value = number(match[group])
        if value is None or value < _SLOWEST:
            continue
        other = _RANGE_BEFORE.search(text[: match.start(group)]) or _RANGE_AFTER.match(text, match.end(group))
        second = number(other[1]) if other else None
        return (value + second) / 2 if second is not None and second >= _SLOWEST else float(value)
    return None


# ---- key -------------------------------------------------------------------------------------

_SIGN = r"[#♯b♭]"
# In small letters too, as people type; but "in a minor key" names no tonic, and "am" no chord.
_KEY = re.compile(
    r"(?<![A-Za-z/-])(?:"
    rf"((?:[升降#♯♭]|b(?=[A-G]))?[A-Ga-g]{_SIGN}?)\s*(大调|小调|宫调式|羽调式|多利亚|混合利底亚|布鲁斯|调(?!式|性|子))|"
    rf"((?:[升降#♯♭]|b(?=[A-G]))?(?:[A-Gb-g]{_SIGN}?|a{_SIGN})(?:[\s-]+(?:sharp|flat))?)\s*([Mm]ajor|[Mm]inor)|"
    rf"([升降♯♭]?[A-G]{_SIGN}?)\s*(m(?![A-Za-z0-9/-]))|"
    rf"1\s*=\s*((?:[升降#♯♭]|b(?=[A-G]))?[A-G]{_SIGN}?)())"
)
_SCALE_OF = {
    "大调": "major", "小调": "minor", "宫调式": "gong", "羽调式": "yu", "多利亚": "dorian",
    "混合利底亚": "mixolydian", "布鲁斯": "blues", "m": "minor", "调": "major", "": "major",
}  # fmt: skip
_SHARP, _FLAT = (
    re.compile(r"升|#|♯|sharp", re.IGNORECASE),
    re.compile(r"降|♭|flat|(?<=[A-Ga-g])b|^b(?=[A-G])"),
)


def key(text: str) -> tuple[str, str] | None:
    """(tonic, scale) that a normalised text asks for, as ("Bb", "minor"); None where it names none."""
    match = _KEY.search(text)
    if not match:
        return None
    named, scale = (part for part in match.groups() if part is not None)
    bare = re.sub(r"sharp|flat|[升降#♯♭\s-]", "", named, flags=re.IGNORECASE)
    letter = bare[-1] if re.fullmatch("b[A-G]", bare) else bare[0]
    sign = "#" if _SHARP.search(named) else "b" if _FLAT.search(named.strip()) else ""
    return letter.upper() + sign, _SCALE_OF.get(scale, scale).lower()


# ---- duration --------------------------------------------------------------------------------

# Neither 每分钟80拍 nor 三分钟热度, 最后一分钟, 五分钟后.
_DURATION = re.compile(
    rf"(?<![每后这那/第{_HAN}\d.:])(?:"
    rf"(?P<minutes>{_NUMBER})\s*(?:分钟?|min(?:ute)?s?(?![a-z]))\s*"
    rf"(?P<rest>半|(?:零|{_NUMBER})\s*(?:秒|(?=$|[，,。；;、\s])))"
    rf"|(?P<whole>{_NUMBER})\s*个?(?P<half>半)?\s*(?:分钟|min(?:ute)?s?(?![a-z]))"
    rf"|(?P<half_minute>半)分钟"
    rf"|(?P<seconds>{_NUMBER})\s*(?:秒钟?|sec(?:ond)?s?(?![a-z]))"
    rf"|(?P<short>(?![5-9]0s)\d{{1,3}})s(?![a-z]))(?!热度|之?后|之?前|[之以]?内|就(?![行好够可])|的路|拍)",
    re.IGNORECASE,
)
# 前奏10秒, 10秒的前奏, 等了三分钟: of a part of the song, or of what it tells.
_PART = "[前间尾过]奏|副歌|主歌|开头|结尾|solo"
_PART_BEFORE = re.compile(rf"(?:{_PART}|[了等晚差过剩])[^，,。；;]{{0,4}}$", re.IGNORECASE)
_PART_AFTER = re.compile(rf"\s*的?(?:{_PART}|等待|沉默|距离|时间|爱)", re.IGNORECASE)


# 一个小时, where nothing else is said of it: who has worked for twelve hours asks for none.
_HOURS = re.compile(
    rf"(?:^|(?<=[，,。；;、\s])|(?<=时长)|(?<=长度))(?:大约|大概|约|来|要)?(?P<hours>{_NUMBER}|半)\s*个?(?:半)?"
    rf"(?:小时|钟头|hours?)(?:左右|以上)?(?:的?(?:纯?音乐|歌|曲|循环|bgm|长)|$|(?=[，,。；;、\s]))",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:时长|长度|duration)\s*[:为是约]?\s*(\d{1,2}):([0-5]\d)(?!\d)", re.IGNORECASE)
_ABOUT = re.compile(r"(?<=十)[几来多](?=秒)")  # 十几秒


def duration(text: str) -> float | None:
    """Seconds that a normalised text asks for: 两分半 is 150; None where it names none."""
    text = _ABOUT.sub("五", text)
    if clock := _CLOCK.search(text):
        return 60.0 * int(clock[1]) + int(clock[2])
    if hours := _HOURS.search(text):
        count = 0.5 if hours["hours"] == "半" else number(hours["hours"])
        return None if count is None else 3600 * count
    for match in _DURATION.finditer(text):
        if not _PART_BEFORE.search(text[: match.start()]) and not _PART_AFTER.match(text, match.end()):
            return _seconds(match)
    return None


def _seconds(match: re.Match[str]) -> float | None:
    if match["half_minute"]:
        return 30.0
    if figures := match["seconds"] or match["short"]:
        return number(figures)
    rest = match["rest"]
    more = 30.0 if rest == "半" or match["half"] else number(rest.rstrip("秒").strip()) if rest else 0.0
    minutes = number(match["minutes"] or match["whole"])
    return None if minutes is None or more is None else 60 * minutes + more
