"""ABC: our scores come back equal, other people's tunes are read or refused by line."""

import logging
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from score_strategies import scores

from common.abc import from_abc, to_abc
from common.errors import ScoreError
from common.score import HOLD, ChordChange, Groove, Note, Score, Section
from common.theory import Key


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(scores())
def test_reading_what_was_written_gives_the_same_score(score: Score) -> None:
    assert from_abc(to_abc(score)) == score


VERSE = (
    Note(0, 12, 69, "我", "wo3"),
    Note(12, 8, 71, "还", "huan2"),
    Note(20, 4, 72, HOLD, "huan2"),
    Note(24, 30, 74, "你", "ni3", ends_line=True),
    Note(60, 4, 73),
    Note(64, 4, 73),
    Note(68, 4, 68),
)
GROOVE = Groove("X" * 16, "." * 16, "x" * 16)
SCORE = Score(
    98.5,
    Key(9, "yu"),
    (
        Section("intro", 1, (ChordChange(0, "Am7"),)),
        Section(
            "verse",
            2,
            (ChordChange(0, "N"), ChordChange(30, "F/C")),
            VERSE,
            Groove("X" * 16, "." * 16, "x" * 16),
        ),
    ),
    lead_in=0.2,
    title="归还",
)


def test_the_text_is_what_abc_programs_expect() -> None:
    assert to_abc(SCORE).splitlines() == [
        "%abc-2.1",
        "X:1",
        "T:归还",
        "M:4/4",
        "L:1/8",
        "Q:1/4=98",
        "%%baihua-tempo 98.5",
        "%%baihua-key A yu",
        "%%baihua-lead-in 0.2",
        "K:Am",
        "P:intro",
        '"Am7"z8 |]',
        "P:verse",
        "%%baihua-groove XXXXXXXXXXXXXXXX|................|xxxxxxxxxxxxxxxx",
        "%%baihua-readings 2:huan2",
        '"N"A2 (3:2:2B2c d- "F/C"d3- | dz',
        "w:我 还 _ 你 _ _",
        "(3:2:3^c^c^G z4 |]",
    ]
    assert from_abc(to_abc(SCORE)) == SCORE


FOREIGN = """X: 7
T: 茉莉花 % a folk song
C: trad.
M: 2/4
L: 1/16
Q: "Moderato" 1/4=80
K: G clef=treble
D4 |: "Gmaj" B2B2 d2>e2 | "Em7" [Gg]4 e2{a}d2- | d4 (3B2c2d2
w: 啊 好一朵美丽 的 _ _ 茉 莉 花
w: 啊 芬 芳 美 丽 满 枝 _ 桠 _ 啊
|1 z8 | Z :|2 !fermata!^A,8 |] % the end
"""


def test_other_peoples_tunes_are_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        score = from_abc(FOREIGN)
    assert (score.title, score.tempo, score.metre, score.key) == ("茉莉花", 80.0, (2, 4), Key(7))
    assert "of the notes [Gg] the highest is kept" in caplog.text
    first, second = score.sections[0], score.sections[1]
    assert [n.start for n in first.notes][:4] == [12, 24, 30, 36], "the pickup fills its bar from the left"
    assert [(n.duration, n.pitch) for n in first.notes][3:5] == [(9, 74), (3, 76)], "broken rhythm"
    assert [n.syllable for n in first.notes] == [*"啊好一朵美丽的-茉莉花"]
    assert first.notes[7].duration == 6 + 12, "tied over the bar line"
    assert [n.duration for n in first.notes[-3:]] == [4, 4, 4]
    assert [c.symbol for c in first.chords] == ["G", "Em7"]
    assert "".join(n.syllable or "" for n in second.notes).startswith("芬芳美丽"), "verse 2"
    assert second.notes[-1].pitch == 58, "the second ending"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("K: G clef=treble", "K: Hp", "line 7: key 'Hp'"),
        ("M: 2/4", "M: none", "line 4: metre 'none'"),
        ("d2>e2", "d2>e4", "line 8: a bar has 2.25 quarter notes, the metre asks for 2"),
        ("D4 |:", "D4 |: ©", "line 8: '©' at column 7"),
        ("莉 花", "莉 花 香", "line 9: .* words stand under"),
        ("L: 1/16", "L: 1/0", "line 5: '1/0'"),
    ],
)
def test_what_cannot_be_read_names_its_line(old: str, new: str, message: str) -> None:
    assert old in FOREIGN
    with pytest.raises(ScoreError, match=message):
        from_abc(FOREIGN.replace(old, new))


