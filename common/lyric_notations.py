"""How people write lyrics down: section headers, LRC times, LeVo's one-line form.

`rows` turns text into numbered rows; `common.lyrics.Lyrics.parse` makes sections of them.

    <verse>  [Verse 1]  (verse1)  【主歌】  主歌：  **Chorus**  ## Bridge  Verse 2      headers
    [Verse 1] 月光洒在窗前        主歌：月光洒在窗前                               with a line behind
    [00:12.30]月光洒在窗前                                                      LRC
    [intro-short] ; [verse] 月光洒在窗前.我在等你 ; [chorus] 回家                   LeVo
    主歌1（女）    #主歌    A段    高潮：                                              likewise
    作词：某人    男：我爱你    </verse>    [Chorus x2]                               beside the words
    《月光》 first of all    重复副歌    副歌：重复    （音乐）    第一段：    SRT            likewise
    C  G  Am  F    [Am]我想[F]家    我想家(G7)    lines of one chord each                 chords
    第二段主歌：    VERSE TWO    verse II    Chorus - 我想家    A1    【橋段】               headers, too
    以下是为您创作的歌词：    希望您喜欢！    https://…                                   of a chat, left out

Every line is read in time proportional to its length: a name is cut out at its bracket or first
colon, and only short ones are looked at closely.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from common.characters import simplified

SectionTag = Literal["intro", "verse", "pre-chorus", "chorus", "bridge", "interlude", "outro"]
TAGS: tuple[str, ...] = get_args(SectionTag)
PLAYED = ("intro", "interlude", "outro")  # where mostly nobody sings

# Names that nobody sings: they mean a section wherever they stand alone.
_STRONG: dict[str, SectionTag] = {
    "pre-chorus": "pre-chorus", "prechorus": "pre-chorus", "pre chorus": "pre-chorus", "导歌": "pre-chorus",
    "预副歌": "pre-chorus", "post-chorus": "chorus", "intro": "intro", "前奏": "intro", "verse": "verse",
    "主歌": "verse", "a段": "verse", "chorus": "chorus", "副歌": "chorus", "b段": "chorus", "高潮": "chorus",
    "高潮部分": "chorus", "c段": "bridge", "bridge": "bridge", "桥段": "bridge",
    "interlude": "interlude", "间奏": "interlude", "过门": "interlude", "outro": "outro", "尾奏": "outro",
}  # fmt: skip
# What people also write for a tag, between brackets: English, MuChin's "ending", LeVo's "inst", Chinese.
_ALIASES: dict[str, SectionTag] = _STRONG | {
    "开头": "intro", "hook": "chorus", "refrain": "chorus", "桥": "bridge", "过渡": "bridge",
    "inst": "interlude", "instrumental": "interlude", "solo": "interlude", "silence": "interlude",
    "fade out": "outro", "淡出": "outro",
    "ending": "outro", "end": "outro", "结尾": "outro", "尾声": "outro",
}  # fmt: skip
_LOOSE = re.compile(
    r"(?<![a-z])(?:"
    + "|".join(n for n in _ALIASES if n.isascii() and n not in ("end", "inst"))
    + r")(?![a-z])|"
    + "|".join(n for n in _ALIASES if not n.isascii() and len(n) > 1)
)  # fmt: skip
# Who made a song, and who sings a line: people paste both with the words, and neither is sung.
_CREDITED = (
    "歌名 歌曲 曲名 歌手 演唱 演唱者 原唱 翻唱 专辑 词 曲 作词 作曲 填词 谱曲 词曲 编曲 制作 制作人 "
    "监制 出品 出品人 发行 混音 混音师 录音 录音师 录音室 母带 和声 配唱 吉他 贝斯 鼓 键盘 弦乐 "
    "统筹 企划 版权 录音棚 混音棚 音乐制作人 混音工程师 录音工程师 母带工程师 op sp "
    "title artist singer album lyrics lyricist composer arranger producer"
)
_SINGING = (
    "男 女 合 男声 女声 男女 男女声 合唱 对唱 独唱 领唱 齐 齐唱 全体 众 童声 念白 独白 旁白 male female duet"
)
_CREDITS, _SINGERS = frozenset(_CREDITED.split(" ")), frozenset(_SINGING.split(" "))
_GLOSSED = re.compile(r"([^\x00-\x7f]+)\s+[A-Za-z][A-Za-z .]*")  # 制作人 Producer
_RAPPED = frozenset(["rap", "说唱"])  # before a colon; between brackets they are sections of no known tag
_LABEL = re.compile(r"[【\[(（]\s*(?:歌词|正文)\s*[】\])）]\s*[:：]?|(?:歌词|正文)\s*[:：]")
_PARAGRAPH = re.compile(r"第\s*[一二三四五六七八九十0-9]{1,3}\s*[段节]")
# What stands among the words for those who play or read.
_HEARD = "音乐 音乐起 音乐声 伴奏 掌声 欢呼 欢呼声 笑声 哭声 口哨 口哨声 music applause laughter"
_SOUNDS = frozenset(_HEARD.split(" "))
_SECTION = "(?:" + "|".join(sorted(_STRONG, key=len, reverse=True)) + r")\s*(?:[A-D1-9一二三四五六])?"
_TIMES = r"(?:\s*[x×*]?\s*[1-9一二两三四]\s*[遍次]?)?"
_REPEATS = "(?:重复|反复|重唱|再唱|再来|同上|同前|repeat)"
_AGAIN = re.compile(
    rf"(?:{_REPEATS}(?:一[遍次])?\s*{_SECTION}|{_SECTION}\s*{_REPEATS}){_TIMES}", re.IGNORECASE
)
_AROUND = re.compile(r"[\s()（）\[\]【】:：]+")
_CHORD = re.compile(
    r"[A-G][#b♯♭]?(?:maj|min|m|M|dim|aug|sus|add)?(?:2|4|5|6|7|9|11|13)?(?:sus[24])?(?:/[A-G][#b♯♭]?)?"
)
# [Am] or [C] before the syllable on which it is played, (Am) behind it.
_IN_LINE = re.compile(rf"\[({_CHORD.pattern})\]|[(（]((?=[^()（）]{{2}}){_CHORD.pattern})[)）]")
_ITEM = re.compile(r"(\d{1,3})\s*[.、)）．]\s*(?=\S)")  # of a numbered list
_BETWEEN_CHORDS = re.compile(r"[\s|｜\-–—]+")
# The number of a subtitle stands in the line before its time.
_CUE = re.compile(r"(?:\d{1,3}:)?\d{1,2}:\d{1,2}[,.]\d{1,3}\s*-->")
_NAMED = re.compile(
    r"(?:歌名|歌曲|曲名|标题)?\s*《[^《》]{1,40}》(?:\s*[-–—]+\s*\S.{0,60})?|#{1,6}\s+\S.{0,60}"
)
_BY_ARTIST = re.compile(r"\S[^-–—]{0,60}\s[-–—]\s.{0,60}\S")
_AND = re.compile(r"\s*[/、&＆+和与]\s*")
_LONGEST_NAME = 40  # characters of a name that is looked at closely
_NUMBER = re.compile(
    r"[\s_\-]*([0-9]+|[一二三四五六七八九十]+)$|[\s_\-]+(one|two|three|four|iii|iv|ii|i)$", re.IGNORECASE
)
_LENGTH = re.compile(r"[\s_\-]*(?:short|medium|long|[a-d])$")  # LeVo's intro-short, 主歌A
_REPEATED = re.compile(r"[\s(（]*(?:[x×*]\s*([2-9])|(?<![0-9])([2-9])\s*[x×遍次])[\s)）]*$", re.IGNORECASE)
_NUMERALS = {c: n for n, c in enumerate("一二三四五六七八九十", 1)}
_ENGLISH = {"one": 1, "two": 2, "three": 3, "four": 4, "i": 1, "ii": 2, "iii": 3, "iv": 4}
_ORDERED = re.compile(r"第\s*([一二三四五六七八九十1-9])\s*[段个节]?\s*(主歌|副歌|导歌|桥段)")  # 第二段主歌
_LETTERED = re.compile(r"([AB])[\s']?([1-4])")  # A1, B2: verses and choruses among songwriters
_DASHED = re.compile(
    r"([A-Za-z][A-Za-z \-]{2,12}?(?:\s*\d)?)\s*[-–—]\s*(?=[\u4e00-\u9fff])"
)  # Chorus - 我想家
# What a chat model says before and behind its lyrics.
_OPENING = re.compile(
    r"(?:(?:当然|好的?|没问题|可以)(?:可以)?[，,！!。 ]+)?(?:以下|下面|这)(?:就?是|为).{0,30}"
    r"(?:歌词|歌曲|创作|写的歌).{0,20}[：:。！!]"
)
_CLOSING = re.compile(
    r"(?:希望|但愿)(?:您|你)(?:能)?(?:会)?(?:喜欢|满意).{0,12}[。！!~～].{0,40}"
    r"|(?:如果?|若)(?:您|你)?.{0,12}(?:修改|调整|需要|更改).{0,30}(?:告诉我|请说|随时|联系|吩咐).{0,12}"
)
_URL = re.compile(r"(?:https?://|www\.)\S+")
_ZERO_WIDTH = re.compile("[\u200b-\u200d\u2060\ufeff]")

_BRACKETS = {
    "<": ">",
    "[": "]",
    "［": "］",
    "【": "】",
    "＜": "＞",
}  # that a line of words doesn't begin with
_QUOTES = {"(": ")", "（": "）", "〈": "〉", "《": "》", "「": "」", "『": "』", "〔": "〕", "〖": "〗"}
_PAIRS = _BRACKETS | _QUOTES
_COLON = re.compile("[:：]")
_RULES = "-=—–─━_~*#·•"  # signs that people draw lines with
_MARKDOWN = re.compile(r"(?:#{1,6}\s*(?P<a>.+?)|(?P<stars>\*{1,2}|_{2})(?P<b>.+?)(?P=stars)[:：]?)")
ESCAPE = "\\"
# Minutes and seconds, behind hours where there are hundredths too: [00:12:30] is twelve seconds.
_STAMP = re.compile(
    r"\[(?:(\d{1,3}):([0-5]?\d):([0-5]?\d)\.(\d{1,3})|(\d{1,5}):(\d{1,5})(?:[.:](\d{1,3}))?)\]\s*"
)
_STAMPS = re.compile(rf"(?:{_STAMP.pattern})+")
_WORD_STAMP = re.compile(r"<\d{1,5}:\d{1,5}(?:[.:]\d{1,5})?>")
_SUNG_BY = re.compile(r"(.{1,40}?)\s*[(（]([^()（）]{1,8})[)）]\s*[:：]?")  # 副歌（合）：
_LRC_META = re.compile(r"\[(ti|ar|al|au|by|offset|re|tool|ve|length|#):([^\]]*)\]", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """What one line of text is."""

    number: int  # of the line in the text, from 1
    kind: Literal[
        "line", "blank", "header", "unknown", "credit", "singer", "title", "direction", "chords", "subtitle"
    ]
    text: str = ""  # words of a line, name of a header, what stands there of the others
    tag: SectionTag | None = None
    order: int | None = None  # the 2 of [Verse 2]
    times: tuple[float, ...] = field(default=())  # seconds at which the line begins
    note: bool = False  # the header says more than its tag, such as [Chorus - whispered]
    ours: bool = False  # written as <…>, Baihua's own notation
    repeats: int = 1  # how often the section of a header is sung
    escaped: bool = False  # words, whatever they look like


def tag_of(name: str) -> SectionTag | None:
    """The tag that people mean by a name such as `Verse 2`, `副歌` or `ending`; None when it's none."""
    return _ALIASES.get(_bare(name))


