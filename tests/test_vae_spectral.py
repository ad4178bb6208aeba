"""The demo codec: calibrated on synthetic chords, it keeps their pitches and forgets their phases."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.errors import AudioError, ConfigError
from common.seeds import generator
from vae import spectral
from vae.load import load
from vae.measures import smoothness, spectral_convergence
from vae.spectral import SpectralVAE

RATE = 44100


def chord(notes: list[int], seconds: float = 1.0, pan: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Decaying tones of six harmonics, struck every half second, with a little noise."""
    time, rng = np.arange(int(seconds * RATE)) / RATE, generator(seed, "chord")
    tone = sum(
        np.sin(2 * np.pi * 440 * 2 ** ((n - 69) / 12) * h * time + rng.random() * 6) / h
        for n in notes
        for h in range(1, 7)
    )
    mono = 0.1 * tone * np.exp(-3 * (time % 0.5)) + 1e-3 * rng.standard_normal(len(time))
    return torch.from_numpy(np.stack([mono * (1 - pan), mono * (1 + pan)])).float()


@pytest.fixture(scope="module")
def codec() -> SpectralVAE:
    torch.manual_seed(0)
    model = SpectralVAE(latent_dim=32, width=16, depth=1, expansion=1, iterations=8)
    rng = generator(1, "notes")
    crops = [chord(list(rng.integers(40, 84, 3)), 0.5, rng.uniform(-0.4, 0.4), seed) for seed in range(90)]
    found = model.calibrate(crops)
    assert found["features_kept"] > 0.95
    assert found["magnitudes_explained"] > 0.5
    return model.eval()


def loudest(wav: torch.Tensor, near: float) -> float:
    """Frequency in Hz of the strongest partial within a whole tone of `near`."""
    size = 1 << 17
    spectrum = torch.fft.rfft(wav.mean(0) * torch.hann_window(wav.shape[-1]), n=size).abs()
    low, high = (int(near * 2 ** (step / 12) * size / RATE) for step in (-2, 2))
    return (low + spectrum[low:high].argmax().item()) * RATE / size


def test_chord_keeps_its_pitches(codec: SpectralVAE) -> None:
    notes = [57, 64, 73]
    wav = chord(notes, seed=99)
    copy = codec.decode(codec.encode(wav[None]).mode(), wav.shape[-1])[0]
    for note in notes:
        frequency = 440 * 2 ** ((note - 69) / 12)
        assert abs(12 * np.log2(loudest(copy, frequency) / frequency)) < 0.5


def test_latents_are_smooth_and_of_unit_size(codec: SpectralVAE) -> None:
    latents = codec.encode(chord([50, 57, 66], seconds=2, seed=7)[None]).mode()[0]
    assert smoothness(latents) > 0.6  # plucked chords are the hard case; songs have more
    assert 0.3 < latents.std().item() < 3


