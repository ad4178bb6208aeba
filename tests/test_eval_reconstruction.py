"""Reconstruction metrics on signals whose figures are known, and the command on folders."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank

from common.audio import Audio, write_audio
from common.errors import AudioError, ConfigError
from common.seeds import generator
from eval import reconstruction as r

RATE = 44100
PROFILES = ("strict", "authors")


def noise(seconds: float = 0.3, seed: int = 0, channels: int = 2) -> np.ndarray:
    size = (channels, int(seconds * RATE))
    return (0.1 * generator(seed, "noise").standard_normal(size)).astype(np.float32)


def delayed(wav: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(wav, ((0, 0), (samples, 0)))[:, : wav.shape[1]]


LONG = noise(4.0)


@pytest.mark.parametrize("profile", PROFILES)
def test_equal_signals(profile: r.Profile) -> None:
    wav = noise()
    assert r.stft_distance(wav, wav, RATE, profile) == 0
    assert r.mel_distance(wav, wav, RATE, profile) == 0
    assert r.icpc(wav, wav, RATE, profile) == pytest.approx(1, abs=1e-9)
    assert r.ccpc(wav, wav, RATE, profile) == pytest.approx(1, abs=1e-9)
    assert r.ccpc_signed(wav, wav, RATE, profile) == pytest.approx(1, abs=1e-9)
    assert r.true_peak_distance(wav, wav, RATE, profile) == 0
    assert r.si_sdr(wav, wav, RATE, profile) > 90


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("gain", [0.5, 0.8, 2.0])
def test_a_gain_costs_its_share_and_its_logarithm(profile: r.Profile, gain: float) -> None:
    wav = noise()
    expected = abs(1 - gain) + abs(math.log(gain))
    # The authors' floor lies within the noise's quietest bins after their filter.
    slack = 1e-5 if profile == "strict" else 2e-3
    assert r.stft_distance(wav, gain * wav, RATE, profile) == pytest.approx(expected, abs=slack)
    assert r.mel_distance(wav, gain * wav, RATE, profile) == pytest.approx(expected, abs=1e-5)
    assert r.icpc(wav, gain * wav, RATE, profile) == pytest.approx(1, abs=1e-6)
    assert r.ccpc(wav, gain * wav, RATE, profile) == pytest.approx(1, abs=1e-6)
    assert r.true_peak_distance(wav, gain * wav, RATE) == pytest.approx(abs(20 * math.log10(gain)), abs=1e-4)
    assert r.si_sdr(wav, gain * wav, RATE, profile) > 85


def test_half_the_gain_is_the_known_figure() -> None:
    assert r.stft_distance(noise(), 0.5 * noise(), RATE) == pytest.approx(1.193147, abs=1e-5)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("change", "within", "between"),
    [
        (lambda w: delayed(w, 1), 0.63, 0.998),
        (lambda w: delayed(w, 10), 0.05, 0.998),
        (lambda w: np.stack([w[0], delayed(w, 10)[1]]), (1 + 0.05) / 2, 0.05),
        (lambda w: noise(4.0, 1), 0.06, 0.05),
        (lambda w: w * [[1], [-1]], 1.0, 1.0),
    ],
    ids=["delay 1", "delay 10", "right delayed 10", "another noise", "one channel inverted"],
)
def test_coherences_of_known_errors(change, within: float, between: float, profile: r.Profile) -> None:
    copy = np.asarray(change(LONG), np.float32)
    assert r.icpc(LONG, copy, RATE, profile) == pytest.approx(within, abs=0.012)
    assert r.ccpc(LONG, copy, RATE, profile) == pytest.approx(between, abs=0.012)


def test_an_inverted_channel_shows_in_the_signed_form_alone() -> None:
    wav = noise()
    copy = wav * np.array([[1], [-1]], np.float32)
    assert r.ccpc(wav, copy, RATE) == pytest.approx(1, abs=1e-9)
    assert r.ccpc_signed(wav, copy, RATE) == pytest.approx(-1, abs=1e-9)
    assert r.ccpc_signed(wav, noise(seed=1), RATE) == pytest.approx(0, abs=0.1)


def test_one_channel_has_no_cross_coherence() -> None:
    wav = noise(channels=1)
    assert math.isnan(r.ccpc(wav, wav, RATE))
    assert math.isnan(r.ccpc_signed(wav, wav, RATE))
    assert r.icpc(wav, wav, RATE) == pytest.approx(1)


def test_si_sdr_of_added_noise_is_its_ratio() -> None:
    wav = noise(1.0)
    assert r.si_sdr(wav, wav + 0.1 * noise(1.0, 1), RATE) == pytest.approx(20, abs=0.2)
    assert r.si_sdr(wav, 3 * wav + 0.2, RATE) > 80


@pytest.mark.parametrize("frequency", [0.25, 0.125])
def test_true_peak_lies_between_samples(frequency: float) -> None:
    phase = math.pi / 4 if frequency == 0.25 else math.pi / 8
    wav = np.sin(2 * np.pi * frequency * np.arange(8192) + phase)[None].astype(np.float32)
    wav *= np.hanning(8192).astype(np.float32) ** 0.1
    sample_peak = 20 * math.log10(np.abs(wav).max())
    assert sample_peak == pytest.approx(20 * math.log10(math.cos(math.pi * frequency)), abs=0.01)
    assert r.true_peak_dbtp(wav, RATE) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("name", r.METRICS)
def test_silence_has_no_strict_figure(name: str) -> None:
    silence = np.zeros((2, 9000), np.float32)
    value = r.METRICS[name](silence, noise()[:, :9000], RATE, "strict")
    assert math.isnan(value)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_silent_copy_has_the_worst_figures(profile: r.Profile) -> None:
    wav = noise()
    silence = np.zeros_like(wav)
    found = {name: metric(wav, silence, RATE, profile) for name, metric in r.METRICS.items()}
    assert [found[name] for name in ("icpc", "ccpc", "ccpc_signed")] == [0, 0, 0]
    assert found["si_sdr"] == (-math.inf if profile == "strict" else pytest.approx(-80, abs=1e-6))
    assert found["true_peak_distance"] == math.inf
    half = wav * np.array([[1], [0]], np.float32)
    assert r.icpc(wav, half, RATE, profile) == pytest.approx(0.5)
    assert r.ccpc(wav, half, RATE, profile) == 0
    assert r.si_sdr(wav, half, RATE) == -math.inf, "the other channel is perfect, but one is lost"


def test_a_copy_that_drops_out_loses_its_share() -> None:
    copy = LONG.copy()
    copy[:, LONG.shape[1] // 2 :] = 0
    assert r.icpc(LONG, copy, RATE) == pytest.approx(0.5, abs=0.02)
    assert r.ccpc(LONG, copy, RATE) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", r.METRICS)
def test_a_misspelt_profile_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="strict or authors, but got 'stricct'"):
        r.METRICS[name](noise(), noise(), RATE, "stricct")  # type: ignore[arg-type]


def test_authors_silence_is_minus_eighty_decibels() -> None:
    assert r.si_sdr(np.zeros((2, 900)), noise()[:, :900], RATE, "authors") == pytest.approx(-80, abs=1e-6)


def test_an_exact_channel_hides_no_broken_one() -> None:
    original = noise()
    broken = np.stack([original[0], noise(seed=7)[1]])
    alone = r.si_sdr(original[1:], broken[1:], RATE)
    assert r.si_sdr(original, broken, RATE) == pytest.approx(alone) and alone < 0
    assert r.si_sdr(original, original, RATE) == math.inf


@pytest.mark.parametrize("profile", PROFILES)
def test_a_silent_original_has_no_coherence_between_channels(profile: r.Profile) -> None:
    silent = np.zeros_like(noise())
    for metric in (r.icpc, r.ccpc, r.ccpc_signed):
        assert math.isnan(metric(silent, noise(), RATE, profile))


def test_one_silent_channel_leaves_the_other_its_figure() -> None:
    wav = noise() * np.array([[1], [0]], np.float32)
    assert r.icpc(wav, wav, RATE) == pytest.approx(1)
    assert math.isnan(r.ccpc(wav, wav, RATE))
    assert r.si_sdr(wav, wav + 0.1 * noise(seed=1), RATE) == pytest.approx(20, abs=0.5)


def test_segments_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    wav, copy = noise(0.5), noise(0.5, 3) + noise(0.5)
    whole = [metric(wav, copy, RATE, "strict") for metric in r.METRICS.values()]
    monkeypatch.setattr(r, "_SEGMENT", 3000)
    parts = [metric(wav, copy, RATE, "strict") for metric in r.METRICS.values()]
    assert parts == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_short_sounds(length: int) -> None:
    wav = noise()[:, :length]
    assert r.stft_distance(wav, 0.5 * wav, RATE) == pytest.approx(1.193147, abs=1e-3)
    if length < 2048:
        with pytest.raises(AudioError, match="too few for a mirror"):
            r.stft_distance(wav, wav, RATE, "authors")


# ---- filters ---------------------------------------------------------------------------------


def test_mel_filters_are_slaneys() -> None:
    theirs = mel_filter_bank(513, 64, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(r.mel_bands(1024, RATE).numpy(), theirs, atol=1e-7)


@pytest.mark.parametrize(("n_fft", "count"), [(1024, 184), (512, 91), (256, 45), (128, 22)])
def test_no_mel_filter_is_empty(n_fft: int, count: int) -> None:
    assert r.largest_mel_count(n_fft, RATE) == count
    assert r.mel_bands(n_fft, RATE).sum(dim=1).min() > 0
    if count < 64:
        with pytest.raises(AudioError, match="some would be empty"):
            r.mel_bands(n_fft, RATE, "authors")


def test_the_authors_weighting_is_as_poor_as_theirs() -> None:
    response = np.abs(np.fft.rfft(r.authors_a_weighting(RATE), RATE))
    assert 20 * math.log10(response[20]) == pytest.approx(-19.80, abs=0.01)
    assert 20 * math.log10(response[1000]) == pytest.approx(0, abs=0.2)


def test_authors_figures_are_those_of_auraloss() -> None:
    """auraloss 0.4.0 on the same arrays: six resolutions, `perceptual_weighting=True`; SISDRLoss."""
    rng = np.random.default_rng(0)
    wav = 0.1 * rng.standard_normal((2, 44100)).astype("f")
    copy = (wav + 0.05 * rng.standard_normal(wav.shape)).astype("f")
    assert r.stft_distance(wav, copy, RATE, "authors") == pytest.approx(0.738390, abs=1e-5)
    assert r.si_sdr(wav, copy, RATE, "authors") == pytest.approx(6.015375, abs=1e-5)
    assert r.si_sdr(wav, wav, RATE, "authors") == pytest.approx(106.4503, abs=1e-3)


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("name", r.METRICS)
def test_other_shapes_are_refused(name: str) -> None:
    with pytest.raises(AudioError, match=r"\(2, 100\) and \(2, 99\)"):
        r.METRICS[name](np.zeros((2, 100)), np.zeros((2, 99)), RATE, "strict")
    with pytest.raises(AudioError, match="NaN"):
        r.METRICS[name](np.full((2, 100), np.nan), np.zeros((2, 100)), RATE, "strict")


# ---- folders ---------------------------------------------------------------------------------


def write(path: Path, wav: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, Audio(wav, rate))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    names = ("a/1", "a/2", "b/1", "c")
    for seed, name in enumerate(names):
        write(tmp_path / f"ref/{name}.wav", noise(0.1, seed))
        write(tmp_path / f"est/{name}.flac", (0.5 + 0.1 * seed) * noise(0.1, seed))
    return tmp_path / "ref", tmp_path / "est"


def test_the_row_of_the_paper(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    r.main([*map(str, folders), "--out", str(tmp_path / "out/figures")])
    printed = capsys.readouterr().out
    assert "| strict |" in printed and "| 3 |" in printed
    data = json.loads((tmp_path / "out/figures.json").read_text())
    figure = data["figures"]["stft_distance"]
    expected = np.mean([(1 - g) - math.log(g) for g in (0.5, 0.6, 0.7, 0.8)])
    assert figure["value"] == pytest.approx(expected, abs=2e-3)
    assert figure["low"] < figure["value"] < figure["high"]
    assert (data["files"], figure["count"]) == (4, 3)
    rows = list(csv.DictReader((tmp_path / "out/figures.csv").read_text().splitlines()))
    assert [(row["name"], row["song"]) for row in rows] == [
        ("a/1", "a"),
        ("a/2", "a"),
        ("b/1", "b"),
        ("c", "c"),
    ]


def test_files_without_a_finite_figure_are_counted(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, estimate = folders
    silence = np.zeros((2, RATE // 10), np.float32)
    write(estimate / "b/1.flac", silence)
    write(reference / "c.wav", silence)
    r.main([str(reference), str(estimate), "--out", str(tmp_path / "out")])
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    assert "left out: 1" in cells[2] and "left out: 1" in cells[4], "c is silent"
    assert "left out: 2" in cells[6], "SI-SDR has no figure for b/1 either"
    missing = json.loads((tmp_path / "out.json").read_text())["left_out"]
    assert (missing["icpc"], missing["si_sdr"], missing["true_peak_distance"]) == (1, 2, 2)


def test_names_and_lengths_must_agree(folders: tuple[Path, Path]) -> None:
    reference, estimate = folders
    write(reference / "more.wav", noise(0.1))
    with pytest.raises(AudioError, match=r"more and 0 more are in .*ref only"):
        r.pairs(reference, estimate)
    write(estimate / "more.wav", noise(0.2))
    with pytest.raises(
        AudioError, match="more: the original has 2 × 4410 samples at 44100 Hz, the copy 2 × 8820"
    ):
        r.main([str(reference), str(estimate)])
    write(estimate / "more.wav", noise(0.1), 48000)
    with pytest.raises(AudioError, match="at 48000 Hz"):
        r.main([str(reference), str(estimate)])
    write(estimate / "more.flac", noise(0.1))
    with pytest.raises(AudioError, match="have one name"):
        r.pairs(reference, estimate)
    with pytest.raises(AudioError, match="no folder"):
        r.pairs(reference, estimate / "gone")


def test_an_odd_pair_is_named_and_the_others_keep_their_figures(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, estimate = folders
    write(estimate / "a/2.flac", noise(0.2))
    (estimate / "c.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.raises(AudioError, match=r"2 of 4 pairs can't be compared: a/2: the original .*; .*c\.flac"):
        r.main([str(reference), str(estimate), "--out", str(tmp_path / "out")])
    assert "| strict |" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["files"] == 2
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["a/1", "b/1"]


def test_a_mono_original_is_compared_as_two_equal_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mono, copy = noise(0.1, channels=1), 0.5 * noise(0.1, seed=1)
    write(tmp_path / "ref/a.wav", mono)
    write(tmp_path / "both/a.wav", np.repeat(mono, 2, axis=0))
    write(tmp_path / "est/a.wav", copy)
    with caplog.at_level("INFO"):
        (pair,) = r.pairs(tmp_path / "ref", tmp_path / "est")
        found = r.measure(pair)
    assert "a: the mono original becomes two equal channels" in caplog.text
    assert found == r.measure(r.pairs(tmp_path / "both", tmp_path / "est")[0])
    with pytest.raises(AudioError, match="the original has 2 × 4410 samples at 44100 Hz, the copy 1 × 4410"):
        r.measure(r.pairs(tmp_path / "both", tmp_path / "ref")[0])