def order_of(name: str) -> int | None:
    """The number in a name: 2 of `Verse 2` and `主歌二`; None when it has none."""
    match = _NUMBER.search(name.strip()[-_LONGEST_NAME:])
    if match is None:
        return None
    if match[2]:
        return _ENGLISH[match[2].lower()]
    return int(match[1]) if match[1].isdigit() else _NUMERALS.get(match[1])


def _bare(name: str) -> str:
    name = name.strip().lower()
    if len(name) > _LONGEST_NAME:
        return name
    if not name.isascii():
        name = simplified(name)
    name = _NUMBER.sub("", name).replace("_", "-")
    return name if name in _ALIASES else _LENGTH.sub("", name)


def rows(text: str) -> list[Row]:
    """The rows of a text, LRC lines with their offset applied."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = list(_levo(text)) or list(enumerate(text.split("\n"), 1))
    found: list[Row] = []
    rounded: list[Row] = []  # headers in round brackets
    offset = 0.0
    cues, gaps = _subtitles([line.strip() for _, line in lines])
    for place, (number, line) in enumerate(lines):
        if place in gaps:
            continue
        meta = _LRC_META.fullmatch(line.strip())
        if place in cues:
            found.append(Row(number, "subtitle", line.strip()))
        elif meta is None:
            found += _read(number, line.strip())
            if line.strip()[:1] in ("(", "（") and found[-1].kind == "header":
                rounded.append(found[-1])
        elif meta[1].lower() == "offset" and re.fullmatch(r"[+-]?\d{1,9}", meta[2].strip()):
            offset = int(meta[2]) / 1000
    if all(row.tag in PLAYED for row in rounded):  # a remark among the words, and not MuChin's notation
        found = [r for row in found for r in ([row, Row(row.number, "blank")] if row in rounded else [row])]
    found = _unnumbered(_without_single_chords(_titled(_without_chat(found))))
    return [_earlier(row, offset) for row in found] if offset else found


def is_plain(line: str) -> bool:
    """Whether a line of words is read as just these words; others need `ESCAPE` before them.

    Below a header, that is: `is_title` says which lines aren't words at the top of a text.
    """
    if line.startswith(ESCAPE) or _LRC_META.fullmatch(line) or _WORD_STAMP.search(line) or _CUE.match(line):
        return False
    if _is_chord(line) or _OPENING.fullmatch(line) or _CLOSING.fullmatch(line):
        return False
    return _read(0, line) == [Row(0, "line", line)]


def is_title(line: str, timed: bool) -> bool:
    """Whether the first line of a text, at the very beginning where it is timed, names the song."""
    return bool(_NAMED.fullmatch(line) or (timed and _BY_ARTIST.fullmatch(line)))


def _without_chat(found: list[Row]) -> list[Row]:
    """The rows, those before and behind the words in which a chat model speaks being directions."""
    places = [i for i, row in enumerate(found) if row.kind not in ("blank", "credit")]
    out = list(found)
    for order, polite in ((places, _OPENING), (places[::-1], _CLOSING)):
        for i in order[:-1]:
            row = out[i]
            if row.kind != "line" or row.escaped or row.times or not polite.fullmatch(row.text):
                break
            out[i] = replace(row, kind="direction")
    return out


def _titled(found: list[Row]) -> list[Row]:
    """The rows, the first one a title if it is one and words follow it."""
    place = next((i for i, row in enumerate(found) if row.kind not in ("blank", "credit", "subtitle")), None)
    while place is not None and found[place].kind == "direction" and found[place].tag is None:
        place = next((i for i in range(place + 1, len(found)) if found[i].kind != "blank"), None)
    if place is None or not any(row.kind in ("line", "header") for row in found[place + 1 :]):
        return found
    row = found[place]
    starred = _MARKDOWN.fullmatch(row.text) if row.kind == "line" else None
    if starred and starred["b"] and _NAMED.fullmatch(starred["b"].strip()):  # **《想家》**
        row = replace(row, text=starred["b"].strip())
    begins = row.kind == "line" and not row.escaped and (not row.times or row.times == (0.0,))
    if begins and is_title(row.text, bool(row.times)):
        found[place] = replace(row, kind="title")
    return found


def _without_single_chords(found: list[Row]) -> list[Row]:
    """The rows, lines of one chord name being chords where the text has several; Em alone may be hummed."""
    single = [row.kind == "line" and not row.escaped and _is_chord(row.text) for row in found]
    names = {row.text for row, alone in zip(found, single) if alone}
    if len(names) < 2 and not any(row.kind == "chords" for row in found):
        return found
    return [replace(row, kind="chords", times=()) if alone else row for row, alone in zip(found, single)]


def _unnumbered(found: list[Row]) -> list[Row]:
    """The rows, without the numbers where all lines of words are numbered from 1 on: `1. 月光洒在窗前`."""
    places = [i for i, row in enumerate(found) if row.kind == "line"]
    numbered = [_ITEM.match(found[i].text) for i in places if not found[i].escaped]
    if len(places) < 2 or len(numbered) < len(places):
        return found
    if [int(item[1]) if item else 0 for item in numbered] != list(range(1, len(places) + 1)):
        return found
    out = list(found)
    for i, item in zip(places, numbered):
        assert item is not None, "its number was read"
        out[i] = replace(found[i], text=found[i].text[item.end() :])
    return out


def _is_chord(line: str) -> bool:
    return len(line) > 1 and bool(_CHORD.fullmatch(line))


def _subtitles(lines: list[str]) -> tuple[set[int], set[int]]:
    """Places of the numbers and times of SRT and WebVTT, and of the empty lines before each."""
    cues, gaps = set(), set()
    for place, line in enumerate(lines):
        if not _CUE.match(line):
            continue
        cues.add(place)
        above = place - 1
        if above >= 0 and lines[above].isdecimal():
            cues.add(above)
            above -= 1
        while above >= 0 and not lines[above]:
            gaps.add(above)
            above -= 1
    if cues and lines[0] == "WEBVTT":
        cues.add(0)
    return cues, gaps


def stamp(seconds: float) -> str:
    """`[01:02.34]`, with thousandths where hundredths aren't enough."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    digits = f"{rest % 1000:03d}"
    return f"[{minutes:02d}:{rest // 1000:02d}.{digits.removesuffix('0')}]"


