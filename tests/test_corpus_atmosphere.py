"""What sounds around a song of a mood: its own for each, in time, in tune, and behind the music."""

from dataclasses import replace

import numpy as np
import pytest

from common.seeds import generator
from common.theory import Chord
from corpus.atmosphere import ATMOSPHERES, SAMPLE_RATE, SOUNDS, atmosphere, surround
from corpus.genres import MOODS
from corpus.synth import perform, sheet


@pytest.fixture(scope="module")
def written():
    return sheet(5, genre="流行", mood="欢快", duration=14)


def _sound(name, written, seconds=14.0, seed=1):
    total = round(seconds * SAMPLE_RATE)
    return SOUNDS[name][0](written.score, total, generator(seed, "atmosphere"))


def test_every_mood_has_sounds_that_no_other_has():
    assert set(ATMOSPHERES) == set(MOODS)
    assert len(set(map(frozenset, ATMOSPHERES.values()))) == len(MOODS)


def test_a_rarer_word_sounds_as_the_mood_next_to_it_and_an_unknown_one_as_nothing():
    assert atmosphere("悲伤") in {atmosphere(m) for m in ("伤感", "忧郁", "孤独", "思念")}
    assert atmosphere("开心") == atmosphere("欢快")
    assert atmosphere("没有这个词") == ()


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_a_sound_is_as_long_as_asked_and_the_same_for_the_same_seed(name, written):
    for seconds in (0.7, 14.0, 25.3):
        layer = _sound(name, written, seconds)
        assert layer.shape == (round(seconds * SAMPLE_RATE), 2) and layer.dtype == np.float32
        assert np.isfinite(layer).all() and np.abs(layer).max() < 40
    assert np.abs(_sound(name, written)).max() > 0.01
    np.testing.assert_array_equal(_sound(name, written), _sound(name, written))


@pytest.mark.parametrize(
    ("name", "steps"), [("snaps", (4, 12)), ("clock", (0, 4, 8, 12)), ("boom", (0, 6, 8))]
)
def test_strokes_come_in_time(name, steps, written):
    layer = np.abs(_sound(name, written)).max(axis=1)
    bar = written.score.bar_ticks
    times = [written.score.seconds(n * bar + s * bar // 16) for n in range(written.score.bars) for s in steps]
    wide = round(0.01 * SAMPLE_RATE)
    for time in times:
        at = round(time * SAMPLE_RATE)
        assert layer[at - wide // 2 : at + 3 * wide].max() > 0.3 * layer.max()
        assert layer[max(0, at - 3 * wide) : at - wide // 2].max() < 0.2 * layer.max()


@pytest.mark.parametrize("name", ["hum", "shimmer", "bell"])
def test_tones_belong_to_the_chord(name, written):
    layer = _sound(name, written).sum(axis=1)
    span = max(written.score.chord_spans(), key=lambda s: s.end - s.start)
    piece = layer[round((span.start + 0.3) * SAMPLE_RATE) : round((span.end - 0.05) * SAMPLE_RATE)]
    power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
    hertz = np.fft.rfftfreq(len(piece), 1 / SAMPLE_RATE)
    loudest = hertz[int(power.argmax())]
    assert round(69 + 12 * np.log2(loudest / 440)) % 12 in Chord.parse(span.label).classes


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_what_surrounds_stays_behind_the_music(name, written):
    rng = np.random.default_rng(3)
    played = (0.1 * rng.standard_normal((14 * SAMPLE_RATE, 2))).astype(np.float32)
    both = played.copy()
    surround(both, (name,), written.score, generator(1, "atmosphere"))
    added = 10 * np.log10(np.mean(np.square(both - played)) / np.mean(np.square(played)))
    assert -35 < added < -1


def test_silence_stays_silent(written):
    nothing = np.zeros((SAMPLE_RATE, 2), np.float32)
    surround(nothing, ("rain", "snaps"), written.score, generator(1, "atmosphere"))
    assert not nothing.any()


def test_the_same_score_has_another_air_in_another_mood():
    """Before the first note one hears where a song is: rain hisses there, a heart is silent."""
    written = sheet(11, genre="流行", mood="伤感", singer="none", duration=14)

    def hiss(mood):
        stem = perform(replace(written.plan, mood=mood), written.score, keep_stems=True).stems["harmony"]
        end = stem.samples[:, -round(0.8 * SAMPLE_RATE) :].mean(axis=0)
        power = np.abs(np.fft.rfft(end)) ** 2
        hertz = np.fft.rfftfreq(len(end), 1 / SAMPLE_RATE)
        return power[(hertz > 2500) & (hertz < 8000)].sum() / power.sum()

    assert hiss("伤感") > 10 * hiss("性感")
