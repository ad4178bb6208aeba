"""Original Chinese lyrics for the synthetic corpus: a hand-written phrase grammar for every theme.

A line is a clause of the theme, sometimes after an opener (a time, a place, a turn of thought). Clauses come
in roles: `scene` (what is seen), `act` (what I do), `heart` (what I think), `hook` (what the song says), with
`bright` and `dark` hooks by mood. All clauses of a song agree on its season, hour and weather. Sections rhyme
in one of the thirteen tracks (十三辙); a repeated chorus is the same words.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import numpy as np
import yaml

from common.errors import LyricsError
from common.lyrics import Lyrics, LyricSection, SectionTag
from common.rhyme import group
from corpus.moods import feeling
from corpus.phrases import expand, joints, pick, templates

THEMES: tuple[str, ...] = (
    "思乡", "下雨天", "离别", "初恋", "夏天", "青春", "城市夜晚", "旅行", "友情", "母亲",
    "梦想", "孤独", "海边", "春天", "秋天", "冬天", "重逢", "江湖", "童年", "星空",
    "父亲", "毕业", "失恋", "告白", "婚礼", "打工", "月亮", "过年", "日常", "宠物", "草原", "失眠",
    "生日", "晚安", "美食", "运动", "考试",
)  # fmt: skip

_MOON = "(?<![岁腊正一二三四五六七八九十])月"
# What a line says of the season, hour and weather, as patterns: 青春 is no spring, 岁月 no moon. A song keeps
# to one of each.
WORLD: dict[str, dict[str, str]] = {
    "season": {
        "春天": "(?<!青)春(?![联节]) 桃花 燕子 柳 樱花 风筝 嫩芽 发芽",
        "夏天": "夏 蝉 西瓜 汽水 萤火 荷 蜻蜓 冰淇淋 短袖 冰棒 凉席",
        "秋天": "秋 落叶 枫 桂花 大雁 黄叶 叶落 落叶 红叶",
        "冬天": "冬 雪 炉火 围巾 寒风 梅花 手套 结冰",
    },
    "hour": {
        "day": "清晨 早晨 阳光 烈日 午后 太阳 日出 晨光 天亮 黎明 蓝天 白云 朝阳 晴",
        "night": f"夜 {_MOON} 星(?!期) 灯 霓虹 黄昏 (?<![不嫌怕太])晚 夕阳 日落 暮 黑暗",
    },
    "weather": {
        "clear": f"阳光 太阳 烈日 晴 {_MOON} 星(?!期) 蓝天 白云 夕阳 晚霞 日出 日落 朝阳 晒",
        "rain": "(?<![风挡])雨 伞 水洼 屋檐滴 雷 淋 乌云",
        "snow": "雪",
    },
}  # fmt: skip
_SEASON_OF_SNOW = "冬天"
# The kinds of lines of a section, in turn.
ROLES: dict[str, tuple[str, ...]] = {
    "intro": ("scene",),
    "verse": ("scene", "act", "scene", "heart"),
    "pre-chorus": ("act", "heart"),
    "chorus": ("title", "hook"),
    "bridge": ("heart", "hook"),
    "interlude": ("heart",),
    "outro": ("hook", "title"),
}
# What may stand before a clause: a time or place, a turn of thought, or whom the hook is told to.
OPENERS = {"scene": "when", "act": "when", "heart": "turn", "hook": "call", "title": "call"}
SCHEMES: dict[int, tuple[str, ...]] = {1: ("A",), 2: ("AA",), 3: ("AAA", "ABA"), 4: ("AAAA", "AABA", "ABAB")}
_COMMON = {"when": 2, "turn": 3, "call": 2}  # how often a song may use an opener of no theme
_PLACE = re.compile(
    "操场|教室|街|巷|窗|路口|站台|月台|房间|屋|院|厨房|车站|走廊|看台|跑道|田|山坡|河|桥|海|湖|城|镇|楼|路上|沙滩|草原|门"
)
_ADVERBS = ("独自", "又", "总", "常", "正", "也", "偶尔", "时常", "默默", "依旧")  # 独自: not 我们
_BEARS = re.compile("我们?[^们一两第没不也又总还再都正把为替给]")
_ATTEMPTS = 4  # at a stanza
_TWO = 8  # characters from which a line may be two clauses
_SPOKEN = {"scene", "act", "heart", "hook", "bright", "dark", *OPENERS.values()}  # kinds of sentences
_LEADS = {"scene": "scene", "act": "scene", "heart": "heart", "hook": "hook", "title": "hook"}
_QUESTION = re.compile("吗$|呢$|谁|哪里|会不会|有没有|好不好|什么|是否|懂不懂|是不是|能不能")
_FALLBACKS = ("heart", "hook", "title", "scene", "act")


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence of a theme, with what the choice of a line needs to know of it."""

    text: str
    template: str
    rhyme: str
    world: frozenset[tuple[str, str]]  # (dimension, value) that it names
    opens: bool  # an opener may stand before it
    own: bool  # of the theme itself, not of a shared set


