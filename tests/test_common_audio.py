"""Audio: what goes in comes out, and nothing happens silently."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio import Audio, read_audio, read_tags, resample, to_channels, write_audio
from common.errors import AudioError


def sine(hertz=440.0, seconds=0.5, rate=44100, channels=2, level=0.5):
    t = np.arange(round(seconds * rate)) / rate
    phases = np.arange(channels)[:, None] * 0.3
    return Audio((level * np.sin(2 * np.pi * hertz * t + phases)).astype(np.float32), rate)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("bits", [16, 24])
def test_lossless_files_come_back(tmp_path, suffix, bits):
    audio = sine()
    write_audio(tmp_path / f"a{suffix}", audio, bits=bits)
    back = read_audio(tmp_path / f"a{suffix}")
    assert back.sample_rate == audio.sample_rate
    np.testing.assert_allclose(back.samples, audio.samples, rtol=0, atol=0.5001 / 2 ** (bits - 1))


def test_vorbis_keeps_length_and_sound(tmp_path):
    audio = sine(seconds=3.0)
    write_audio(tmp_path / "a.ogg", audio)
    back = read_audio(tmp_path / "a.ogg")
    assert back.samples.shape == audio.samples.shape
    error = np.sqrt(np.mean((back.samples - audio.samples) ** 2))
    assert error < 0.05 * np.sqrt(np.mean(audio.samples**2))


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".ogg"])
def test_tags_come_back(tmp_path, suffix):
    tags = {"title": "晚风", "recipe": '{"seed": 7}'}
    write_audio(tmp_path / f"a{suffix}", sine(), tags=tags)
    found = read_tags(tmp_path / f"a{suffix}")
    assert {name: found[name] for name in tags} == tags
    assert read_audio(tmp_path / f"a{suffix}").samples.shape == (2, 22050)


def test_clipping_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(AudioError, match=r"1\.200"):
        write_audio(tmp_path / "a.wav", sine(level=1.2))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    write_audio(path, sine())
    before = path.read_bytes()
    monkeypatch.setattr("common.audio._write_tags", _no_space)
    with pytest.raises(AudioError, match="No space"):
        write_audio(path, sine(880), tags={"a": "b"})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]


def _no_space(path, tags):
    raise OSError(28, "No space left on device")


def test_unknown_suffix_names_the_known(tmp_path):
    with pytest.raises(AudioError, match=r"\.flac, \.wav, \.ogg"):
        write_audio(tmp_path / "a.aiff", sine())


@pytest.mark.parametrize("content", [b"", b"RIFF nonsense that is no audio"])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        read_audio(path)
    with pytest.raises(AudioError, match=r"missing\.wav"):
        read_audio(tmp_path / "missing.wav")


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros(10, np.float32), "shape"),
        (np.zeros((2, 0), np.float32), "shape"),
        (np.zeros((1, 5), np.int16), "int16"),
        (np.asarray([[0.0, np.nan]], np.float32), "NaN"),
        (np.asarray([[0.0, np.inf]], np.float32), "NaN"),
    ],
)
def test_wrong_arrays_are_refused(samples, message):
    with pytest.raises(AudioError, match=message):
        Audio(samples, 44100)


@given(st.sampled_from([16000, 22050, 32000, 48000]), st.integers(4000, 30000))
@settings(max_examples=20, deadline=None)
def test_resampling_keeps_duration_and_pitch(rate, length):
    audio = Audio(sine(500, 1.0).samples[:, :length], 44100)
    out = resample(audio, rate)
    assert abs(out.duration - audio.duration) < 2 / rate
    spectrum = np.abs(np.fft.rfft(out.samples[0] * np.hanning(out.samples.shape[1])))
    assert abs(spectrum.argmax() / out.duration - 500) < 1.5 / out.duration


def test_resampling_is_logged_and_idle_at_the_same_rate(caplog):
    audio = sine()
    with caplog.at_level(logging.INFO, logger="common.audio"):
        assert resample(audio, 44100) is audio
        assert not caplog.records
        resample(audio, 22050)
    assert "44100 to 22050" in caplog.text


@pytest.mark.parametrize("rate", [88200, 96000, 192000])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_the_shortest_sounds_keep_a_sample(rate, length):
    out = resample(Audio(np.full((2, length), 0.5, np.float32), rate), 44100)
    assert out.samples.shape == (2, max(1, int(length * 44100 / rate + 0.5)))
    assert out.samples[0, 0] > 0.05


def test_channels():
    stereo = sine()
    mono = to_channels(stereo, 1)
    np.testing.assert_allclose(mono.samples[0], stereo.samples.mean(axis=0), atol=1e-7)
    assert np.array_equal(to_channels(mono, 2).samples[0], to_channels(mono, 2).samples[1])
    assert to_channels(stereo, 2) is stereo
    with pytest.raises(AudioError, match="3 channels"):
        to_channels(stereo, 3)
