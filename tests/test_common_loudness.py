"""Loudness against the standard's test signals, peaks against closed forms, the limiter's promise."""

import math

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio import Audio
from common.errors import AudioError
from common.loudness import integrated_loudness, limit, normalise, true_peak

RATE = 48000


def tone(level, seconds=20.0, hertz=997.0, rate=RATE, channels=2):
    t = np.arange(round(seconds * rate)) / rate
    return (10 ** (level / 20) * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[None].repeat(channels, 0)


def music(seed, seconds=4.0, rate=44100):
    """Noise bursts over a hum: loud transients, quiet between."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate))
    bursts = np.exp(-(t % (rate // 4)) / 1500)
    hum = 0.1 * np.sin(2 * np.pi * 110 * t / rate)
    return Audio((0.4 * rng.standard_normal((2, len(t))) * bursts + hum).astype(np.float32), rate)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_stereo_sine_of_997_hz_reads_its_level(rate):
    """EBU Tech 3341, case 1: 1 kHz at −23 dBFS in both channels is −23 LUFS, ±0.1."""
    assert integrated_loudness(Audio(tone(-23, rate=rate), rate)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    "levels, seconds",
    [((-36, -23, -36), (10, 60, 10)), ((-72, -36, -23, -36, -72), (10, 10, 60, 10, 10))],
)
def test_gates(levels, seconds):
    """EBU Tech 3341, cases 3 and 4: what is 10 LU below, or under −70 LUFS, isn't counted."""
    samples = np.concatenate([tone(level, s) for level, s in zip(levels, seconds)], axis=1)
    assert integrated_loudness(Audio(samples, RATE)) == pytest.approx(-23, abs=0.1)


@given(st.integers(0, 1000), st.sampled_from([22050, 44100, 48000]), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_agrees_with_pyloudnorm(seed, rate, channels):
    rng = np.random.default_rng(seed)
    # Whole steps: pyloudnorm counts a last block that is half missing, which the standard discards.
    length = round(rate * rng.integers(5, 40) / 10)
    samples = rng.standard_normal((channels, length)) * rng.uniform(0.001, 0.5)
    samples = (samples * np.linspace(0, 1, samples.shape[1])).astype(np.float32)
    expected = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(samples.T.astype(np.float64))
    assert integrated_loudness(Audio(samples, rate)) == pytest.approx(expected, abs=1e-3)


def test_silence_and_short_sound():
    assert integrated_loudness(Audio(np.zeros((2, 44100), np.float32), 44100)) == -math.inf
    assert integrated_loudness(Audio(np.zeros((2, 100), np.float32), 44100)) == -math.inf
    assert integrated_loudness(Audio(tone(-23, 0.3), RATE)) == pytest.approx(-23, abs=0.3)
    with pytest.raises(AudioError, match="up to 5 channels"):
        integrated_loudness(Audio(np.zeros((6, 48000), np.float32), 48000))


def test_true_peak_between_samples():
    """A sine of a quarter of the rate at 45° has samples of ±0.707 and a true peak of 1."""
    n = np.arange(44100)
    swell = np.minimum(1, np.minimum(n, n[::-1]) / 2000)
    sine = (np.sin(np.pi / 2 * n + np.pi / 4) * swell).astype(np.float32)
    assert np.abs(sine).max() == pytest.approx(0.7071, abs=1e-3)
    assert true_peak(Audio(sine[None], 44100)) == pytest.approx(0.0, abs=0.1)
    assert true_peak(Audio(np.zeros((1, 9), np.float32), 44100)) == -math.inf


def test_true_peak_does_not_depend_on_where_the_pieces_fall():
    audio = music(3, seconds=14.0)
    shifted = Audio(np.pad(audio.samples, ((0, 0), (7777, 0))), 44100)
    assert true_peak(audio) == pytest.approx(true_peak(shifted), abs=1e-3)


@given(st.integers(0, 1000), st.floats(-12.0, 0.0))
@settings(max_examples=10, deadline=None)
def test_the_limiter_keeps_its_ceiling(seed, ceiling):
    out = limit(music(seed, seconds=2.0), ceiling)
    assert true_peak(out) <= ceiling + 0.01
    assert true_peak(out) > ceiling - 0.5  # and isn't simply turned down


def test_the_limiter_leaves_quiet_sound_alone():
    audio = Audio(music(1).samples * 0.1, 44100)
    assert np.array_equal(limit(audio, -1.0).samples, audio.samples)


def test_the_limiter_is_transparent_away_from_peaks():
    quiet, loud = tone(-20, 2.0, rate=44100), tone(6, 0.1, rate=44100)
    samples = np.concatenate([quiet, loud, quiet], axis=1)
    out = limit(Audio(samples, 44100), -1.0)
    np.testing.assert_allclose(out.samples[:, :80000], samples[:, :80000], rtol=0.002)
    np.testing.assert_allclose(out.samples[:, -40000:], samples[:, -40000:], rtol=0.002)


@pytest.mark.parametrize("lufs, ceiling", [(-14.0, -1.0), (-9.0, -1.0), (-23.0, -6.0), (-14.0, -3.0)])
def test_normalise_reaches_both(lufs, ceiling):
    out = normalise(music(7), lufs, ceiling)
    assert integrated_loudness(out) == pytest.approx(lufs, abs=0.5)
    assert true_peak(out) <= ceiling + 0.01


def test_normalise_says_what_it_cannot_do(caplog):
    silent = Audio(np.zeros((2, 44100), np.float32), 44100)
    assert normalise(silent) is silent
    assert "silent" in caplog.text
    click = np.zeros((2, 44100 * 2), np.float32)
    click[:, ::11025] = 1.0
    out = normalise(Audio(click, 44100), -14.0, -1.0)
    assert "LUFS" in caplog.records[-1].getMessage()
    assert true_peak(out) <= -0.99


def test_normalise_is_the_same_twice_and_short_sound_is_served():
    audio = music(5)
    assert np.array_equal(normalise(audio).samples, normalise(audio).samples)
    short = normalise(Audio(tone(-30, 0.1), RATE))
    assert integrated_loudness(short) == pytest.approx(-14, abs=0.5)
