"""Digits as they are sung: `25岁` is 二十五岁, `2024年` and `520` go digit by digit, `50%` is 百分之五十.

`1,000` is 一千, and `2:30` the time of day 两点三十. A number stays in digits where it is read one by
one: years, codes of three digits and more that count nothing, numbers with a leading zero, digits
beside letters (`MP3`), and the tone of a reading (`绿{lü4}`).
"""

import re
from functools import cache

_DIGITS = "零一二三四五六七八九"
_MOST_DIGITS = 8  # of a number that has a name
_PLACES = ("", "十", "百", "千")
# What is counted: a number before one of these is a value.
_COUNTED = (
    "个次天年月日号点岁只条句种遍位颗朵张首封杯步秒分小公里块元米度回场座间层楼级双对群夜晚页人章倍世代厘克吨斤平万亿"
    "多"
)
_TWO_IS_LIANG = "个次天年点岁只条句种遍位颗朵张首封杯步秒分小公里块元米回场座间层双对群夜晚人倍万亿"
_READING = r"(?<=\w)\{[^{}]*\}"  # of the character before it; its digit is a tone
_GROUPED = r"(?<![0-9],)[1-9][0-9]{0,2}(?:,[0-9]{3}){1,2}(?![0-9,])"
_CLOCK = r"(?<![0-9:：.])([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?![0-9:：.])"
_NUMBER = re.compile(
    rf"{_READING}|{_CLOCK}|(?<![A-Za-z0-9.])({_GROUPED}|[0-9]+)(?:\.([0-9]+))?(%)?(?![A-Za-z0-9{{])"
)
_CONCERNED = re.compile("[0-9０-９Ａ-Ｚａ-ｚ]")
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)}  # full-width ASCII


def spelt(text: str) -> str:
    """The text with numbers that are values in Chinese numerals, and full-width letters as ASCII."""
    if not _CONCERNED.search(text):
        return text
    narrow = re.sub(r"[０-９Ａ-Ｚａ-ｚ]", lambda m: m[0].translate(_WIDE), text)
    narrow = re.sub(r"(?<=[0-9])％", "%", narrow)
    return _NUMBER.sub(lambda m: _spelt(m, narrow), narrow)


def _spelt(match: re.Match[str], text: str) -> str:
    hours, minutes, digits, decimals, percent = match.groups()
    if hours:
        return _time_of_day(int(hours), int(minutes))
    if not digits:
        return match[0]  # a reading
    grouped, digits = "," in digits, digits.replace(",", "")
    start, end = match.span()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if len(digits) > _MOST_DIGITS:
        return match[0]
    if digits != "0" and digits.startswith("0") and not decimals:
        return match[0]
    if not (decimals or percent or grouped) and not _is_value(digits, after):
        return match[0]
    whole = numeral(int(digits))
    if digits == "2" and not decimals and not percent and after and after in _TWO_IS_LIANG and before != "第":
        whole = "两"
    tail = "点" + "".join(_DIGITS[int(d)] for d in decimals) if decimals else ""
    return ("百分之" if percent else "") + whole + tail


def _time_of_day(hours: int, minutes: int) -> str:
    """`_time_of_day(2, 5) == "两点零五"`."""
    hour = "两" if hours == 2 else numeral(hours)
    return f"{hour}点" + ("零" if 0 < minutes < 10 else "") + (numeral(minutes) if minutes else "")


def _is_value(digits: str, after: str) -> bool:
    if len(digits) == 4 and after == "年":
        return False
    return len(digits) <= 2 or digits.endswith("00") or (bool(after) and after in _COUNTED)


def numeral(value: int) -> str:
    """A number below a hundred million in Chinese: `numeral(10050) == "一万零五十"`."""
    if not 0 <= value < 10**8:
        raise ValueError(f"a numeral is written for 0 to 99,999,999, but got {value}")
    high, low = divmod(value, 10_000)
    if high:
        head = ("两" if high == 2 else _below(high)) + "万"
        zero = "零" if low and low < 1000 else ""
        return head + zero + (_below(low) if low else "")
    return _below(low)


@cache
def spoken(below: int) -> dict[str, int]:
    """Numerals from 2 on as they are written or said: 110 is 一百一十 or 一百一, 12 is 十二."""
    values: dict[str, int] = {"两": 2}
    for value in range(2, below):
        whole = numeral(value)
        values[whole] = value
        if value >= 110 and value % 10 == 0 and value % 100:
            values[whole.removesuffix("十")] = value
    return values


def _below(value: int) -> str:
    """A number below ten thousand."""
    if value < 10:
        return _DIGITS[value]
    out, pending = "", False
    for place in range(len(str(value)) - 1, -1, -1):
        digit = value // 10**place % 10
        if digit == 0:
            pending = True
            continue
        if out and pending:
            out += "零"
        pending = False
        out += ("两" if digit == 2 and place == 3 else _DIGITS[digit]) + _PLACES[place]
    return out.removeprefix("一") if 10 <= value < 20 else out