def test_a_tune_without_key_or_notes_is_refused() -> None:
    with pytest.raises(ScoreError, match="K:"):
        from_abc("X:1\nT:x\nCDEF|")
    with pytest.raises(ScoreError, match="no notes"):
        from_abc("X:1\nK:C\n")
    with pytest.raises(ScoreError, match="unknown directive"):
        from_abc("X:1\nK:C\n%%baihua-grove x|x|x\nC|")


def test_fast_notes_are_moved_to_ticks_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        score = from_abc("X:1\nL:1/32\nQ:60\nK:Bb\nBcde f4 z24 |]")
    assert "2 notes were moved" in caplog.text or "notes were moved" in caplog.text
    assert [n.pitch for n in score.sections[0].notes] == [70, 72, 74, 75, 77]
    assert sum(n.duration for n in score.sections[0].notes) == 12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("M: 2/4", "M: 4/0", "line 4: metre 4/0"),
        ("M: 2/4", "M: 0/4", "line 4: metre 0/4"),
        ("M: 2/4", "M: 5/16", "line 4: metre 5/16"),
        ("L: 1/16", "L: -1/16", "line 5: a unit length"),
        ('Q: "Moderato" 1/4=80', "Q:1/0=100", "divides by nought"),
        ("C: trad.", "%%baihua-title 5", "line 3: %%baihua-title can't be read: '5'"),
        ("C: trad.", "%%baihua-title [1]", "line 3: %%baihua-title"),
        ("C: trad.", "%%baihua-meta " + "[" * 9000, "line 3: %%baihua-meta"),
        ("C: trad.", "%%baihua-key H moll", "line 3: %%baihua-key: a key begins with a note name"),
        ("C: trad.", "%%baihua-tempo fast", "line 3: %%baihua-tempo"),
    ],
)
def test_wrong_numbers_and_directives_are_score_errors(old: str, new: str, message: str) -> None:
    assert old in FOREIGN
    with pytest.raises(ScoreError, match=message):
        from_abc(FOREIGN.replace(old, new))


HEAD = "X:1\nM:4/4\nL:1/8\nQ:1/4=90\n"


def melody(text: str) -> list[int]:
    return [note.pitch for section in from_abc(text).sections for note in section.notes]


@pytest.mark.parametrize(
    "body",
    [
        "K:C\n[V:1] C8|\n[V:2] E8|\n[V:1] D8|\n[V:2] F8|\n",
        "K:C\nV:1\nV:2\n[V:1] C8|\n[V:2] E8|\n[V:1] D8|\n[V:2] F8|\n",
        "V:1 name=Voice\nV:2 name=Bass\nK:C\nV:2\nE8|F8|\nV:1\nC8|D8|\n",
        "V:0\nV:1\nK:C\n[V:1 clef=treble] C8|[V:2] E8|[V:1] D8|\n",
        "K:C\nC8|\nV:2\nE8|\nV:1\nD8|\n",
        "K:C\nV:tune\nC8|D8|\nV:bass\nE8|F8|\n",
        "K:C\n[V:1] C8|[V:2] @ what we don't read |\n[V:1] D8|\n",
    ],
)
def test_the_first_voice_is_read_alone_and_whole(body: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert melody(HEAD + body) == [60, 62]
    assert caplog.text.count("is read, not") == 1


def test_words_and_parts_between_voices_are_the_first_ones() -> None:
    score = from_abc(
        HEAD + "K:C\nP:verse\n[V:1] C8|\nw: 月\n[V:2] E8|\nw: 星\nP:chorus\n[V:1] D8|\nw: 光\n"
        "[V:2] F8|\nP:chorus\n[V:1] E8|\n"
    )
    assert [(s.tag, [n.syllable for n in s.notes]) for s in score.sections] == [
        ("verse", ["月"]),
        ("chorus", ["光", None]),
    ]


OWN = Score(104.854, Key(9, "yu"), (Section("verse", 1, notes=(Note(0, 12, 69),)),), title="100% 好")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("Q:1/4=105", "Q:1/4=140", {"tempo": 140.0}),
        ("Q:1/4=105", "Q:1/2=70", {"tempo": 140.0}),
        ("K:Am", "K:Em", {"key": Key(4, "minor")}),
        ("T:", "T:月光", {"title": "月光"}),
        ("Q:1/4=105", "Q: 1/4 = 105", {}),
        ("K:Am", "K:A minor", {}),
        ("Q:1/4=105\n", "", {}),
    ],
)
def test_an_edited_field_counts_more_than_its_directive(
    old: str, new: str, changed: dict, caplog: pytest.LogCaptureFixture
) -> None:
    text = to_abc(OWN)
    assert from_abc(text) == OWN and text.count(old) == 1 and "%%baihua-title" in text
    with caplog.at_level(logging.WARNING):
        assert from_abc(text.replace(old, new)) == replace(OWN, **changed)
    assert ("no longer counts" in caplog.text) == bool(changed)