def test_latents_are_deaf_to_phase(codec: SpectralVAE) -> None:
    wav = chord([60, 67])
    torch.testing.assert_close(codec.encode(-wav[None]).mode(), codec.encode(wav[None]).mode())


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 30000])
def test_length_out_is_length_in(codec: SpectralVAE, length: int) -> None:
    latents = codec.encode(torch.zeros(1, 2, length)).mode()
    assert latents.shape == (1, 32, -(-length // 1024))
    assert codec.decode(latents, length).shape == (1, 2, length)
    assert codec.decode(latents).shape[-1] == 1024 * latents.shape[-1]


def test_trailing_silence_does_not_change_latents(codec: SpectralVAE) -> None:
    wav = chord([60], seconds=0.7)[None]
    short, long = (codec.encode(F.pad(wav, (0, extra))).mode() for extra in (0, 50000))
    torch.testing.assert_close(long[..., : short.shape[-1]], short, atol=1e-4, rtol=1e-4)


def test_a_batch_is_its_songs(codec: SpectralVAE) -> None:
    songs = torch.stack([chord([60], 0.5), chord([66, 70], 0.5, seed=2)])
    together = codec.decode(codec.encode(songs).mode(), songs.shape[-1])
    for song, copy in zip(songs, together):
        alone = codec.decode(codec.encode(song[None]).mode(), song.shape[-1])[0]
        torch.testing.assert_close(alone, copy, atol=1e-3, rtol=1e-3)


def test_decoding_is_deterministic(codec: SpectralVAE) -> None:
    latents = codec.encode(chord([62, 69])[None]).sample(torch.Generator().manual_seed(1))
    assert torch.equal(codec.decode(latents), codec.decode(latents))


def test_chunks_do_not_show(codec: SpectralVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = codec.encode(chord([62, 69], seconds=2)[None]).mode()
    whole = codec.decode(latents)
    monkeypatch.setattr(spectral, "_CHUNK", 20)
    torch.testing.assert_close(codec.decode(latents), whole, atol=2e-3, rtol=0)


def test_panning_survives(codec: SpectralVAE) -> None:
    wav = chord([64], pan=0.3, seed=4)
    copy = codec.decode(codec.encode(wav[None]).mode(), wav.shape[-1])[0]
    ratio = copy[1].norm() / copy[0].norm()
    assert 1.2 < ratio.item() < 2.1  # 1.86 in the original; the width is coarse


def test_folder_gives_back_nearly_the_same_codec(codec: SpectralVAE, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    again = load(tmp_path)
    wav = chord([60, 64])[None]
    assert torch.equal(again.encode(wav).mode(), codec.encode(wav).mode())
    assert torch.equal(again.decode(again.encode(wav).mode()), codec.decode(codec.encode(wav).mode()))


def test_half_precision_keeps_the_analysis_exact(codec: SpectralVAE, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    half = load(tmp_path).to(torch.bfloat16)
    wav = chord([60, 64])[None]
    assert half.analysis.semitones.dtype == torch.float32
    assert torch.equal(half.encode(wav).mode(), codec.encode(wav).mode())
    exact, rough = (c.decode(c.encode(wav).mode())[0] for c in (codec, half))
    assert spectral_convergence(exact, rough) < 0.5


def test_mono_is_refused(codec: SpectralVAE) -> None:
    with pytest.raises(AudioError, match="batch, 2, time"):
        codec.encode(torch.zeros(1, 1, 5000))


@pytest.mark.parametrize(
    "wrong",
    [{"floor": 0.0}, {"n_mels": "40"}, {"iterations": -1}, {"posterior_std": -0.1}, {"subframes": 17}],
)
def test_a_setting_that_no_codec_has_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .* got"):
        SpectralVAE(**({"width": 4, "depth": 0} | wrong))  # type: ignore[arg-type]


def test_integers_and_too_great_lengths_are_refused(codec: SpectralVAE) -> None:
    with pytest.raises(AudioError, match=r"floats with full scale 1, but got torch\.int64"):
        codec.encode(torch.zeros(1, 2, 5000, dtype=torch.int64))
    for length in (3073, -1):
        with pytest.raises(AudioError, match=f"at most 3072 samples, but {length} are wanted"):
            codec.decode(torch.zeros(1, 32, 3), length)


# ---- axes that are chosen otherwise ------------------------------------------------------------


def struck(seed: int, seconds: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Any chord, with a faint high note or without, and which of the two it is on every frame."""
    rng, which = generator(seed, "struck"), seed % 2
    notes = list(rng.integers(40, 70, 3))
    wav = chord(notes, seconds, rng.uniform(-0.4, 0.4), seed) + which * 0.05 * chord([100], seconds)
    return wav, torch.full((-(-wav.shape[-1] // 1024), 1), float(which))


def small(**settings: float) -> SpectralVAE:
    torch.manual_seed(0)
    codec = SpectralVAE(latent_dim=6, width=4, depth=1, expansion=1, iterations=2)
    wavs, told = zip(*(struck(seed) for seed in range(40)))
    codec.calibrate(list(wavs), told=told, **settings)
    return codec.eval()


def test_without_wishes_axes_are_principal_ones() -> None:
    features = torch.randn(400, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64)
    covariance = features.T @ features / 400
    vectors = torch.linalg.eigh(covariance)[1].flip(1)
    axes, worth = spectral._axes(covariance, None, 0.0)
    torch.testing.assert_close(axes.abs(), vectors.abs())
    torch.testing.assert_close(worth, (features @ axes).square().mean(0).sqrt())
    changed, _ = spectral._axes(covariance, torch.diag(torch.arange(1.0, 6.0).double()), 2.0)
    rest = changed.T @ covariance @ changed  # latents stay uncorrelated
    torch.testing.assert_close(rest, torch.diag(rest.diagonal()), atol=1e-9, rtol=0)


def test_slow_axes_change_less() -> None:
    def change(codec: SpectralVAE) -> float:
        """Of the latents, from frame to frame, beside their variance."""
        songs = [codec.encode(struck(seed)[0][None]).mode()[0] for seed in range(40, 56)]
        return float(sum(z.diff(dim=1).square().sum() for z in songs) / torch.cat(songs, 1).var(1).sum())

    assert change(small(smooth=20.0)) < 0.8 * change(small())


def test_distilled_axes_hold_more_of_what_is_told() -> None:
    def explained(codec: SpectralVAE) -> float:
        """Of the latents' variance, by the triad that sounds."""
        songs = [struck(seed) for seed in range(40, 56)]
        latents = torch.cat([codec.encode(wav[None]).mode()[0].T for wav, _ in songs])
        which = torch.cat([told[:, 0] for _, told in songs]) > 0
        between = (latents[which].mean(0) - latents[~which].mean(0)).square() / 4
        return float(between.sum() / latents.var(0).sum())

    assert explained(small(distil=4.0)) > explained(small()) + 0.02


def test_slower_latents() -> None:
    torch.manual_seed(0)
    codec = SpectralVAE(latent_dim=32, width=8, depth=1, expansion=1, iterations=4, subframes=4).eval()
    rng = generator(1, "notes")
    codec.calibrate([chord(list(rng.integers(40, 84, 3)), 0.5, seed=seed) for seed in range(90)])
    wav = chord([57, 64], seed=99)
    latents = codec.encode(wav[None]).mode()
    assert latents.shape == (1, 32, -(-wav.shape[-1] // 2048)) and codec.hop_length == 2048
    copy = codec.decode(latents, wav.shape[-1])[0]
    assert abs(12 * np.log2(loudest(copy, 220.0) / 220.0)) < 0.5
    parts = torch.cat(list(codec.decode_tiles(latents)), dim=2)
    assert torch.equal(parts[..., : wav.shape[-1]], codec.decode(latents, wav.shape[-1]))
