"""The mix: loud enough, never too loud, bright enough, and the sum of its stems."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.audio import Audio
from common.errors import AudioError
from common.loudness import integrated_loudness, true_peak
from corpus.instruments import SAMPLE_RATE, Stroke, Track, render
from corpus.mix import STEMS, MixSettings, mix, octave_levels, vary

BEAT = 0.5


def band(bars=5, program=0):
    """Drums, bass, chords and a lead over a few bars; the vocals are a formant-like buzz."""
    duration = bars * 4 * BEAT
    beats = np.arange(bars * 4) * BEAT
    chords = [(60, 64, 67), (57, 60, 64)]
    stems = {
        "drums": [Stroke(t, 0.1, 36 if i % 2 == 0 else 38, 0.9) for i, t in enumerate(beats)]
        + [Stroke(t + s, 0.1, 42, 0.6) for t in beats for s in (0, BEAT / 2)],
        "bass": [Stroke(t, 0.45, 36 if (i // 4) % 2 == 0 else 33, 0.8) for i, t in enumerate(beats)],
        "harmony": [Stroke(t, 0.4, p, 0.6) for i, t in enumerate(beats) for p in chords[i // 4 % 2]],
        "lead": [Stroke(t, 0.4, 72 + (0, 4, 7, 4)[i % 4], 0.7) for i, t in enumerate(beats)],
    }
    programs = {"drums": 0, "bass": 33, "harmony": program, "lead": 73}
    out = {n: render(Track(programs[n], s, drums=n == "drums"), duration) for n, s in stems.items()}
    t = np.arange(len(out["bass"])) / SAMPLE_RATE
    # Nobody sings one pitch for ten seconds: standing in a room, a single tone leans to one side.
    turns = (
        220 * np.cumsum(2 ** (((t // 0.5 * 5) % 12 + 0.4 * np.sin(2 * np.pi * 5.5 * t)) / 12)) / SAMPLE_RATE
    )
    buzz = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 25)) * (t % 2 < 1.6)
    return {**out, "vocals": (0.1 * buzz).astype(np.float32)}


@pytest.mark.parametrize("seed, program", [(1, 0), (2, 30), (3, 89)])
def test_the_master_keeps_its_promises(seed, program):
    result = mix(band(program=program), np.random.default_rng(seed))
    audio = result.audio
    assert audio.samples.shape == (2, 10 * SAMPLE_RATE)
    assert integrated_loudness(audio) == pytest.approx(-14.0, abs=1.0)
    assert true_peak(audio) <= -0.99
    crest = 20 * np.log10(audio.peak / np.sqrt(np.mean(audio.samples**2)))
    assert 8 < crest < 14.5
    assert 1200 < centroid(audio) < 4000
    left, right = audio.samples
    assert 0.3 < np.corrcoef(left, right)[0, 1] < 0.99


def centroid(audio):
    """The mean over frames of the centre of the magnitude spectrum, Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(audio.samples.mean(axis=0), 2048)[::2048] * np.hanning(
        2048
    )
    spectrum = np.abs(np.fft.rfft(frames, axis=1))
    loud = (spectrum**2).sum(axis=1) > 1e-4 * (spectrum**2).sum(axis=1).max()
    hertz = np.arange(1025) * SAMPLE_RATE / 2048
    return float(((spectrum @ hertz) / (spectrum.sum(axis=1) + 1e-9))[loud].mean())


def test_the_stems_sum_to_the_mix_before_mastering():
    """With the master's tone and dynamics switched off, what is left is one gain."""
    plain = MixSettings(balance=-1.0, glue=-1.0, drive=-30.0, loudness=-30.0)  # drawn values are clipped to 0
    result = mix(band(), np.random.default_rng(4), plain)
    assert set(result.stems) == set(STEMS)
    total = sum(stem.samples for stem in result.stems.values())
    gain = np.vdot(total, result.audio.samples) / np.vdot(total, total)
    np.testing.assert_allclose(total * gain, result.audio.samples, atol=1e-4)


def test_stems_share_one_gain_and_their_sum_has_the_loudness_of_the_mix():
    result = mix(band(), np.random.default_rng(4))
    total = Audio(sum(stem.samples for stem in result.stems.values()), SAMPLE_RATE)
    assert integrated_loudness(total) == pytest.approx(-14.0, abs=0.5)
    assert all(stem.peak <= 1.0 for stem in result.stems.values())
    vocals = integrated_loudness(result.stems["vocals"])
    assert all(vocals > integrated_loudness(result.stems[n]) - 2.5 for n in ("bass", "harmony", "lead"))


