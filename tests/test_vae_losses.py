"""The ear-VAE's losses: closed forms, zeros, and K-weighting against the standard."""

import inspect
import math

import numpy as np
import pyloudnorm
import pytest
import torch
from scipy.signal import lfilter

from common.errors import ConfigError
from vae.config import EarWeights
from vae.discriminator import Critic
from vae.losses import (
    Weighting,
    a_weighting,
    adversarial,
    correlation,
    critic_loss,
    feature_matching,
    four_channels,
    k_weighting,
    log_magnitude,
    phase_derivatives,
    spectrum,
)
from vae.model import EarVAE
from vae.objective import EarObjective, Outcome


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
    np.testing.assert_allclose(Weighting(44100)(wav).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("frequency", "decibels"),
    [(10, -70.4), (19.95, -50.5), (100, -19.1), (1000, 0.0), (2512, 1.3), (10000, -2.5), (19953, -9.3)],
)
def test_a_weighting_is_the_standards_table(frequency: float, decibels: float) -> None:
    found = 20 * math.log10(a_weighting(torch.tensor([float(frequency)])).item())
    assert found == pytest.approx(decibels, abs=0.06)


@pytest.mark.parametrize("frequency", [100, 1000, 8000])
def test_a_weighting_of_a_tone_is_its_gain(frequency: int) -> None:
    wav = torch.sin(2 * math.pi * frequency * torch.arange(44100) / 44100)
    middle = Weighting(44100, "A")(wav)[10000:30000]
    expected = a_weighting(torch.tensor([float(frequency)])).item() / math.sqrt(2)
    assert middle.square().mean().sqrt().item() == pytest.approx(expected, rel=1e-3)
    assert torch.equal(Weighting(44100, "none")(wav), wav)


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


def test_phase_losses_ignore_gain_and_polarity() -> None:
    made, target = spectrum(noise(1, 2, 4000), 256), spectrum(noise(1, 2, 4000, seed=1), 256)
    plain = phase_derivatives(made, target)
    for changed in (3 * made, -made):
        found = phase_derivatives(changed, target)
        assert [f.item() for f in found] == pytest.approx([p.item() for p in plain], rel=1e-4)
    # A phase that turns with frequency by one step a bin costs that step in the delay alone.
    turned = target * torch.polar(torch.ones(()), 0.3 * torch.arange(129.0))[:, None]
    assert [e.item() for e in phase_derivatives(turned, target)] == pytest.approx([0, 0.3], abs=1e-4)
    later = target * torch.polar(torch.ones(()), 0.2 * torch.arange(float(target.shape[-1])))
    assert [e.item() for e in phase_derivatives(later, target)] == pytest.approx([0.2, 0], abs=1e-4)


# ---- the objective -----------------------------------------------------------------------------


def judge(objective: EarObjective, wav: torch.Tensor, whole: bool = True) -> Outcome:
    shape = (len(wav), objective.codec.latent_dim, objective.codec.frames(wav.shape[-1]))
    return objective(wav, noise(*shape, seed=1), whole)


def test_objective_weighs_what_it_names() -> None:
    torch.manual_seed(0)
    weights = EarWeights()
    outcome = judge(EarObjective(EarVAE.named("tiny"), weights, (256, 128)), 0.1 * noise(1, 2, 3000))
    losses = {name: value.item() for name, value in outcome.losses.items()}
    assert set(losses) == {"magnitude", "correlation", "frequency", "delay", "kl", "total"}
    expected = 50 * losses["magnitude"] + 10 * losses["correlation"] + 1e-6 * losses["kl"]
    expected += 10 * (losses["frequency"] + losses["delay"])
    assert losses["total"] == pytest.approx(expected, rel=1e-5)
    assert outcome.copy is not None and outcome.copy.shape == (1, 2, 3000)


def test_every_phase_term_can_be_left_out() -> None:
    torch.manual_seed(0)
    codec, wav = EarVAE.named("tiny"), noise(1, 2, 600)
    warm = judge(EarObjective(codec, EarWeights(), (128,)), wav, whole=False)
    assert set(warm.losses) == {"magnitude", "kl", "total"}
    bare = judge(EarObjective(codec, EarWeights(correlation=0, phase=0), (128,)), wav)
    assert set(bare.losses) == {"magnitude", "kl", "total"}
    torch.testing.assert_close(bare.losses["total"], warm.losses["total"])


def test_what_the_ablations_change() -> None:
    torch.manual_seed(0)
    codec, wav = EarVAE.named("tiny"), noise(1, 2, 3000)
    copy = noise(1, 2, 3000, seed=4)
    copy[:, 1] = wav[:, 0] - copy[:, 0] + wav[:, 1]  # the mid is right, left and right are not
    kinds = {
        "paper": EarObjective(codec, EarWeights(), (256,)),
        "mid_side": EarObjective(codec, EarWeights(), (256,), mid_side_phase=True),
        "a": EarObjective(codec, EarWeights(), (256,), "A"),
        "none": EarObjective(codec, EarWeights(), (256,), "none"),
    }
    found = {name: objective.compare(copy, wav) for name, objective in kinds.items()}
    assert found["mid_side"]["correlation"] < found["paper"]["correlation"]
    assert found["mid_side"]["magnitude"] == found["paper"]["magnitude"]
    # A gain of every bin is no change of the distance, so only the floor and the window's leakage differ.
    assert len({round(found[name]["frequency"].item(), 5) for name in ("paper", "a", "none")}) == 3