Bank = dict[tuple[str, int], list[Clause]]  # (role, length) → clauses


@dataclass
class _Song:
    """What the lines of one song share while it is written."""

    rng: np.random.Generator
    theme: str
    valence: str  # bright, dark or calm
    world: dict[str, str]
    used: set[str] = field(default_factory=set)  # templates, openers and lines
    common: dict[str, int] = field(default_factory=dict)  # openers of no theme, by kind
    written: dict[tuple[SectionTag, tuple[int, ...]], tuple[str, ...]] = field(default_factory=dict)


@dataclass
class _Attempt:
    """A stanza, what it had to give up, and what it used up."""

    lines: list[str]
    cost: float
    used: set[str]
    common: dict[str, int]


def write(
    rng: np.random.Generator, theme: str, shape: Sequence[tuple[SectionTag, Sequence[int]]], mood: str
) -> Lyrics:
    """Write lyrics on a theme.

    Args:
        rng: every choice is drawn from it.
        theme: one of `THEMES`.
        shape: for each section its tag and the number of characters of each of its lines (none where nobody
            sings).
        mood: a Chinese word; whether it is bright, dark or calm (`corpus.moods`) chooses the hooks.
    Raises:
        LyricsError: the theme isn't one of `THEMES`, or a line has no characters.
    """
    if theme not in THEMES:
        raise LyricsError(f"unknown theme {theme!r}: use one of {'、'.join(THEMES)}")
    if any(n < 1 for _, counts in shape for n in counts):
        raise LyricsError("every line of the shape needs at least one character")
    song = _Song(rng, theme, feeling(mood).tone, _choose_world(rng, theme))
    return Lyrics(tuple(LyricSection(tag, _section(song, tag, tuple(counts))) for tag, counts in shape))


# ---- a section ---------------------------------------------------------------------------


def _section(song: _Song, tag: SectionTag, counts: tuple[int, ...]) -> tuple[str, ...]:
    """The lines of a section; a chorus or pre-chorus of a shape that was written before is repeated."""
    repeated = song.written.get((tag, counts))
    if repeated is not None and tag in ("chorus", "pre-chorus"):
        return repeated
    lines: list[str] = []
    for start in range(0, len(counts), 4):
        lines += _stanza(song, tag, counts[start : start + 4], lines)
    song.written[tag, counts] = tuple(lines)
    return tuple(lines)


def _stanza(song: _Song, tag: SectionTag, counts: tuple[int, ...], before: list[str]) -> list[str]:
    """Up to four lines under one rhyme scheme: the best of some attempts with rhymes drawn anew."""
    roles = ROLES[tag]
    wanted = [roles[(len(before) + i) % len(roles)] for i in range(len(counts))]
    used, common, best = frozenset(song.used), dict(song.common), _Attempt([], float("inf"), set(), {})
    for _ in range(_ATTEMPTS):
        song.used, song.common = set(used), dict(common)
        scheme = pick(song.rng, SCHEMES[len(counts)])
        attempt = _attempt(song, wanted, counts, scheme, before)
        if attempt.cost < best.cost:
            best = attempt
        if best.cost == 0:
            break
    song.used, song.common = best.used, best.common
    return best.lines


def _attempt(
    song: _Song, wanted: list[str], counts: tuple[int, ...], scheme: str, before: list[str]
) -> _Attempt:
    rhymes = _rhymes(song, before, wanted, counts, scheme)
    lines: list[str] = []
    total = 0.0
    for role, count, letter in zip(wanted, counts, scheme):
        line, cost = _line(song, role, count, rhymes.get(letter), {line[-1] for line in before + lines})
        lines.append(line)
        total += cost
    return _Attempt(lines, total, song.used, song.common)


