"""The form and the rhyme that a description asks for: 前奏-主歌-副歌-尾奏, 副歌出现两次, 带桥段, 押江阳韵.

A form is a list of section tags. What a description says of it narrows the forms that a plan is drawn from:
an order is taken as it stands (with an intro or an outro where only so the bars add up), numbers of verses
and choruses make an order in which they take turns, and parts that are wished for or refused are put into
the usual forms, or taken out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.description import normalise, simplified
from common.lyrics import SectionTag, tag_of
from common.rhyme import GROUPS, TRACKS
from corpus.forms import FORMS

Tags = tuple[SectionTag, ...]

# The longer of two names that begin alike comes first.
_CALLS = "预副歌 导歌 pre-chorus prechorus 前奏 intro 主歌 verse 副歌 chorus 桥段 bridge " + (
    "间奏 过门 interlude 尾奏 尾声 outro"
)
_NAMES: dict[str, SectionTag] = {name: tag for name in _CALLS.split() if (tag := tag_of(name))}
_LETTERS: dict[str, SectionTag] = {"a": "verse", "b": "chorus", "c": "bridge"}
_SUNG = ("verse", "chorus")
_NAME = "|".join(_NAMES)
_NEXT = r"\d{0,2}\s*(?:--?>?|[－—–→>＞+＋,，、/]|再?到|再接?|接|然后)?\s*"
_ORDER = re.compile(
    rf"(?:{_NAME})(?:{_NEXT}(?:{_NAME}))++(?!\s*[都各均里中])"
)  # 主歌、副歌、桥段都押韵 is none
_CALLED = re.compile(r"(?:结构|曲式|段落|形式|form|structure)(?:安排)?(?:是|为|用|采用|[:：=])?\s*$")
_CALLING = re.compile(r"\s*的?(?:结构|曲式|形式|form|structure)")
_LETTERED = re.compile(
    r"(?<![a-z])([abc]{3,8})(?![a-z])\s*(?:的)?(?:式|曲式|结构|形式|form)|(?:曲式|结构|form)(?:是|为|用|[:：])?\s*([abc]{3,8})(?![a-z])"
)
_NUMBERS = {"一": 1, "两": 2, "二": 2, "三": 3, "四": 4}
_COUNT = "[一两二三四1-4]"
_PART = "前奏|间奏|过门|桥段|预副歌|导歌|尾奏|尾声"
_WITHOUT = re.compile(rf"(?:不要|不用|不带|不加|没有|没|无|去掉|省略|别加?)(?:有|任何|太长的)?({_PART})")
_WITH = re.compile(rf"(?:有|带|设|含|加|要|包括|需要)(?:上|个|一个|一段|段)?({_PART})")
_RHYME = re.compile(r"押\s*(?:的是|着)?\s*([\u4e00-\u9fff]{2}|[a-zü]{1,4})\s*(?:韵|辙)")
_SCHEME = re.compile(
    r"(?:韵脚|韵式|押韵|押)(?:是|为|用|[:：])?\s*([a-d]{4})(?![a-z])|(?<![a-z])([a-d]{4})\s*(?:押?韵|韵脚|韵式)"
)
_EVERY = {
    "隔句押韵": "-A-A",
    "隔行押韵": "-A-A",
    "句句押韵": "AA",
    "每句押韵": "AA",
    "每句都押韵": "AA",
    "一韵到底": "AA",
}


@dataclass(frozen=True)
class _Asked:
    """What a description says of the form."""

    order: Tags = ()
    counts: dict[str, int] = field(default_factory=dict)  # of verses and choruses
    having: Tags = ()
    lacking: Tags = ()


def forms(description: str) -> tuple[tuple[Tags, ...], ...]:
    """Sets of forms to draw from, the first of which something fits; () where any form will do."""
    asked = _read(description)
    if asked.order:
        order = asked.order
        longer: tuple[Tags, ...] = ((*order, "outro"), ("intro", *order), ("intro", *order, "outro"))
        return ((order,), *((tags,) for tags in longer if _is_form(tags)))
    if not (asked.counts or asked.having or asked.lacking):
        return ()
    bases = _counted(asked.counts) if asked.counts else FORMS
    made = tuple(dict.fromkeys(form for base in bases if (form := _with_parts(base, asked))))
    return (made,) if made else ()


def _read(description: str) -> _Asked:
    text = simplified(normalise(description)).lower()
    for match in _ORDER.finditer(text):
        found = tuple(_NAMES[name] for name in re.findall(_NAME, match[0]))
        named = _CALLED.search(text[: match.start()]) or _CALLING.match(text, match.end())
        if set(found) & set(_SUNG) and (len(found) > 2 or named):
            return _Asked(order=found)
    if lettered := _LETTERED.search(text):
        return _Asked(order=tuple(_LETTERS[letter] for letter in lettered[1] or lettered[2]))
    counts = {
        tag: count for name, tag in (("主歌", "verse"), ("副歌", "chorus")) if (count := _count(text, name))
    }
    lacking = tuple(dict.fromkeys(_NAMES[name] for name in _WITHOUT.findall(text)))
    having = tuple(dict.fromkeys(_NAMES[name] for name in _WITH.findall(_WITHOUT.sub("", text))))
    return _Asked((), counts, having, lacking)


def _count(text: str, name: str) -> int:
    """How often a section is to come, as 两段主歌 or 副歌出现两次 say it; 0 where nothing does."""
    match = re.search(
        rf"({_COUNT})\s*[段遍次个]{name}|{name}(?:要|有|各|只)?(?:出现|重复|唱|写)?({_COUNT})\s*[段遍次]",
        text,
    )
    if not match:
        return 0
    said = match[1] or match[2]
    return _NUMBERS.get(said) or int(said)


def _counted(counts: dict[str, int]) -> Iterator[Tags]:
    """Verses and choruses that take turns; further verses stand at the start, further choruses at the end."""
    verses = counts.get("verse", counts.get("chorus", 1))
    choruses = counts.get("chorus", verses)
    turns = min(verses, choruses)
    core: list[SectionTag] = ["verse"] * (verses - turns)
    core += ["verse", "chorus"] * turns
    core += ["chorus"] * (choruses - turns)
    for intro in ((), ("intro",)):
        for outro in ((), ("outro",)):
            yield (*intro, *core, *outro)


def _with_parts(base: Tags, asked: _Asked) -> Tags:
    """A form with the parts that are wished for and without those refused; () where that is none."""
    tags = [tag for tag in base if tag not in asked.lacking]
    for part in (p for p in asked.having if p not in tags):
        if part == "intro":
            tags.insert(0, part)
        elif part == "outro":
            tags.append(part)
        elif part == "pre-chorus":
            tags = [t for tag in tags for t in ((part, tag) if tag == "chorus" else (tag,))]
        elif "verse" not in tags or "chorus" not in tags:
            return ()  # nothing to lead from and to
        else:
            between_verses = part == "interlude" and tags.count("verse") > 1
            before: SectionTag = "verse" if between_verses else "chorus"
            tags.insert(len(tags) - 1 - tags[::-1].index(before), part)
    made = tuple(tags)
    return made if _is_form(made) else ()


def _is_form(tags: Tags) -> bool:
    """Whether somebody would write it: an intro only at the start, an outro only at the end."""
    return bool(tags) and "intro" not in tags[1:] and "outro" not in tags[:-1]


def rhyme(description: str) -> str:
    """The rhyme that a description asks for: a group such as 江阳, a scheme such as AABA, or "" for none."""
    text = simplified(normalise(description)).lower()
    if match := _RHYME.search(text):
        said = match[1]
        return said if said in GROUPS else next((g for g, finals in TRACKS.items() if said in finals), "")
    if (match := _SCHEME.search(text)) and len(set(match[1] or match[2])) < 4:
        return (match[1] or match[2]).upper()
    return next((scheme for said, scheme in _EVERY.items() if said in text), "")