def _levo(text: str) -> Iterator[tuple[int, str]]:
    """LeVo's form a row a line, nothing when the text isn't in it."""
    if not re.match(r"\s*\[[A-Za-z][^\]:]*\][^\n\[]*;\s*(?:\[|$)", text) or ESCAPE in text:
        return
    above = 1  # lines up to the chunk
    for chunk in text.split(";"):
        number = above + chunk.count("\n", 0, len(chunk) - len(chunk.lstrip()))
        above += chunk.count("\n")
        match = re.match(r"\s*(\[[^\]]+\])(.*)", chunk, re.DOTALL)
        if match:
            yield number, match[1]
        for words in re.split(r"[.。\n]", match[2] if match else chunk):
            if words.strip():
                yield number, words


def _read(number: int, line: str) -> list[Row]:
    """The rows of one stripped line: usually one, two for a header with words behind it."""
    stamps = _STAMPS.match(line)
    times = _times(stamps[0]) if stamps else ()
    if stamps:
        line = line[stamps.end() :].strip()
    if line.startswith(ESCAPE):
        return [Row(number, "line", line[1:], times=times, escaped=True)]
    if _ZERO_WIDTH.search(line):
        line = _ZERO_WIDTH.sub("", line).strip()
    if len(line) > 1 and not line.strip("-=—–─━_*#~ "):  # a rule
        return [Row(number, "blank", times=times)]
    if times:
        words = [part.strip() for part in _WORD_STAMP.split(line)]
        line = (" " if " " in line else "").join(part for part in words if part)
    if not line:
        return [Row(number, "blank", times=times)]
    if (direction := _direction(number, line)) is not None:
        return [direction]
    header, rest = _header(number, line)
    if header is None:
        return _worded(number, line, times)
    if rest:
        return [header, *_worded(number, rest, times)]
    # A timed header stands where it is played: what follows it is no part of it.
    return [header, Row(number, "blank")] if times and header.tag in PLAYED else [header]


