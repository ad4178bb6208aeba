"""Scores: what they refuse, their seconds, and their other forms."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from score_strategies import scores

from common.abc import from_abc
from common.errors import ScoreError
from common.lyrics import Lyrics
from common.score import HOLD, ChordChange, Groove, Note, Score, Section
from common.theory import Key

LINE = (
    Note(0, 12, 60, "月", "yue4"),
    Note(12, 12, 62, "光", "guang1", ends_line=True),
    Note(30, 6, 64, "oh"),
    Note(36, 6, 65, HOLD),
    Note(42, 6, 65, "love", ends_line=True),
)
VERSE = Section("verse", 2, (ChordChange(0, "C"), ChordChange(48, "G")), LINE)
SONG = Score(120, Key(0), (Section("intro", 1), VERSE), lead_in=0.5, tail=1.0, title="光")


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(scores())
def test_json_brings_the_score_back(score: Score) -> None:
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_seconds() -> None:
    assert SONG.duration == 0.5 + 3 * 2.0 + 1.0
    assert SONG.downbeats() == [0.5, 2.5, 4.5]
    assert [s.start for s in SONG.note_spans()] == [2.5, 3.0, 3.75, 4.0, 4.25]
    assert [(s.start, s.end, s.label) for s in SONG.chord_spans()] == [(2.5, 4.5, "C"), (4.5, 6.5, "G")]
    swung = replace(SONG, swing=1 / 3)
    assert swung.seconds(6) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert swung.duration == SONG.duration


def test_words_and_their_times() -> None:
    assert SONG.lyrics() == Lyrics.parse("<intro>\n<verse>\n月光\noh love")
    assert SONG.lrc() == "[ti:光]\n[00:02.50]月光\n[00:03.75]oh love\n"
    assert [len(line) for line in SONG.lines()] == [2, 3]


def test_drums_and_fills() -> None:
    beat = Groove("X...............", "....x...........", "x.x.x.x.x.x.x.x.")
    score = Score(120, Key(0), (Section("verse", 2, groove=beat, fill=True),))
    hits = [h for h in score.drum_hits() if h.drum == "snare"]
    assert [h.time for h in hits] == [0.5, 2.5, *(3.0 + 0.125 * i for i in range(8))]
    assert all(h.time < 3.0 for h in score.drum_hits() if h.drum == "hat")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (Section("verse", 0), "at least one bar, but has 0"),
        (Section("verse", 1, notes=(Note(40, 12, 60),)), "end at tick 52, its 1 bars at 48"),
        (Section("verse", 1, notes=(Note(0, 12, 60), Note(6, 6, 60))), "bar 1: a note starts before"),
        (Section("verse", 1, notes=(Note(0, 0, 60),)), "a note of 0 ticks"),
        (Section("verse", 1, notes=(Note(0, 1, 160),)), "pitch 160"),
        (Section("verse", 1, notes=(Note(0, 6, 60, HOLD),)), "no syllable before it to hold"),
        (Section("verse", 1, notes=(Note(0, 6, 60, ends_line=True),)), "without a syllable"),
        (Section("verse", 1, notes=(Note(0, 6, 60, "a b"),)), "has spaces: 'a b'"),
        (Section("verse", 1, (ChordChange(48, "C"),)), "must rise within"),
        (Section("verse", 1, (ChordChange(0, "Cmaj13"),)), "chord 'Cmaj13'"),
        (Section("verse", 1, groove=Groove("x", "." * 16, "." * 16)), "kick groove needs 16"),
        (Section("verse", 1, energy=1.5), "energy lies between 0 and 1"),
    ],
)
def test_what_does_not_add_up_is_refused(section: Section, message: str) -> None:
    with pytest.raises(ScoreError, match=r"section 2 \(verse\)") as fault:
        Score(120, Key(0), (Section("intro", 1), section))
    assert message in str(fault.value)


@pytest.mark.parametrize("meta", ["5", '["民谣"]', '{"harmony": 3}', '{"harmony": ["钢琴"]}'])
def test_meta_that_isnt_words_by_name_is_refused(meta: str) -> None:
    """Its line is one that people edit."""
    head = "X:1\nT:x\nM:4/4\nL:1/8\nQ:1/4=90\n"
    with pytest.raises(ScoreError, match="meta says words by name"):
        from_abc(f'%abc-2.1\n{head}%%baihua-meta {meta}\nK:C\n"C"C8|\n')
    kept = from_abc(f'%abc-2.1\n{head}%%baihua-meta {{"harmony": "钢琴"}}\nK:C\n"C"C8|\n')
    assert kept.meta == {"harmony": "钢琴"}


def test_wrong_wholes_are_refused() -> None:
    for change in ({"tempo": 500.0}, {"metre": (4, 3)}, {"swing": -0.1}, {"tail": -1.0}, {"sections": ()}):
        with pytest.raises(ScoreError):
            replace(SONG, **change)
    with pytest.raises(ScoreError, match=r"missing or wrong field: sections\[0\].bars is missing"):
        Score.from_json({"key": {"tonic": 0}, "metre": [4, 4], "sections": [{"tag": "verse"}], "tempo": 100})
