"""Lyrics of the synthetic corpus: exact lengths, rhyme, one world, and variety."""

from collections import Counter

import pytest

from common.errors import LyricsError
from common.pinyin import is_han
from common.rhyme import group
from common.seeds import generator
from corpus import words
from corpus.moods import feeling
from corpus.phrases import expand, joints, templates

MOODS = ("伤感", "欢快", "宁静", "浪漫", "孤独", "激昂")


def song(seed, theme=None, mood=None):
    """(shape, lyrics) of a song of ordinary form."""
    rng = generator(seed, "shape of a test song")
    verse, pre, chorus = (tuple(int(n) for n in rng.integers(4, 12, size)) for size in (4, 2, 4))
    shape = [
        ("intro", ()), ("verse", verse), ("pre-chorus", pre), ("chorus", chorus),
        ("interlude", ()), ("verse", verse), ("chorus", chorus), ("bridge", pre), ("outro", chorus[:1]),
    ]  # fmt: skip
    theme = theme or words.THEMES[seed % len(words.THEMES)]
    return shape, words.write(generator(seed, "words"), theme, shape, mood or MOODS[seed % len(MOODS)])


@pytest.fixture(scope="module")
def songs():
    return [song(seed) for seed in range(80)]


def test_every_line_has_its_characters(songs):
    for shape, lyrics in songs:
        assert [section.tag for section in lyrics.sections] == [tag for tag, _ in shape]
        for (_, counts), section in zip(shape, lyrics.sections):
            assert tuple(map(len, section.lines)) == counts
    assert all(is_han(c) for _, lyrics in songs for line in lyrics.lines for c in line)


def test_a_repeated_chorus_is_the_same(songs):
    for _, lyrics in songs:
        first, second = (s.lines for s in lyrics.sections if s.tag == "chorus")
        assert first == second


def test_verses_differ_and_no_section_says_a_line_twice(songs):
    for _, lyrics in songs:
        first, second = (s.lines for s in lyrics.sections if s.tag == "verse")
        assert first != second
    twice = sum(len(s.lines) - len(set(s.lines)) for _, lyrics in songs for s in lyrics.sections)
    assert twice <= 2, "two short lines may fall together, but hardly ever"


def test_sections_rhyme(songs):
    """A scheme marks at least two of three and three of four lines; of these 90 % rhyme and more."""
    marked = rhymed = 0
    for _, lyrics in songs:
        for section in lyrics.sections:
            if len(section.lines) < 2:
                continue
            groups = Counter(group(line) for line in section.lines)
            best = groups.most_common(1)[0][1]
            marked += {2: 2, 4: 3}[len(section.lines)]
            pairs = sum(count for count in groups.values() if count > 1)
            rhymed += min(max(best, pairs), {2: 2, 4: 3}[len(section.lines)]) if best > 1 else 0
    assert rhymed / marked >= 0.9


def test_lines_are_seldom_shared_between_songs(songs):
    lines = Counter(
        line
        for _, lyrics in songs
        for section in lyrics.sections
        if section.tag == "verse"
        for line in section.lines
        if len(line) > 5
    )
    assert len(lines) / lines.total() > 0.9


def test_a_song_keeps_to_one_season_hour_and_weather(songs):
    """What a line names belongs to the song's world; only lines marked as memories may differ."""
    for seed in range(30):
        _, lyrics = song(seed)
        named = {}
        for line in lyrics.lines:
            if any(word in line for word in ("那年", "那时", "那天", "曾经", "当年", "从前", "小时候")):
                continue
            for dimension, value in words._named(line):
                named.setdefault(dimension, set()).add(value)
        for dimension in ("season", "weather"):
            assert len(named.get(dimension, ())) <= 2, (named, lyrics)
    rain = [song(seed, theme="下雨天")[1] for seed in range(20)]
    assert not any("阳光" in line or "星星" in line for lyrics in rain for line in lyrics.lines)