def _worded(number: int, line: str, times: tuple[float, ...]) -> list[Row]:
    """The rows of a line without a header: a mark of who sings is parted from it, `</verse>` taken away."""
    line = _without_end(line)
    chords = [match[0] for match in _IN_LINE.finditer(line)]
    if chords:
        rest = re.sub(r"\s+", " ", _IN_LINE.sub("", line)).strip()
        return [Row(number, "chords", " ".join(chords)), *(_worded(number, rest, times) if rest else ())]
    if not line:
        return [Row(number, "blank", times=times)]
    if (direction := _direction(number, line)) is not None:
        return [direction]
    if _is_chords(line):
        return [Row(number, "chords", line)]
    parted = _parted(line)
    if parted is None or not _is_named(parted[1], _SINGERS):
        return [Row(number, "line", line, times=times)]
    rest = parted[2]
    mark = Row(number, "singer", line[: len(line) - len(rest)].strip())
    return [mark, Row(number, "line", rest, times=times)] if rest else [mark]


def _direction(number: int, line: str) -> Row | None:
    """A line that says what to play, or what to repeat and how often: （音乐）, 重复副歌."""
    if len(line) > _LONGEST_NAME:
        return None
    closing = {"(": ")", "（": "）"}.get(line[0])
    bracketed = closing is not None and line.endswith(closing)
    if (
        _URL.fullmatch(line)
        or _LABEL.fullmatch(line)
        or (bracketed and line[1:-1].strip().lower() in _SOUNDS)
    ):
        return Row(number, "direction", line)
    plain = _AROUND.sub(" ", line).strip()
    if not _AGAIN.fullmatch(plain):
        return None
    section = re.search(_SECTION, plain, re.IGNORECASE)
    often = re.search(r"[2-9二两三四](?=\s*[遍次]?$)", plain)
    assert section is not None, "what is repeated is named"
    repeats = 1 if often is None or often.start() < section.end() else _how_often(often[0])
    return Row(number, "direction", line, tag_of(section[0]), order_of(section[0]), repeats=repeats)