@pytest.mark.parametrize("curve", ["K", "A", "none"])
def test_comparison_of_equal_waveforms_is_zero(curve: str) -> None:
    objective = EarObjective(EarVAE.named("tiny"), EarWeights(), (256,), curve, True)  # type: ignore[arg-type]
    wav = noise(1, 2, 3000)
    assert all(v.item() == pytest.approx(0, abs=1e-5) for v in objective.compare(wav, wav).values())


def test_objective_has_finite_gradients_on_silence() -> None:
    torch.manual_seed(0)
    objective = EarObjective(EarVAE.named("tiny"), EarWeights(), (256, 128))
    judge(objective, torch.zeros(1, 2, 3000)).losses["total"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in objective.parameters())


# ---- the adversary -----------------------------------------------------------------------------


def test_least_squares_has_its_closed_forms() -> None:
    one, zero, half = (torch.full((2, 1, 3, 4), v) for v in (1.0, 0.0, 0.5))
    assert critic_loss([one, one], [zero, zero]).item() == 0
    assert critic_loss([zero], [one]).item() == 2
    assert critic_loss([half], [half]).item() == pytest.approx(0.5)
    assert adversarial([one, half]).item() == pytest.approx(0.125)


def test_feature_matching_is_the_relative_error() -> None:
    maps = [noise(2, 3, 5, seed=i) for i in range(2)]
    assert feature_matching([maps], [maps]).item() == 0
    assert feature_matching([maps], [[1.25 * m for m in maps]]).item() == pytest.approx(0.25, rel=1e-5)
    whole = feature_matching([maps], [[m + 1 for m in maps]])
    single = [feature_matching([[m[[i]] for m in maps]], [[m[[i]] + 1 for m in maps]]) for i in (0, 1)]
    torch.testing.assert_close(whole, torch.stack(single).mean())


def test_critic_has_the_published_shape() -> None:
    critic = Critic(filters=2)
    opinions = critic(noise(1, 2, 8192))
    assert [m.n_fft for m in critic.members] == [2048, 1024, 512, 256, 128]
    assert [len(maps) for maps in opinions.maps] == [5] * 5
    first = opinions.maps[0]
    assert [tuple(m.shape[1:]) for m in first] == [
        (2, 17, 1025), (2, 17, 513), (2, 17, 257), (2, 17, 129), (2, 17, 129)
    ]  # fmt: skip
    assert opinions.scores[0].shape == (1, 1, 17, 129)
    assert inspect.signature(Critic).parameters["filters"].default == 64
    assert [layer.dilation for layer in critic.members[0].layers] == [(1, 1), (1, 1), (2, 1), (4, 1), (1, 1)]


def test_critic_sees_both_channels_and_any_length() -> None:
    torch.manual_seed(0)
    critic = Critic((128,), 4, (2, 3), 2)
    wav = noise(1, 2, 700)
    opinions = critic(wav)
    assert len(opinions.scores) == 3
    for channel in (0, 1):
        other = wav.clone()
        other[:, channel] = 0
        assert all(not torch.equal(a, b) for a, b in zip(critic(other).scores, opinions.scores))
    assert all(torch.isfinite(s).all() for s in critic(noise(2, 2, 1)).scores)
    with pytest.raises(ConfigError, match="window or a period"):
        Critic(())


def test_critic_learns_to_tell_noise_from_a_tone() -> None:
    torch.manual_seed(0)
    critic = Critic((128,), 4)
    tone = torch.sin(0.2 * torch.arange(2000)).expand(2, 2, -1)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    losses = []
    for step in range(30):
        real, made = (critic(w).scores for w in (tone, noise(2, 2, 2000, seed=step)))
        loss = critic_loss(real, made)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_gain_is_that_of_the_filter() -> None:
    for curve in ("K", "A", "none"):
        weighting = Weighting(44100, curve)
        n = torch.arange(88200)
        for number in (8, 64, 512):  # bins of 2048
            tone = torch.sin(2 * torch.pi * number / 2048 * n)[None, None]
            middle = weighting(tone)[..., 30_000:50_000]
            found = (2 * middle.square().mean()).sqrt()
            torch.testing.assert_close(found, weighting.gain(2048)[number], rtol=1e-3, atol=1e-5)


def test_spectral_losses_vanish_where_the_copy_is_right() -> None:
    from vae.config import SpectralWeights
    from vae.objective import SpectralObjective
    from vae.spectral import SpectralVAE

    class Told(torch.nn.Module):
        """A decoder that knows what it should say."""

        def __init__(self, logs: torch.Tensor) -> None:
            super().__init__()
            self.logs = logs

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return self.logs

    codec = SpectralVAE(latent_dim=4, width=4, depth=1, expansion=1)
    left = 0.3 * torch.randn(1, 22050, generator=torch.Generator().manual_seed(1))
    wav = torch.stack([left, 0.5 * left], dim=1)  # of one phase, so that its sides are told by its sizes
    codec.decoder = Told(codec.magnitudes(wav))  # type: ignore[assignment]
    objective = SpectralObjective(codec, SpectralWeights(mid_side=1.0))
    losses = objective(wav, torch.zeros(1, 4, codec.frames(wav.shape[-1]))).losses
    assert set(losses) == {"log", "mid_side", "linear", "total"}
    assert all(float(value) < 0.01 for value in losses.values())
    codec.decoder = Told(codec.magnitudes(wav) + 0.5)  # type: ignore[assignment]
    louder = objective(wav, torch.zeros(1, 4, codec.frames(wav.shape[-1]))).losses
    torch.testing.assert_close(louder["log"], torch.tensor(0.5))
    assert 0.35 < float(louder["mid_side"]) < 0.55
    assert float(louder["linear"]) == pytest.approx(math.exp(0.5) - 1, rel=1e-3)