@pytest.mark.parametrize("theme", words.THEMES)
def test_every_theme_speaks_of_itself(theme):
    """The theme's own clauses, not the shared ones, make most of a song."""
    own = {
        clause.text
        for mood in ("bright", "calm", "dark")
        for clauses in words._bank(theme, mood).values()
        for clause in clauses
        if clause.own
    }
    lines = [line for seed in range(6) for line in song(seed, theme=theme)[1].lines]
    assert sum(any(line.endswith(text) for text in own if len(text) > 2) for line in lines) / len(lines) > 0.6


def test_dark_hooks_are_not_sung_in_bright_songs():
    dark = {c.text for c in words._bank("下雨天", "dark")["hook", 6]}
    bright = {c.text for c in words._bank("下雨天", "bright")["hook", 6]}
    assert dark - bright and bright - dark
    assert [feeling(mood).tone for mood in ("伤感", "欢快", "优雅", "莫名")] == [
        "dark",
        "bright",
        "calm",
        "calm",
    ]


def test_any_length_can_be_written():
    shape = [("verse", (1, 2, 3)), ("chorus", (12, 15, 18, 24)), ("bridge", (7,) * 10)]
    lyrics = words.write(generator(1, "lengths"), "海边", shape, "宁静")
    assert [tuple(map(len, s.lines)) for s in lyrics.sections] == [counts for _, counts in shape]


def test_the_same_generator_writes_the_same_song():
    assert song(5)[1] == song(5)[1] != song(6)[1]


def test_an_unknown_theme_is_refused():
    with pytest.raises(LyricsError, match="unknown theme '股票': use one of 思乡"):
        words.write(generator(1, "x"), "股票", [("verse", (7, 7))], "欢快")
    with pytest.raises(LyricsError, match="at least one character"):
        words.write(generator(1, "x"), "夏天", [("verse", (7, 0))], "欢快")


def test_no_clause_is_garbled():
    """Marks of the grammar don't leak, and every theme has clauses of every role."""
    for theme in words.THEMES:
        bank = words._bank(theme, "calm")
        assert {role for role, _ in bank} == {"scene", "act", "heart", "hook", "title"}
        for clauses in bank.values():
            for clause in clauses:
                assert all(is_han(c) for c in clause.text), (theme, clause)


def test_expand_writes_every_choice_once():
    assert expand("{大|小}雨{|天}") == ("大雨", "大雨天", "小雨", "小雨天")
    assert set(expand("{像{花|叶}|一样}")) == {"像花", "像叶", "一样"}
    assert [(t.pattern, t.marks) for t in templates("^甲 ~{乙|丙}\n丁")] == [
        ("甲", "^"),
        ("{乙|丙}", "~"),
        ("丁", ""),
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{大|小}雨{|天}",
        "{像{花|叶}|一样}",
        "{|很}好",
        "风",
        "",
        "{甲|乙{丙|丁|}}{戊|}",
        "今{天|晚}{我{想|要}|}走",
    ],
)
def test_joints_are_those_of_every_sentence(pattern):
    said = expand(pattern)
    pairs = {a + b for text in said for a, b in zip(text, text[1:])}
    assert joints(pattern) == (pairs, {text[-2:] for text in said if len(text) > 1})


def test_the_books_own_lines_are_familiar_and_cut_ones_are_not(songs):
    lines = [line for _, lyrics in songs for line in lyrics.lines]
    assert sum(map(words.is_familiar, lines)) > 0.97 * len(lines)
    cut = [line[:-1] for line in lines if len(line) > 4]
    assert sum(map(words.is_familiar, cut)) < 0.25 * len(cut)  # some say something still: 单车穿过街
    assert words.is_familiar("家") and not words.is_familiar("爱你真好抱")


def test_what_the_book_says_is_not_strange_and_what_sounds_like_it_is(songs):
    lines = [line for _, lyrics in songs for line in lyrics.lines]
    own = [words.strangeness(line) for line in lines]
    assert sum(value == 0 for value in own) > 0.95 * len(lines)
    long = [line for line in lines if len(line) > 4]
    mixed = [a[: len(a) // 2] + b[len(b) // 2 :] for a, b in zip(long, long[1:])]
    assert sum(words.strangeness(line) > 0 for line in mixed) > 0.75 * len(mixed)
    assert words.strangeness("拔剑向天见") > 0 and words.strangeness("我们不怕风里") > 0