def test_the_voice_stands_in_the_middle_and_the_bass_is_mono():
    stems = mix(band(), np.random.default_rng(6)).stems
    for name, least in (("vocals", 0.85), ("bass", 0.98)):
        left, right = stems[name].samples
        assert np.corrcoef(left, right)[0, 1] > least
        assert np.std(left) == pytest.approx(np.std(right), rel=0.1)


def test_a_dark_band_is_brightened():
    dark = band()
    smooth = np.ones(60, np.float32) / 60
    dull = {
        n: np.apply_along_axis(np.convolve, 0, s, smooth, "same").astype(np.float32) for n, s in dark.items()
    }
    off = mix(dict(dull), np.random.default_rng(1), MixSettings(balance=-1.0)).audio
    on = mix(dull, np.random.default_rng(1)).audio
    assert octave_levels(on)[5:8].mean() > octave_levels(off)[5:8].mean() + 3


def digest(samples):
    return hashlib.sha256(samples.tobytes()).hexdigest()


def master_digest():
    return digest(mix(band(bars=2), np.random.default_rng(3)).audio.samples)


def test_the_same_in_another_process_with_more_threads():
    code = "import test_corpus_mix as t; print(t.master_digest())"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.strip() == master_digest()


def test_keeping_no_stems_frees_them_and_changes_nothing():
    stems = band(bars=2)
    kept = mix(dict(stems), np.random.default_rng(3))
    freed = mix(stems, np.random.default_rng(3), keep_stems=False)
    assert stems == {} and freed.stems == {}
    assert np.array_equal(kept.audio.samples, freed.audio.samples)


def test_stems_may_be_rendered_when_their_turn_comes():
    stems = band(bars=2)
    waiting = {name: (lambda samples=samples: samples) for name, samples in stems.items()}
    lazy = mix(waiting, np.random.default_rng(3), keep_stems=False)
    assert np.array_equal(lazy.audio.samples, mix(stems, np.random.default_rng(3)).audio.samples)


def test_a_few_strokes_far_apart_do_not_tower_over_the_rest():
    stems = band()
    stems["drums"] = np.zeros_like(stems["drums"])
    stems["drums"][::44100] = 0.5  # clicks: 42 dB of peak over loudness
    mixed = mix(stems, np.random.default_rng(2)).stems
    drawn = vary(MixSettings(), np.random.default_rng(2)).stems
    height = 20 * np.log10(mixed["drums"].peak) - integrated_loudness(mixed["bass"])
    assert height < 20 + drawn["drums"].level - drawn["bass"].level + 1.5


def test_inputs_are_left_as_they_came():
    stems = band(bars=2)
    before = {n: s.copy() for n, s in stems.items()}
    mix(stems, np.random.default_rng(3))
    assert all(np.array_equal(stems[n], before[n]) for n in before)


def test_instrumentals_and_silent_stems():
    stems = band(bars=2)
    del stems["vocals"]
    stems["lead"] = np.zeros_like(stems["lead"])
    result = mix(stems, np.random.default_rng(1))
    assert set(result.stems) == {"drums", "bass", "harmony"}
    assert integrated_loudness(result.audio) == pytest.approx(-14.0, abs=1.0)


def test_wrong_stems_are_refused():
    silent = np.zeros((SAMPLE_RATE, 2), np.float32)
    rng = np.random.default_rng(0)
    with pytest.raises(AudioError, match="silent"):
        mix({"drums": silent}, rng)
    with pytest.raises(AudioError, match="violin"):
        mix({"violin": silent}, rng)
    with pytest.raises(AudioError, match="one length"):
        mix({"drums": silent, "bass": silent[:-1]}, rng)
    with pytest.raises(AudioError, match="none"):
        mix({}, rng)
    with pytest.raises(AudioError, match="shape"):
        mix({"drums": np.ones((SAMPLE_RATE, 3), np.float32)}, rng)


def test_settings_vary_within_taste():
    drawn = [vary(MixSettings(), np.random.default_rng(i)) for i in range(30)]
    assert len({d.reverb_time for d in drawn}) == 30
    assert all(d.stems["vocals"].pan == 0 and d.stems["bass"].pan == 0 for d in drawn)
    assert all(0.9 <= d.reverb_time <= 2.5 and 0 <= d.glue <= 0.9 for d in drawn)
    assert vary(MixSettings(), np.random.default_rng(5)) == drawn[5]
    assert replace(MixSettings(), drive=-9.0).drive == -9.0
