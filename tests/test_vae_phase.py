"""Phases from magnitudes: exact inverses, known sinusoids, and cuts that don't show."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae.phase import frame_transform, griffin_lim, initial_phase, overlap_add

N_FFT, HOP = 256, 64
WINDOW = torch.hann_window(N_FFT)


def error(wav: torch.Tensor, magnitude: torch.Tensor) -> float:
    found = frame_transform(wav, WINDOW, HOP).abs()
    return float((found - magnitude).norm() / magnitude.norm())


@settings(deadline=None, max_examples=20)
@given(frames=st.integers(1, 30), seed=st.integers(0, 99))
def test_transform_is_invertible_at_every_length(frames: int, seed: int) -> None:
    wav = torch.randn(2, HOP * frames, generator=torch.Generator().manual_seed(seed))
    spectrum = frame_transform(wav, WINDOW, HOP)
    assert spectrum.shape == (2, frames, N_FFT // 2 + 1)
    torch.testing.assert_close(overlap_add(spectrum, WINDOW, HOP), wav, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frequency", [0.05, 0.0717, 0.2])
def test_initial_phase_carries_a_sinusoid_on(frequency: float) -> None:
    wav = torch.sin(2 * math.pi * frequency * torch.arange(HOP * 60))
    magnitude = frame_transform(wav, WINDOW, HOP).abs()
    guess = overlap_add(torch.polar(magnitude, initial_phase(magnitude, N_FFT, HOP)), WINDOW, HOP)
    assert error(guess, magnitude) < 0.1
    peak = torch.fft.rfft(guess, n=1 << 16).abs().argmax().item() / (1 << 16)
    assert peak == pytest.approx(frequency, abs=2e-4)


def test_iterations_bring_the_magnitudes_nearer() -> None:
    wav = torch.randn(HOP * 40, generator=torch.Generator().manual_seed(0))
    magnitude = frame_transform(wav, WINDOW, HOP).abs()
    phase = initial_phase(magnitude, N_FFT, HOP)
    errors = [
        error(overlap_add(magnitude * griffin_lim(magnitude, phase, WINDOW, HOP, n), WINDOW, HOP), magnitude)
        for n in (0, 4, 16)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_silence_stays_silent() -> None:
    magnitude = torch.zeros(10, N_FFT // 2 + 1)
    phasors = griffin_lim(magnitude, initial_phase(magnitude, N_FFT, HOP), WINDOW, HOP, 4)
    assert torch.isfinite(torch.view_as_real(phasors)).all()
    assert not overlap_add(magnitude * phasors, WINDOW, HOP).any()