def words(text: str) -> list[str | None]:
    return [note.syllable for section in from_abc(text).sections for note in section.notes]


@pytest.mark.parametrize(
    "body",
    [
        "CDEF GABc|\nw: 我 从 山 中\n+: 来 带 着 花\n",
        "CDEF GABc|\nw: 我 从 山 中 \\\n% remark\n+: 来 带 着 花 % another\n",
        "CDEF \\\nGABc|\nw: 我 从 山 中 来 带 着 花\n",
        "CDEF GABc|\nw: 1.~我 从 山 中 来 带 着 花\n",
    ],
)
def test_words_that_go_on(body: str) -> None:
    assert words(HEAD + "K:C\n" + body) == [*"我从山中来带着花"]


def test_words_below_each_of_two_joined_lines() -> None:
    body = "CDEF \\\nw: 我 从 山 中\nGABc|\nw: 来 带 着 花\n"
    assert words(HEAD + "K:C\n" + body) == [*"我从山中来带着花"]
    assert words(HEAD + "K:C\nCDEF GABc|\nw: 1.~la la la la la la la 3.5\n")[-2:] == ["la", "3.5"]


def test_rests_of_several_bars() -> None:
    score = from_abc(HEAD + "K:C\nC8|Z2|D8|Z|E8|\n")
    assert [n.start for n in score.sections[0].notes] == [0, 3 * 48, 5 * 48]
    with pytest.raises(ScoreError, match="line 6: Z0 rests"):
        from_abc(HEAD + "K:C\nC8|Z0|\n")
    with pytest.raises(ScoreError, match="line 6: Z123456 rests"):
        from_abc(HEAD + "K:C\nC8|Z123456|\n")


def test_chords_with_more_than_a_bass_behind_the_slash(caplog: pytest.LogCaptureFixture) -> None:
    body = '"C6/9"C2 "Cm/M7"D2 "G7/B"E2 "C6/9/E"F2|"slow"C2 "^soft"D2 "C/?"E2 F2|'
    with caplog.at_level(logging.WARNING):
        score = from_abc(HEAD + "K:C\n" + body)
    assert [c.symbol for c in score.sections[0].chords] == ["C6", "Cm", "G7/B", "C6/E"]
    assert "line 6: 'slow' is no chord" in caplog.text and "line 6: 'C/?' is no chord" in caplog.text
    assert "soft" not in caplog.text


def test_keys_with_signs_and_what_stands_behind_them(caplog: pytest.LogCaptureFixture) -> None:
    assert from_abc(HEAD + "K:F♯m\nF8|").key == Key(6, "minor")
    assert from_abc(HEAD + "K:B♭\nB8|").key == Key(10)
    with caplog.at_level(logging.WARNING):
        assert from_abc(HEAD + "K:D ^g clef=treble\nD8|").key == Key(2)
    assert "line 5: '^g' of the key is left out" in caplog.text
    with pytest.raises(ScoreError, match="line 5: key 'F&m'"):
        from_abc(HEAD + "K:F&m\nF8|")


def test_tuplets_count_by_three_in_compound_time() -> None:
    tune = "X:1\nL:1/8\nQ:100\nM:{}\nK:C\n{}|\n"
    assert sum(n.duration for n in from_abc(tune.format("6/8", "(5CDEFG C3")).sections[0].notes) == 36
    assert sum(n.duration for n in from_abc(tune.format("4/4", "(5CDEFG C6")).sections[0].notes) == 48


def test_overlays_further_endings_and_blocks_are_left_out_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert melody(HEAD + "K:C\nC8 & E8|D8 & [FA]8 :|\n") == [60, 62, 60, 62]
        assert melody(HEAD + "K:C\n|:C8|1,3 D8:|2 E8|]\n") == [60, 62, 60, 64]
        assert melody(HEAD + "K:C\nC8|\n%%begintext\nA tune by a friend.\n%%endtext\nD8|\n") == [60, 62]
    assert "line 6: the second voice of a bar" in caplog.text
    assert "line 6: of the endings 1,3 the first" in caplog.text
    assert "line 7: the %%begintext is left out" in caplog.text
    with pytest.raises(ScoreError, match=r"line 7: \+: has no field"):
        from_abc(HEAD + "K:C\nC8|\n+:la\n")
