"""The ear-VAE: the published architecture, lengths, folders."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.errors import AudioError, CheckpointError, ConfigError
from vae.load import load
from vae.model import Conv, EarVAE, Rotary, SnakeBeta, Upsample

KEYS = Path(__file__).parent / "fixtures" / "ear_vae_44k_keys.tsv"


def tiny(seed: int = 0) -> EarVAE:
    torch.manual_seed(seed)
    return EarVAE.named("tiny").eval()


def meta(name: str) -> EarVAE:
    with torch.device("meta"):
        return EarVAE.named(name)


@pytest.mark.parametrize(("name", "parameters"), [("paper", 147_831_810), ("paper_48k", 168_408_706)])
def test_published_sizes(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in meta(name).parameters()) == parameters


def test_state_dict_has_the_published_keys_and_shapes() -> None:
    rows = [line.split("\t") for line in KEYS.read_text().splitlines() if not line.startswith("#")]
    published = {key: tuple(map(int, shape.split())) for key, shape in rows}
    assert len(published) == 386
    assert {key: tuple(value.shape) for key, value in meta("paper").state_dict().items()} == published


def test_48_khz_model_has_no_transformer() -> None:
    model = meta("paper_48k")
    assert not any(key.startswith("transformers.") for key in model.state_dict())
    assert (model.hop_length, model.frame_rate) == (960, 50.0)


@settings(deadline=None, max_examples=25)
@given(length=st.integers(1, 700), strides=st.lists(st.integers(2, 6), min_size=1, max_size=3))
def test_length_out_is_length_in(length: int, strides: list[int]) -> None:
    model = EarVAE(channels=2, multipliers=(1,) * len(strides), strides=tuple(strides), latent_dim=4, heads=1)
    wav = torch.randn(1, 2, length, generator=torch.Generator().manual_seed(length))
    with torch.inference_mode():
        latents = model.encode(wav).mode()
        assert latents.shape == (1, 4, model.frames(length))
        assert model.decode(latents, length).shape == wav.shape


def test_trailing_silence_does_not_change_what_comes_before() -> None:
    model, wav = tiny(), torch.randn(1, 2, 3000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        short = model.encode(wav).mode()
        long = model.encode(nn.functional.pad(wav, (0, 5000))).mode()
    inside = short.shape[-1] - 8  # the receptive field of the last latents crosses the end
    torch.testing.assert_close(short[..., :inside], long[..., :inside])


def test_one_snake_serves_both_places_of_a_residual_unit(tmp_path: Path) -> None:
    model, unit = tiny(), "encoder.layers.1.layers.0.layers"
    assert model.get_submodule(f"{unit}.0") is model.get_submodule(f"{unit}.2")
    with torch.no_grad():
        model.get_parameter(f"{unit}.0.alpha").fill_(0.3)
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.get_parameter(f"{unit}.2.alpha").eq(0.3).all()


def test_saved_and_loaded_model_gives_the_same_samples(tmp_path: Path) -> None:
    model = tiny(3)
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    wav = torch.randn(1, 2, 2000, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        first, second = (m.decode(m.encode(wav).mode(), 2000) for m in (model, again))
    assert torch.equal(first, second)


def test_new_transformer_changes_nothing() -> None:
    model, x = tiny(), torch.randn(1, 8, 20)
    assert model.transformers is not None
    assert torch.equal(model.transformers(x), x)


def test_convolutions_are_torch_weight_norm() -> None:
    ours, reference = Conv(3, 5, 4, padding=2, stride=2), nn.Conv1d(3, 5, 4, 2, 2)
    parametrised = nn.utils.parametrizations.weight_norm(reference)
    parametrised.load_state_dict(ours.state_dict())  # torch reads the old names by a hook of its own
    x = torch.randn(2, 3, 40)
    torch.testing.assert_close(ours(x), parametrised(x))


def test_upsampling_is_torch_weight_norm() -> None:
    ours, reference = Upsample(4, 3, 2), nn.ConvTranspose1d(4, 3, 4, 2, 1)
    parametrised = nn.utils.parametrizations.weight_norm(reference)
    parametrised.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 30)
    torch.testing.assert_close(ours(x), parametrised(x))


def test_snake_formula() -> None:
    snake = SnakeBeta(1)
    with torch.no_grad():
        snake.alpha.fill_(np.log(2.0))
        snake.beta.fill_(np.log(4.0))
    assert snake(torch.full((1, 1, 1), 0.7)).item() == pytest.approx(0.7 + np.sin(1.4) ** 2 / 4)


def test_rotary_products_depend_on_distance_only() -> None:
    rotary, q, k = Rotary(8), torch.randn(8), torch.randn(8)
    turned_q, turned_k = (rotary(v.expand(1, 1, 12, 8))[0, 0] for v in (q, k))
    products = turned_q @ turned_k.T
    torch.testing.assert_close(products.diagonal(3), products[0, 3].expand(9))


def test_posterior_is_softplus_and_its_kl_the_closed_form() -> None:
    model = tiny()
    posterior = model.encode(torch.zeros(1, 2, 500))
    assert (posterior.std > 0).all()
    mean, variance = posterior.mean, posterior.std**2 + 1e-6
    expected = (mean**2 + variance - variance.log() - 1).sum(1).mean()
    torch.testing.assert_close(posterior.kl(), expected)


def test_sampling_follows_the_generator() -> None:
    posterior = tiny().encode(torch.zeros(1, 2, 500))
    draws = [posterior.sample(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_scale_brings_latents_to_unit_and_back() -> None:
    model = tiny()
    wav = torch.randn(1, 2, 1000, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        plain = model.encode(wav)
        copy = model.decode(plain.mode())
        model.scale = 4.0
        scaled = model.encode(wav)
        torch.testing.assert_close(scaled.std * 4, plain.std)
        torch.testing.assert_close(model.decode(scaled.mode()), copy)


@pytest.mark.parametrize("kind", ["silence", "square", "impulse"])
def test_extreme_sounds_stay_finite(kind: str) -> None:
    wav = torch.zeros(1, 2, 4000)
    if kind == "square":
        wav = torch.ones(1, 2, 4000) * (1 - 2 * (torch.arange(4000) // 50 % 2))
    if kind == "impulse":
        wav[..., 2000] = 1.0
    with torch.inference_mode():
        posterior = tiny().encode(wav)
        copy = tiny().decode(posterior.sample(torch.Generator().manual_seed(0)), 4000)
    assert torch.isfinite(copy).all() and torch.isfinite(posterior.kl())
    assert (posterior.std > 0).all()


@pytest.mark.parametrize("shape", [(1, 1, 100), (2, 100), (1, 2, 0)])
def test_what_is_not_stereo_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"\(batch, 2, time ≥ 1\)"):
        tiny().encode(torch.zeros(shape))


def test_nan_is_refused() -> None:
    with pytest.raises(AudioError, match="NaN"):
        tiny().encode(torch.full((1, 2, 10), torch.nan))


def test_integers_are_refused() -> None:
    with pytest.raises(AudioError, match=r"floats with full scale 1, but got torch\.int64"):
        tiny().encode(torch.zeros(1, 2, 500, dtype=torch.int64))


@pytest.mark.parametrize("length", [385, 100_000, -1])
def test_more_samples_than_there_are_latents_for(length: int) -> None:
    with pytest.raises(AudioError, match=f"3 frames of latents are at most 384 samples, but {length}"):
        tiny().decode(torch.zeros(1, 8, 3), length=length)


def test_contradicting_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 strides but 1 multipliers"):
        EarVAE(multipliers=(1,), strides=(2, 2))
    with pytest.raises(ConfigError, match="at least 2"):
        EarVAE(multipliers=(1,), strides=(1,))
    with pytest.raises(ConfigError, match="3 heads"):
        EarVAE(latent_dim=64, heads=3)
    with pytest.raises(ConfigError, match="paper_48k"):
        EarVAE.named("huge")


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(CheckpointError, match="UNet2DModel"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("channels", "abc"),
        ("channels", True),
        ("strides", None),
        ("multipliers", [1, 2, "4"]),
        ("heads", 0),
        ("latent_dim", 8.0),
        ("transformer_depth", -1),
        ("sample_rate", -1),
        ("sample_rate", "x"),
        ("scale", 0.0),
        ("scale", float("nan")),
        ("scale", 10**400),
    ],
)
def test_a_setting_that_no_codec_has_is_named(setting: str, value: object, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: value}))
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(tmp_path))}.* {setting} is .*, but got"):
        load(tmp_path)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.encoder.layers[0].weight_v[0, 0, 0] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"NaN or infinite values in encoder\.layers\.0\.weight_v"):
        load(tmp_path)


def test_weights_of_an_infinite_sum_are_finite(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.encoder.layers[0].weight_g.fill_(3e38)
    model.save_pretrained(tmp_path)
    assert load(tmp_path).encoder.layers[0].weight_g.eq(3e38).all()


def test_tiny_model_learns_a_tone() -> None:
    model, time = tiny().train(), torch.arange(1024) / 44100
    wav = 0.3 * torch.sin(2 * torch.pi * 880 * time).expand(1, 2, -1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    errors = []
    for _ in range(40):
        error = (model.decode(model.encode(wav).mode(), 1024) - wav).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.3 * errors[0]