def _rhymes(
    song: _Song, before: list[str], wanted: list[str], counts: tuple[int, ...], scheme: str
) -> dict[str, str]:
    """A rhyme for A (the one before it in the section, if any) and for B where B occurs twice."""
    supply: dict[str, list[int]] = defaultdict(list)
    for role, count in zip(wanted, counts):
        found: dict[str, set[str]] = defaultdict(set)
        for clause in _endings(song, role, count):
            if clause.template not in song.used:
                found[clause.rhyme].add(clause.template)
        for rhyme, choices in found.items():
            supply[rhyme].append(len(choices))
    least = {name: sum(min(size, 12) for size in sizes) for name, sizes in supply.items()}
    names = sorted(name for name in least if len(supply[name]) == len(counts)) or sorted(least)
    if not names:
        return {}
    weights = np.array([least[name] for name in names], dtype=float) ** 2
    drawn = [str(r) for r in song.rng.choice(names, size=2, p=weights / weights.sum())]
    first = group(before[0]) if before else drawn[0]
    second = drawn[1] if scheme.count("B") > 1 else None
    return {"A": first} if second is None else {"A": first, "B": second}


# ---- a line ------------------------------------------------------------------------------


def _line(song: _Song, role: str, count: int, rhyme: str | None, ends: set[str]) -> tuple[str, float]:
    """A line of exactly `count` characters, and what it cost in role, novelty and rhyme."""
    others = tuple(other for other in _FALLBACKS if other != role)
    if count >= _TWO and song.rng.random() < (count - _TWO + 1) / 4:
        both = _both(song, role, count, rhyme, ends)
        if both:
            return both, 0.0
    for roles, rhymed, fresh, cost in (
        ((role,), rhyme, True, 0.0),
        (others, rhyme, True, 1.0),
        ((role, *others), rhyme, False, 3.0),
        ((role, *others), None, False, 10.0),
    ):
        for kind in roles:
            line = _try(song, kind, count, rhymed, ends, fresh)
            if line is None and count >= _TWO:
                line = _both(song, kind, count, rhymed, ends)
            if line:
                return line, cost
    if count >= _TWO:
        head, _ = _line(song, "scene", count // 2, None, set())
        tail, cost = _line(song, role, count - count // 2, rhyme, ends)
        return head + tail, cost
    return (
        "啊",
        "啦啦",
        "慢慢走",
        "慢慢地走",
        "慢慢地走啊",
        "慢慢地往前走",
        "一步步慢慢向前",
        "一步一步慢慢走着",
    )[count - 1], 20.0


def _try(song: _Song, role: str, count: int, rhyme: str | None, ends: set[str], fresh: bool) -> str | None:
    found = [c for c in _candidates(song, role, count) if rhyme is None or c.rhyme == rhyme]
    found = [c for c in found if c.text[-1] not in ends and not (fresh and c.template in song.used)]
    own = [c for c in found if c.own]
    if own and song.rng.random() < 0.85:
        found = own
    bare = [c for c in found if len(c.text) == count]
    if bare and song.rng.random() < 0.6:
        found = bare
    for _ in range(min(len(found), 12)):
        clause = pick(song.rng, found)
        opener = _opener(song, clause, role, count - len(clause.text))
        if opener is not None and opener + clause.text not in song.used:
            song.used |= {clause.template, opener + clause.text} | ({opener} if opener else set())
            return opener + clause.text
    return None


def _both(song: _Song, role: str, count: int, rhyme: str | None, ends: set[str]) -> str | None:
    """A line of two short clauses, the second of which rhymes."""
    tails = [
        c
        for c in _parts(song, role, count)
        if (rhyme is None or c.rhyme == rhyme) and c.text[-1] not in ends and c.template not in song.used
    ]
    if not tails:
        return None
    tail = pick(song.rng, tails)
    bank = _bank(song.theme, song.valence)
    heads = [
        c
        for c in bank.get((_LEADS[role], count - len(tail.text)), ())
        if c.own and c.template not in song.used | {tail.template} and _agrees(c.world, song.world)
    ]
    heads = [c for c in heads if not set(c.text) & set(tail.text) - set("的我你在")]
    if not heads:
        return None
    head = pick(song.rng, heads)
    song.used |= {head.template, tail.template}
    return head.text + tail.text


def _parts(song: _Song, role: str, count: int) -> Iterator[Clause]:
    """The clauses that may end a line of two."""
    bank = _bank(song.theme, song.valence)
    for length in range(4, 8):
        if 4 <= count - length <= 7:
            yield from (c for c in bank.get((role, length), ()) if c.own and _agrees(c.world, song.world))


def _endings(song: _Song, role: str, count: int) -> Iterator[Clause]:
    """Every clause that a line may end with."""
    yield from _candidates(song, role, count)
    if count >= _TWO:
        yield from _parts(song, role, count)


def _candidates(song: _Song, role: str, count: int) -> Iterator[Clause]:
    """The clauses of a role that make a line of `count` characters, with an opener or without."""
    bank, opener_lengths = _bank(song.theme, song.valence), _openers(song.theme, role)
    for length in range(max(count - max(opener_lengths, default=0), 1), count + 1):
        if length != count and (count - length not in opener_lengths or length < 3):
            continue
        for clause in bank.get((role, length), ()):
            if (length == count or clause.opens) and _agrees(clause.world, song.world):
                yield clause


def _opener(song: _Song, clause: Clause, role: str, length: int) -> str | None:
    """Words before the clause: "" when none are needed, None when none agree with it.

    Openers that any theme may have are said a few times in a song at most.
    """
    if length == 0:
        return ""
    kind = OPENERS[role]
    common = song.common.get(kind, 0) < _COMMON[kind]
    fitting = [
        opener
        for opener in _openers(song.theme, role).get(length, ())
        if (opener.own or common) and opener.text not in song.used and _joins(opener, clause, song.world)
    ]
    if not fitting:
        return None
    own = [opener for opener in fitting if opener.own]
    opener = pick(song.rng, own if own and song.rng.random() < 0.7 else fitting)
    if not opener.own:
        song.common[kind] = song.common.get(kind, 0) + 1
    return opener.text


def _joins(opener: Clause, clause: Clause, world: dict[str, str]) -> bool:
    """Whether an opener says nothing that its clause says too, or that the song's world forbids."""
    if opener.world and not _agrees(opener.world, world):
        return False
    if {dimension for dimension, _ in opener.world} & {dimension for dimension, _ in clause.world}:
        return False
    if _PLACE.search(opener.text) and _PLACE.search(clause.text[:3]):
        return False
    return not set(opener.text) & set(clause.text) - set("的我你一")


# ---- the song's world --------------------------------------------------------------------


def _choose_world(rng: np.random.Generator, theme: str) -> dict[str, str]:
    """A season, hour and weather that the theme allows."""
    allowed = _theme(theme).get("world", {})
    season = pick(rng, allowed.get("season", list(WORLD["season"])))
    hour = pick(rng, allowed.get("hour", list(WORLD["hour"])))
    weather = pick(rng, allowed.get("weather", ["clear", "clear", "rain", "snow"]))
    if weather == "snow" and season != _SEASON_OF_SNOW:
        weather = "clear"
    return {"season": season, "hour": hour, "weather": weather}


def _agrees(named: frozenset[tuple[str, str]], world: dict[str, str]) -> bool:
    return all(world[dimension] == value for dimension, value in named)


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    return tuple(
        (dimension, value, re.compile("|".join(words.split())))
        for dimension, values in WORLD.items()
        for value, words in values.items()
    )


def _named(text: str) -> frozenset[tuple[str, str]]:
    """What a sentence says of season, hour and weather."""
    return frozenset((d, v) for d, v, pattern in _patterns() if pattern.search(text))


# ---- what the book knows ------------------------------------------------------------------


def is_familiar(line: str) -> bool:
    """Whether a line ends as some clause does, and its characters stand beside each other as in clauses.

    Between two clauses, or an opener and a clause, one pair may be new. 你是我的答案 is, 你是我的答 isn't.
    What a book knows is little: use it to choose between lines, not to refuse them.
    """
    pairs, ends = _known()
    strange = sum(a + b not in pairs for a, b in zip(line, line[1:]))
    return strange <= 1 and (len(line) < 2 or line[-2:] in ends)


def strangeness(line: str) -> int:
    """How many runs of three characters stand in no clause of the book; a line's ends count as characters.

    0 for the book's own clauses, also behind one of its openers, with an adverb behind 我, and two in a long
    line; what only sounds like them (我们不怕风里, 拔剑向天见) has one or more.
    """
    ways = [line]
    for adverb in _ADVERBS:
        ways += [who + line[len(who + adverb) :] for who in ("我", "我们") if line.startswith(who + adverb)]
    return min(_strange(a) + _strange(b) for way in ways for a, b in (("", way), *_halves(way)))


def _halves(line: str) -> Iterator[tuple[str, str]]:
    """An opener and the rest, or two clauses of a long line."""
    opening = _triples()[1]
    for place in range(1, len(line) - 2):
        if line[:place] in opening:
            yield "", line[place:]
        elif len(line) >= _TWO and 3 <= place <= len(line) - 3:
            yield line[:place], line[place:]


def _strange(clause: str) -> int:
    marked = f"^{clause}$" if clause else ""
    return sum(marked[i : i + 3] not in _triples()[0] for i in range(len(marked) - 2))


def clause_runs(theme: str | None = None) -> frozenset[str]:
    """The runs of three characters that stand in clauses of the book; `^` begins and `$` ends a clause.

    Args:
        theme: of its clauses and those that themes share alone; None: of all.
    """
    return _triples(theme)[0]


@cache
def _triples(theme: str | None = None) -> tuple[frozenset[str], frozenset[str]]:
    """(runs of three characters with the ends of clauses, openers) of the book."""
    runs: set[str] = set()
    opening: set[str] = set()
    for block in (*_read("shared").values(), *map(_theme, (theme,) if theme else THEMES)):
        for role, text in block.items():
            if role not in _SPOKEN:
                continue
            clauses = [clause for template in templates(text) for clause in expand(template.pattern)]
            if role in OPENERS.values():
                opening.update(clauses)
                continue
            for clause in clauses:
                marked = f"^{clause}$"
                runs.update(marked[i : i + 3] for i in range(len(marked) - 2))
    return frozenset(runs), frozenset(opening)


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """(neighbouring characters, last two characters) of every clause and opener of the book."""
    pairs: set[str] = set()
    ends: set[str] = set()
    for block in (*_read("shared").values(), *map(_theme, THEMES)):
        for role, text in block.items():
            if role not in _SPOKEN:
                continue
            for template in templates(text):
                inside, last = joints(template.pattern)
                pairs |= inside
                if role not in OPENERS.values():  # no line ends with an opener
                    ends |= last
    begun = {pair[1] for pair in pairs if pair[0] in "我们"}
    for adverb in _ADVERBS:  # as `_adverbs` puts them behind 我 and 我们
        said = f"我{adverb}"
        pairs |= {said[i : i + 2] for i in range(len(adverb))}
        pairs |= {"们" + adverb[0]} | {adverb[-1] + after for after in begun}
    return frozenset(pairs), frozenset(ends)


# ---- the lexicon -------------------------------------------------------------------------


@cache
def _read(name: str) -> dict:
    text = resources.files("corpus.lexicon").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _theme(theme: str) -> dict:
    """The lexicon of a theme, with the world it allows and the shared sets of each valence."""
    settings = dict(_read("themes")[theme])
    sets = {f"{mood}_sets": settings.pop(mood) for mood in ("bright", "calm", "dark")}
    return settings | sets | _read(settings["file"])


@cache
def _bank(theme: str, mood: str) -> Bank:
    """Every clause of a theme, its shared sets included; hooks are those of the mood and the neutral ones."""
    data, shared = _theme(theme), _read("shared")
    blocks = [(True, data)] + [(False, shared[name]) for name in data[mood + "_sets"]]
    bank: Bank = defaultdict(list)
    for own, block in blocks:
        for role, text in block.items():
            if role in ("scene", "act", "heart", "hook"):
                _add(bank, role, text, own)
            elif role == mood or (mood == "calm" and role in ("bright", "dark") and own):
                _add(bank, "hook", text, own)
            if own and role in ("hook", mood):
                _add(bank, "title", text, own)
    return dict(bank)


def _add(bank: Bank, role: str, text: str, own: bool) -> None:
    for clause in _clauses(text, role, own):
        bank[role, len(clause.text)].append(clause)


@cache
def _clauses(text: str, role: str, own: bool) -> tuple[Clause, ...]:
    """Every sentence of a block. The last two characters tell how the last is read."""
    out = []
    for template in templates(text):
        for sentence in (said for plain in template for said in _adverbs(plain, role)):
            world = frozenset() if "~" in template.marks else _named(sentence)
            opens = "^" not in template.marks and not (role == "heart" and _QUESTION.search(sentence))
            out.append(Clause(sentence, template.pattern, group(sentence[-2:]), world, opens, own))
    return tuple(out)


def _adverbs(sentence: str, role: str) -> Iterator[str]:
    """What I do, and that I do it again, alone, as always: where the sentence bears an adverb."""
    yield sentence
    if role == "act" and _BEARS.match(sentence):
        who = 2 if sentence[1] == "们" else 1
        for adverb in ("又",) if "了" in sentence else _ADVERBS[who - 1 :]:
            yield sentence[:who] + adverb + sentence[who:]


@cache
def _openers(theme: str, role: str) -> dict[int, list[Clause]]:
    """What may stand before a clause of a role, by length: times and places, or turns of thought."""
    kind = OPENERS[role]
    bank: Bank = defaultdict(list)
    _add(bank, "opener", _theme(theme).get(kind, ""), own=True)
    _add(bank, "opener", _read("shared")["openers"][kind], own=False)
    return {length: clauses for (_, length), clauses in bank.items()}
