"""The ear-VAE's losses: closed forms, zeros, and K-weighting against the standard."""

import math

import numpy as np
import pyloudnorm
import pytest
import torch
from scipy.signal import lfilter

from vae.config import EarWeights
from vae.losses import (
    KWeighting,
    correlation,
    four_channels,
    k_weighting,
    log_magnitude,
    phase_derivatives,
    spectrum,
)
from vae.model import EarVAE
from vae.objective import EarObjective


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_biquads_are_those_of_pyloudnorm(rate: int) -> None:
    theirs = list(pyloudnorm.Meter(rate, filter_class="DeMan")._filters.values())
    for (b, a), reference in zip(k_weighting(rate), theirs):
        np.testing.assert_allclose(b, reference.b, atol=1e-12)
        np.testing.assert_allclose(a, reference.a, atol=1e-12)


def test_biquads_are_the_standards_at_48_khz() -> None:
    (b, a), (_, high_pass) = k_weighting(48000)
    np.testing.assert_allclose(b, [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-8)
    np.testing.assert_allclose(a, [1.0, -1.69065929318241, 0.73248077421585], atol=1e-8)
    np.testing.assert_allclose(high_pass, [1.0, -1.99004745483398, 0.99007225036621], atol=1e-8)


def test_filtering_by_transform_is_the_recursion() -> None:
    wav = noise(2, 9000).double()
    expected = wav.numpy()
    for b, a in k_weighting(44100):
        expected = lfilter(b, a, expected)
    np.testing.assert_allclose(KWeighting(44100)(wav).numpy(), expected, atol=2e-5)


def test_mid_and_side() -> None:
    mid, side, left, right = four_channels(torch.tensor([[[1.0], [0.5]]]))[0, :, 0].tolist()
    assert (mid, side, left, right) == (0.75, 0.25, 1.0, 0.5)


def test_a_full_scale_sine_has_half_in_its_bin() -> None:
    wav = torch.sin(2 * math.pi * 8 * torch.arange(1024) / 256).expand(1, 1, -1)
    assert spectrum(wav, 256).abs()[0, 0, 8, 8].item() == pytest.approx(0.5, abs=1e-4)


def test_losses_of_equal_signals_are_zero() -> None:
    made = spectrum(noise(1, 2, 2000), 256)
    assert log_magnitude(made, made).item() == 0
    assert correlation(made, made).item() == pytest.approx(0, abs=1e-6)
    assert [e.item() for e in phase_derivatives(made, made)] == pytest.approx([0, 0], abs=1e-6)


def test_gain_costs_its_logarithm_and_no_phase() -> None:
    target = spectrum(noise(1, 2, 4000), 256)
    assert log_magnitude(2 * target, target).item() == pytest.approx(math.log(2), abs=1e-3)
    assert correlation(2 * target, target).item() == pytest.approx(0, abs=1e-6)


def test_polarity_costs_two_and_no_derivative() -> None:
    target = spectrum(noise(1, 2, 4000), 256)
    assert correlation(-target, target).item() == pytest.approx(2, abs=1e-6)
    assert [e.item() for e in phase_derivatives(-target, target)] == pytest.approx([0, 0], abs=1e-5)


def test_a_delay_costs_group_delay_and_wraps() -> None:
    wav, delay, n_fft = noise(1, 1, 8000), 100, 1024
    later = torch.nn.functional.pad(wav, (delay, 0))[..., :-delay]
    bins = torch.arange(n_fft // 2 + 1)
    turned = spectrum(wav, n_fft) * torch.exp(-2j * math.pi * bins * delay / n_fft)[:, None]
    frequency, group = phase_derivatives(turned, spectrum(wav, n_fft))
    assert frequency.item() == pytest.approx(0, abs=1e-4)
    assert group.item() == pytest.approx(2 * math.pi * delay / n_fft, rel=1e-3)
    assert phase_derivatives(spectrum(later, n_fft), spectrum(wav, n_fft))[1].item() < math.pi


def test_silence_has_finite_losses_and_gradients() -> None:
    made = torch.zeros(1, 2, 2000, requires_grad=True)
    target = spectrum(noise(1, 2, 2000), 256)
    found = spectrum(made, 256)
    total = log_magnitude(found, target) + correlation(found, target) + sum(phase_derivatives(found, target))
    total.backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_objective_weighs_what_it_names() -> None:
    torch.manual_seed(0)
    objective = EarObjective(EarVAE.named("tiny"), EarWeights(), (256, 128))
    losses = objective(0.1 * noise(1, 2, 3000), torch.Generator().manual_seed(1))
    weights = vars(EarWeights())
    assert set(losses) == {*weights, "total"}
    expected = sum(weights[k] * v.item() for k, v in losses.items() if k != "total")
    assert losses["total"].item() == pytest.approx(expected, rel=1e-5)


def test_warm_up_leaves_the_phases_out() -> None:
    torch.manual_seed(0)
    weights = EarWeights(correlation=0, frequency=0, delay=0)
    losses = EarObjective(EarVAE.named("tiny"), weights, (128,))(noise(1, 2, 600), None)
    assert set(losses) == {"magnitude", "kl", "total"}


def test_comparison_of_equal_waveforms_is_zero() -> None:
    objective = EarObjective(EarVAE.named("tiny"), EarWeights(), (256,))
    wav = noise(1, 2, 3000)
    assert all(v.item() == pytest.approx(0, abs=1e-5) for v in objective.compare(wav, wav).values())
