"""Instruments: notes sound where and as they are written, and alike whatever was played before."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import AudioError, ScoreError
from corpus.instruments import SAMPLE_RATE, Stroke, Track, bundled_font, installed_fonts, render

PIANO = Track(0, [Stroke(0.5, 0.4, 60, 0.8), Stroke(1.0, 0.4, 67, 0.8)])
STRINGS = Track(48, [Stroke(0.0, 1.8, p, 0.7) for p in (55, 59, 62)])
DRUMS = Track(0, [Stroke(0.25 * i, 0.05, (36, 42, 38, 42)[i % 4], 0.9) for i in range(8)], drums=True)


def onset(samples, after):
    """Seconds at which the sound first rises above a tenth of its height, looking from `after` on."""
    level = np.abs(samples[int(after * SAMPLE_RATE) :]).max(axis=1)
    return after + float(np.argmax(level > 0.1 * level.max())) / SAMPLE_RATE


def test_a_note_starts_on_time_at_its_pitch():
    samples = render(PIANO, 2.0)
    assert samples.shape == (88200, 2) and samples.dtype == np.float32
    assert not samples[: int(0.499 * SAMPLE_RATE)].any()
    assert onset(samples, 0.0) == pytest.approx(0.5, abs=0.02)
    tone = samples[int(0.55 * SAMPLE_RATE) : int(0.85 * SAMPLE_RATE), 0]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 17))
    loudest = spectrum.argmax() * SAMPLE_RATE / (1 << 17)
    harmonic = loudest / 261.63
    assert abs(harmonic - round(harmonic)) < 0.03


@pytest.mark.parametrize("key", [36, 38, 42])
def test_drums_strike_on_time(key):
    samples = render(Track(0, [Stroke(0.5, 0.05, key, 1.0)], drums=True), 1.0)
    assert onset(samples, 0.0) == pytest.approx(0.5, abs=0.01)


def test_velocity_is_loudness():
    loud, soft = (np.abs(render(Track(0, [Stroke(0, 0.5, 60, v)]), 0.6)).max() for v in (0.9, 0.3))
    assert loud > 3 * soft > 0


def digest(samples):
    return hashlib.sha256(samples.tobytes()).hexdigest()


def test_the_order_of_calls_does_not_matter():
    first = [digest(render(t, 2.0)) for t in (PIANO, STRINGS, DRUMS)]
    render(STRINGS, 0.3)  # cut in the middle of its notes
    assert [digest(render(t, 2.0)) for t in (DRUMS, STRINGS, PIANO)] == first[::-1]


def test_another_process_plays_the_same():
    code = "import test_corpus_instruments as t; print(t.digest(t.render(t.STRINGS, 2.0)))"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == digest(render(STRINGS, 2.0))


def test_what_goes_on_is_cut_without_a_click():
    samples = render(STRINGS, 1.0)
    assert samples.shape == (44100, 2)
    assert np.abs(samples[-2000:-1000]).max() > 0.005
    assert np.abs(samples[-5:]).max() < 1e-3


def test_nothing_played_is_silence():
    assert not render(Track(0, []), 0.5).any()
    assert not render(Track(0, [Stroke(2.0, 1.0, 60, 0.5)]), 0.5).any()
    assert not render(Track(0, [Stroke(0.0, 1.0, 60, 0.0)]), 0.5).any()


def test_the_same_key_struck_again_while_it_sounds():
    track = Track(0, [Stroke(0.0, 0.6, 60, 0.7), Stroke(0.5, 0.6, 60, 0.7)])
    samples = render(track, 1.2)
    before, after = (
        np.abs(samples[int(a * 44100) : int(b * 44100)]).max() for a, b in ((0.4, 0.5), (0.5, 0.6))
    )
    assert after > before


@pytest.mark.parametrize("stroke", [Stroke(0, 1, 128, 0.5), Stroke(0, 1, 60, 1.5), Stroke(0, 1, -1, 0.5)])
def test_impossible_strokes_are_refused(stroke):
    with pytest.raises(ScoreError, match="velocity"):
        render(Track(0, [stroke]), 1.0)


def test_fonts(tmp_path, monkeypatch, caplog):
    assert bundled_font().name == "TimGM6mb.sf2"
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(b"no font")
    monkeypatch.setenv("BAIHUA_SOUNDFONT", str(broken))
    assert installed_fonts()[0] == broken
    with pytest.raises(AudioError, match=r"broken\.sf2"):
        render(PIANO, 1.0, font=broken)
    render(Track(77, DRUMS.strokes, drums=True), 1.0)
    assert "drum kit 77" in caplog.text
