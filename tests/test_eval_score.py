"""Measures of lead sheets on cases worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from common.errors import ScoreError
from common.score import HOLD, ChordChange, Note, Score, Section
from common.theory import Key
from corpus.plan import COMFORT
from corpus.synth import sheet
from eval import score as scores
from eval.score import (
    against,
    diatonic,
    divergence,
    figures,
    hooks,
    in_key,
    in_range,
    lengths,
    on_chord,
    reads_back,
    shuffled,
    steps,
)


def song() -> Score:
    """One bar of C, one of G: c e g(held) f#, each a beat, sung 妈(1) 麻(2) 马(3)."""
    notes = (
        Note(0, 12, 60, "妈", "ma1"),
        Note(12, 12, 64, "麻", "ma2"),
        Note(24, 12, 67, HOLD, "ma2"),
        Note(36, 12, 66, "马", "ma3", True),
        Note(48, 24, 72, "骂", "ma4"),
        Note(78, 6, 71, "吗", "ma5", True),
    )
    section = Section("chorus", 2, (ChordChange(0, "C"), ChordChange(48, "F#m")), notes)
    return Score(100.0, Key(0), (section,), meta={"singer": "female"})


def test_key_and_chords_by_hand() -> None:
    assert in_key(song()) == pytest.approx((12 + 12 + 12 + 24 + 6) / 78)
    assert on_chord(song()) == pytest.approx(
        3 / 5
    )  # c, e, g of C; f# isn't; c isn't of F#m; b is off the beat
    assert diatonic(song()) == 0.5
    assert in_key(replace(song(), sections=(Section("intro", 1),))) is None


def test_range_by_the_singer() -> None:
    assert in_range(song())
    assert not in_range(replace(song(), meta={"singer": "male"}))


def test_hooks_are_repeated_tunes() -> None:
    chorus = song().sections[0]
    other = replace(chorus, notes=chorus.notes[:-1])
    words = replace(
        chorus, notes=tuple(replace(n, syllable="啦") if n.syllable == "妈" else n for n in chorus.notes)
    )
    assert hooks(replace(song(), sections=(chorus, words, other, replace(chorus, tag="verse")))) == 0.5
    assert hooks(song()) is None


def test_melodies_against_tones_by_hand() -> None:
    """妈→麻: both end high, no step. 麻→马 falls, e→f# climbs: against. 骂→吗: neutral, left out."""
    assert against(song()) == (1, 1)
    notes = (Note(0, 12, 60, "马", "ma3"), Note(12, 12, 64, "妈", "ma1"), Note(24, 12, 60, "骂", "ma4"),
             Note(36, 12, 60, "麻", "ma2", True))  # fmt: skip
    assert against(replace(song(), sections=(Section("verse", 1, (), notes),))) == (0, 2)


def test_statistics_by_hand() -> None:
    assert steps(song()) == {4: 1, 3: 1, -1: 2}
    assert lengths(song()) == {12: 4, 24: 1, 6: 1}
    assert divergence([1, 2, 3], [2, 4, 6]) == 0
    assert divergence([1, 0], [0, 5]) == pytest.approx(1.0)
    p, q, m = (0.5, 0.5), (1.0, 0.0), (0.75, 0.25)
    closed = math.sqrt(sum(x * math.log2(x / y) for a in (p, q) for x, y in zip(a, m) if x) / 2)
    assert divergence(p, q) == pytest.approx(closed)
    assert divergence(q, p) == pytest.approx(closed)
    with pytest.raises(ScoreError, match="there are none"):
        divergence([0, 0], [1, 1])


def test_shuffled_bars_are_the_same_bars() -> None:
    score = sheet(5, "test", duration=20.0, singer="female").score
    mixed = shuffled(score, seed=1)
    assert mixed.duration == score.duration
    assert mixed == shuffled(score, seed=1) != score
    assert sorted(n.pitch for s in mixed.sections for n in s.notes) == sorted(
        n.pitch for s in score.sections for n in s.notes
    )


def test_the_corpus_is_better_than_its_shuffled_bars() -> None:
    own = [sheet(i, "test", duration=20.0, singer="female").score for i in range(8)]
    others = [sheet(100 + i, "valid", duration=20.0, singer="female").score for i in range(8)]
    good, bad = figures(own, others), figures([shuffled(s, 1) for s in own], others)
    low, high = COMFORT["female"]
    inside = [all(low <= n.pitch <= high for n in s.note_spans(sung=True)) for s in own]
    assert good["parsed"].value == 1.0 and good["range"].value == np.mean(inside) > 0.5
    assert all(reads_back(s) for s in own)
    assert good["chords"].low > bad["chords"].value
    assert good["intervals"].value < bad["intervals"].value
    assert np.isfinite([e.value for name, e in good.items() if name != "hooks"]).all()
    assert scores.STEPS[0] == -scores.STEPS[-1]
