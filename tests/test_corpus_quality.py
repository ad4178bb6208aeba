"""The quality filter at both sides of each of its limits."""

import numpy as np
import pytest

from common.audio import Audio, write_audio
from common.loudness import integrated_loudness
from corpus.quality import judge


def tone(level, rate=44100, seconds=2.0):
    """A stereo sine whose level in dBFS is its loudness in LUFS."""
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(10 ** (level / 20) * np.sin(2 * np.pi * 997 * t), (2, 1)).astype(np.float32)


def written(path, samples, rate=44100):
    write_audio(path, Audio(samples, rate), bits=24)
    return path


@pytest.mark.parametrize(
    "level, kept", [(-21.5, True), (-22.5, False), (-14.0, True), (-5.5, True), (-4.5, False)]
)
def test_loudness_limits(tmp_path, level, kept):
    verdict = judge(written(tmp_path / "a.wav", tone(level)), stage=1)
    assert verdict.kept is kept
    assert verdict.loudness == pytest.approx(level, abs=0.1)
    assert kept or "LUFS" in verdict.reason


@pytest.mark.parametrize("rate, kept", [(44100, True), (48000, True), (32000, False), (44099, False)])
def test_rates_decide_by_the_header_alone(tmp_path, rate, kept, monkeypatch):
    path = written(tmp_path / "a.wav", tone(-14, rate), rate)
    if not kept:
        monkeypatch.setattr("corpus.quality.read_audio", None)  # calling it would fail
    verdict = judge(path)
    assert verdict.kept is kept
    assert verdict.duration == pytest.approx(2.0, abs=0.001)
    assert kept or str(rate) in verdict.reason


def hot(overshoot):
    """Full-scale samples whose sine peaks between them: a quarter of the rate, at an angle."""
    n = np.arange(1200)
    swell = np.minimum(1, np.minimum(n, n[::-1]) / 300)
    angle = np.arccos(10 ** (-overshoot / 20))
    sine = np.sin(np.pi / 2 * n + np.pi / 2 - angle) * 10 ** (overshoot / 20) * swell
    return np.tile(sine, (2, 1)).astype(np.float32).clip(-1, 1) * np.float32(0.99999)


def test_the_second_stage_looks_between_the_samples(tmp_path):
    burst = np.concatenate([tone(-16, seconds=8.0), hot(2.0)], axis=1)
    path = written(tmp_path / "hot.wav", burst)
    first, second = judge(path, stage=1), judge(path)
    assert first.kept and first.peak is None
    assert not second.kept and "true peak +1.9" in second.reason
    mild = judge(written(tmp_path / "mild.wav", np.concatenate([tone(-16, seconds=8.0), hot(0.7)], axis=1)))
    assert mild.kept and mild.peak == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"fLaC" + bytes(100)])
def test_broken_files_are_named_not_raised(tmp_path, content):
    path = tmp_path / "broken.flac"
    path.write_bytes(content)
    verdict = judge(path)
    assert not verdict.kept and verdict.reason.startswith("unreadable")
    assert not judge(tmp_path / "missing.flac").kept


def test_a_truncated_file_gets_a_verdict(tmp_path):
    path = written(tmp_path / "a.flac", tone(-14))
    path.write_bytes(path.read_bytes()[:3000])
    assert isinstance(judge(path).kept, bool)


def test_silence_is_too_quiet(tmp_path):
    verdict = judge(written(tmp_path / "a.wav", np.zeros((2, 44100), np.float32)))
    assert not verdict.kept and "-inf" in verdict.reason
    assert integrated_loudness(Audio(tone(-14), 44100)) == pytest.approx(-14, abs=0.1)