def _how_often(numeral: str) -> int:
    return 2 if numeral == "两" else _NUMERALS.get(numeral) or int(numeral)


def _is_chords(line: str) -> bool:
    """Whether a line is a row of chord names; A B C and Em Em could be sung."""
    names = [name for name in _BETWEEN_CHORDS.split(line) if name]
    if len(set(names)) < 2 or not all(_CHORD.fullmatch(name) for name in names):
        return False
    return any(len(name) > 1 for name in names) or "|" in line or "   " in line


def _without_end(line: str) -> str:
    """A line without the end of a section behind it, such as `</verse>`."""
    at = max(line.rfind("</"), line.rfind("[/"))
    if at >= 0 and line.endswith(_PAIRS[line[at]]) and tag_of(line[at + 2 : -1]):
        return line[:at].rstrip()
    return line


def _parted(line: str) -> tuple[str, str, str] | None:
    """(opening bracket or colon, name, what stands behind) of a line that begins with a name."""
    closing = _PAIRS.get(line[0])
    end = line.find(closing) if closing else -1
    if end > 1 and line[0] not in line[1:end]:
        return line[0], line[1:end].strip(), line[end + 1 :].strip()
    colon = _COLON.search(line)
    if colon is None or not line[: colon.start()].strip():
        return None
    return ":", line[: colon.start()].strip(), line[colon.end() :].strip()


def _is_named(name: str, names: frozenset[str]) -> bool:
    """Whether a name consists of some of the names, as 作词/作曲 and 男1 do."""
    if not name or len(name) > _LONGEST_NAME:
        return False
    if (glossed := _GLOSSED.fullmatch(name)) and glossed[1] in names:
        return True
    return all(_NUMBER.sub("", part) in names for part in _AND.split(name.lower()))


def _is_note(rest: str) -> bool:
    """Whether what stands behind a header is a bracket that names no section: [Pre-Chorus][build up]."""
    closing = _BRACKETS.get(rest[0])
    inner = rest[1:-1]
    if closing is None or not rest.endswith(closing) or not inner or rest[0] in inner:
        return False
    return bool(re.search("[A-Za-z]", inner)) and not _CHORD.fullmatch(inner) and tag_of(inner) is None


def _often(name: str) -> tuple[str, int]:
    """A name and how often its section is sung: `("Chorus", 2)` of `Chorus x2`."""
    match = _REPEATED.search(name) if len(name) <= _LONGEST_NAME else None
    return (name, 1) if match is None else (name[: match.start()], int(match[1] or match[2]))


def _header(number: int, line: str, nested: int = 2) -> tuple[Row | None, str]:
    """The header that a line begins with, and the words behind it."""
    who = _SUNG_BY.fullmatch(line)
    if who and _is_named(who[2], _SINGERS) and _bare(who[1].strip(_RULES + " ")) in _STRONG:
        row, _ = _header(number, who[1], nested)
        return (row and replace(row, note=True)), ""
    marked = _MARKDOWN.fullmatch(line) if nested and len(line) <= 3 * _LONGEST_NAME else None
    if marked:
        inner = (marked["a"] or marked["b"]).strip()
        row, rest = _header(number, inner, nested - 1) if inner else (None, "")
        return (row, rest) if row and not rest else (None, "")
    if len(line) <= _LONGEST_NAME and (found := _in_words(number, line)):
        return found
    ruled = line.strip(_RULES).strip() if line[:2].strip(_RULES) == "" else line
    name, repeats = _often(ruled)
    if _bare(name) not in _STRONG and line[-1] in "~～…" and _bare(name.rstrip("~～…")) in _STRONG:
        name = name.rstrip("~～…")  # 间奏~~~
    if _bare(name) in _STRONG:
        return Row(number, "header", line, tag_of(name), order_of(name), repeats=repeats), ""
    if len(line) <= _LONGEST_NAME and _PARAGRAPH.fullmatch(line):
        return Row(number, "unknown", line), ""
    parted = _parted(line)
    return (None, "") if parted is None else _named(number, line, *parted)


def _in_words(number: int, line: str) -> tuple[Row, str] | None:
    """A header with its number before its name, or words behind a dash: 第二段主歌, A1, Chorus - 我想家."""
    inner = line.strip("【】[]()（）:： ")
    if ordered := _ORDERED.fullmatch(inner if inner.isascii() else simplified(inner)):
        order = _NUMERALS.get(ordered[1]) or int(ordered[1])
        return Row(number, "header", line, tag_of(ordered[2]), order), ""
    if lettered := _LETTERED.fullmatch(inner):
        tag: SectionTag = "verse" if lettered[1] == "A" else "chorus"
        return Row(number, "header", line, tag, int(lettered[2])), ""
    dashed = _DASHED.match(line)
    if dashed and _bare(dashed[1]) in _STRONG:
        name = dashed[1].strip()
        return Row(number, "header", name, tag_of(name), order_of(name)), line[dashed.end() :].strip()
    return None


def _named(number: int, line: str, style: str, name: str, rest: str) -> tuple[Row | None, str]:
    """As `_header`, of a line in its parts."""
    whole = name
    if style == ":" and _is_named(name, _CREDITS):
        return Row(number, "credit", line), ""
    name, repeats = _often(name)
    if rest and repeats == 1 and not _often(rest)[0]:
        repeats, rest = _often(rest)[1], ""
    tag, note = tag_of(name), False
    if tag is None and style in _BRACKETS and (loose := _LOOSE.search(name.lower().replace("_", "-"))):
        tag, note = _ALIASES[loose[0]], True
    if rest and style == ":" and _bare(name) not in _STRONG:
        return None, ""
    if tag is not None and style in _BRACKETS and rest and _is_note(rest):
        note, rest = True, ""
    if tag is not None and not (note and name.startswith("/")):
        order, ours = order_of(name), style == "<"
        return Row(number, "header", whole, tag, order, note=note, ours=ours, repeats=repeats), rest
    paragraph = len(name) <= _LONGEST_NAME and _PARAGRAPH.fullmatch(name)
    if style not in _BRACKETS and (paragraph or (style == ":" and _is_named(name, _RAPPED))):
        return Row(number, "unknown", whole), rest
    if style in _BRACKETS and name.startswith("/") and tag_of(name[1:]):
        return Row(number, "blank"), rest
    if style in _BRACKETS and not rest and not _is_named(name, _SINGERS):
        return Row(number, "unknown", whole, ours=style == "<"), ""
    return None, ""


def _times(stamps: str) -> tuple[float, ...]:
    return tuple(_seconds(m) for m in _STAMP.finditer(stamps))


def _seconds(stamped: re.Match[str]) -> float:
    hours, minutes, seconds, part = (
        stamped.group(1, 2, 3, 4) if stamped[1] else ("0", *stamped.group(5, 6, 7))
    )
    decimals = int(part) / 10 ** len(part) if part else 0.0
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + decimals


def _earlier(row: Row, offset: float) -> Row:
    """LRC's offset: a positive one brings the words up sooner."""
    times = tuple(max(0.0, t - offset) for t in row.times)
    return replace(row, times=times)
