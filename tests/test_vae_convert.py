"""Published checkpoints become our folder, key by key, and compute what the published formulas say."""

import hashlib
import logging
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import CheckpointError, ConfigError
from vae import convert
from vae.load import load
from vae.model import EarVAE

KEYS = Path(__file__).parent / "fixtures" / "ear_vae_44k_keys.tsv"
SMALL = {"channels": 4, "multipliers": (1, 2, 3), "strides": (2, 4, 5), "latent_dim": 8}


def published(rows: list[tuple[str, tuple[int, ...]]], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors as a training would leave them: Snakes tied, norm shifts zero, rotary as defined.

    Convolutions' values vary along one axis alone, so that the file of 148M numbers is small.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, shape in rows:
        if key.endswith("inv_freq"):
            state[key] = 10000.0 ** -(torch.arange(shape[0]) / shape[0])
        elif key.endswith("norm.beta"):
            state[key] = torch.zeros(shape)
        else:
            values = torch.randn(shape[-1], generator=generator) * 0.3
            state[key] = values.expand(shape)
    return tie(state)


def tie(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for key in state:
        if key.count(".layers.") == 3 and ".layers.2." in key[-16:] and key.endswith(("alpha", "beta")):
            head, _, name = key.rpartition(".layers.2.")
            state[key] = state[f"{head}.layers.0.{name}"]
    return state


def dense(seed: int = 0, **changes: object) -> dict[str, Tensor]:
    """A small model of the same family with every value its own, saved as the authors save theirs."""
    torch.manual_seed(seed)
    state = EarVAE(**(SMALL | changes)).state_dict()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    for key, value in state.items():
        if not key.endswith(("inv_freq", "norm.beta")):
            state[key] = value + 0.2 * torch.randn(value.shape, generator=generator)
    return tie(state)


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    path = folder / "checkpoint.pyt"
    torch.save(state, path)
    return path


# ---- an independent evaluation of the published formulas ------------------------------------


def weight(state: dict[str, Tensor], name: str) -> Tensor:
    g, v = state[f"{name}.weight_g"], state[f"{name}.weight_v"]
    return g * v / v.pow(2).sum((1, 2), keepdim=True).sqrt()


def snake(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    a, b = (state[f"{name}.{k}"].exp().view(1, -1, 1) for k in ("alpha", "beta"))
    return x + (a * x).sin() ** 2 / (b + 1e-9)


def residual(state: dict[str, Tensor], name: str, x: Tensor, dilation: int) -> Tensor:
    y = snake(state, f"{name}.layers.0", x)
    y = F.conv1d(
        y, weight(state, f"{name}.layers.1"), state[f"{name}.layers.1.bias"], 1, 3 * dilation, dilation
    )
    y = snake(state, f"{name}.layers.2", y)
    return x + F.conv1d(y, weight(state, f"{name}.layers.3"), state[f"{name}.layers.3.bias"])


def encoder(state: dict[str, Tensor], wav: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    x = F.conv1d(wav, weight(state, "encoder.layers.0"), state["encoder.layers.0.bias"], padding=3)
    for i, s in enumerate(strides, 1):
        name = f"encoder.layers.{i}.layers"
        for unit, dilation in enumerate((1, 3, 9)):
            x = residual(state, f"{name}.{unit}", x, dilation)
        x = snake(state, f"{name}.3", x)
        x = F.conv1d(x, weight(state, f"{name}.4"), state[f"{name}.4.bias"], s, math.ceil(s / 2))
    x = snake(state, f"encoder.layers.{len(strides) + 1}", x)
    last = f"encoder.layers.{len(strides) + 2}"
    x = F.conv1d(x, weight(state, last), state[f"{last}.bias"], padding=1)
    half = x.shape[1] // 2
    return x[:, :half], (1 + x[:, half:].exp()).log()


def transformer(state: dict[str, Tensor], z: Tensor, heads: int) -> Tensor:
    """Positions turn pairs (i, i + 16) as complex numbers; attention is written as a softmax."""
    x = z.mT
    dim, frames = x.shape[2], x.shape[1]
    for i in range(sum(k.endswith("pre_norm.gamma") for k in state)):
        name = f"transformers.layers.{i}"
        y = norm(x) * state[f"{name}.pre_norm.gamma"]
        mixed = []
        qkv = y @ state[f"{name}.self_attn.to_qkv.weight"].mT
        turn = torch.polar(
            torch.ones(()), torch.arange(frames)[:, None] * state["transformers.rotary_pos_emb.inv_freq"]
        )
        for head in range(heads):
            part = slice(head * dim // heads, (head + 1) * dim // heads)
            q, k, v = (m[..., part] for m in qkv.chunk(3, dim=-1))
            q, k = (turn * torch.complex(*m.chunk(2, dim=-1)) for m in (q, k))
            scores = (q @ k.mH).real / math.sqrt(dim // heads)
            mixed.append(scores.softmax(-1) @ v)
        x = x + torch.cat(mixed, -1) @ state[f"{name}.self_attn.to_out.weight"].mT
        y = norm(x) * state[f"{name}.ff_norm.gamma"]
        value, gate = (
            y @ state[f"{name}.ff.ff.0.proj.weight"].mT + state[f"{name}.ff.ff.0.proj.bias"]
        ).chunk(2, -1)
        y = value * gate / (1 + (-gate).exp())
        x = x + y @ state[f"{name}.ff.ff.2.weight"].mT + state[f"{name}.ff.ff.2.bias"]
    return x.mT


def norm(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def decoder(state: dict[str, Tensor], z: Tensor, strides: tuple[int, ...], heads: int) -> Tensor:
    x = transformer(state, z, heads)
    x = F.conv1d(x, weight(state, "decoder.layers.0"), state["decoder.layers.0.bias"], padding=3)
    for i, s in enumerate(strides[::-1], 1):
        name = f"decoder.layers.{i}.layers"
        x = snake(state, f"{name}.0", x)
        bias = state[f"{name}.1.bias"]
        x = F.conv_transpose1d(x, weight(state, f"{name}.1"), bias, s, math.ceil(s / 2), s % 2)
        for unit, dilation in enumerate((1, 3, 9), 2):
            x = residual(state, f"{name}.{unit}", x, dilation)
    x = snake(state, f"decoder.layers.{len(strides) + 1}", x)
    return F.conv1d(x, weight(state, f"decoder.layers.{len(strides) + 2}"), padding=3)


@pytest.mark.parametrize("depth", [0, 2])
def test_forward_pass_is_the_published_formulas(depth: int, tmp_path: Path) -> None:
    state = dense(3, transformer_depth=depth)
    model = convert.convert(saved(state, tmp_path), sample_rate=16000)
    strides = (2, 4, 5)
    wav = 0.3 * torch.randn(2, 2, 40 * 30, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        posterior = model.encode(wav)
        mean, std = encoder(state, wav, strides)
        torch.testing.assert_close(posterior.mean, mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(posterior.std, std, atol=1e-5, rtol=1e-5)
        expected = decoder(state, mean, strides, 2)
        torch.testing.assert_close(model.decode(posterior.mode()), expected, atol=1e-5, rtol=1e-5)


# ---- the published checkpoints --------------------------------------------------------------


def rows_44k() -> list[tuple[str, tuple[int, ...]]]:
    lines = [line.split("\t") for line in KEYS.read_text().splitlines() if not line.startswith("#")]
    return [(key, tuple(map(int, shape.split()))) for key, shape in lines]


def rows_48k() -> list[tuple[str, tuple[int, ...]]]:
    with torch.device("meta"):
        return [(k, tuple(v.shape)) for k, v in EarVAE.named("paper_48k").state_dict().items()]


def test_the_44_khz_checkpoint_converts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    state = published(rows_44k())
    path = saved(state, tmp_path)
    with caplog.at_level(logging.WARNING):
        convert.main([str(path), str(tmp_path / "model")])
    assert (
        "147,831,810 parameters, 44100 Hz, 64 latents at 43.07 Hz, a transformer" in capsys.readouterr().out
    )
    assert "0362dc7e" in caplog.text and "other weights" in caplog.text
    model = load(tmp_path / "model")
    found = model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_the_48_khz_checkpoint_is_told_apart() -> None:
    rows = rows_48k()
    assert len(rows) == 365
    state = published(rows)
    config = convert.configuration(state)
    assert (config["sample_rate"], config["strides"]) == (48000, (2, 2, 4, 6, 10))
    assert (config["transformer_depth"], config["latent_dim"], config["channels"]) == (0, 64, 128)
    with torch.device("meta"):
        model = EarVAE(**config)
    convert.check(state, model)
    assert sum(p.numel() for p in model.parameters()) == 168_408_706


def test_known_checksum_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(dense(), tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(convert, "PUBLISHED", {(2, 4, 5): (16000, "small.pyt", digest)})
    with caplog.at_level(logging.WARNING):
        assert convert.convert(path).sample_rate == 16000
    assert not caplog.records


# ---- what doesn't fit -----------------------------------------------------------------------

SOME = "encoder.layers.2.layers.1.layers.1.weight_v"


def refused(state: dict[str, Tensor], folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        convert.convert(saved(state, folder), sample_rate=16000)


@pytest.mark.parametrize("key", [SOME, "decoder.layers.0.weight_v", "encoder.layers.1.layers.4.weight_v"])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    state = dense()
    del state[key]
    refused(state, tmp_path, key)


def test_a_renamed_tensor_is_named_under_both_names(tmp_path: Path) -> None:
    state = dense()
    state["module." + SOME] = state.pop(SOME)
    refused(state, tmp_path, f"lacks '{SOME}' and has the unknown 'module.{SOME}'")


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    state = dense()
    state[SOME] = state[SOME][:, :2]
    refused(state, tmp_path, rf"'{SOME}' has shape 4×2×7, but the model needs 4×4×7")


def test_a_value_that_is_not_finite_is_named(tmp_path: Path) -> None:
    state = dense()
    state[SOME] = state[SOME] * torch.nan
    refused(state, tmp_path, f"'{SOME}' holds NaN")


def test_untied_snakes_are_named(tmp_path: Path) -> None:
    state, key = dense(), "decoder.layers.1.layers.3.layers.2.beta"
    state[key] = state[key] + 1
    refused(state, tmp_path, key)


def test_other_positions_are_refused(tmp_path: Path) -> None:
    state = dense()
    state["transformers.rotary_pos_emb.inv_freq"] = state["transformers.rotary_pos_emb.inv_freq"] * 2
    refused(state, tmp_path, "inv_freq")


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    refused(dense() | {"step": 3}, tmp_path, "'step' is a int")  # type: ignore[dict-item]
    refused({"state_dict": dense()}, tmp_path, "'state_dict' is a")  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (7, torch.ones(2), "the key 7, a int"),
        ("x", torch.eye(2).to_sparse(), "'x' is a sparse tensor"),
        ("x", torch.ones(2, device="meta"), "'x' is a meta tensor"),
        ("x", torch.ones(2).to(torch.float8_e4m3fn), "'x' is a torch.float8_e4m3fn"),
    ],
)
def test_a_tensor_of_another_kind_is_named(key: object, value: Tensor, told: str, tmp_path: Path) -> None:
    refused(dense() | {key: value}, tmp_path, told)  # type: ignore[dict-item]


@pytest.mark.parametrize(("dim", "count"), [(64, 48), (64, 6), (8, 3)])
def test_frequencies_that_fit_no_heads_are_named(dim: int, count: int, tmp_path: Path) -> None:
    key = "transformers.rotary_pos_emb.inv_freq"
    state = dense(latent_dim=dim, transformer_depth=1) | {key: torch.ones(count)}
    refused(state, tmp_path, f"'{key}' has {count} frequencies.* a latent of {dim}")


def test_norm_shifts_are_kept(tmp_path: Path) -> None:
    state = dense(transformer_depth=1)
    state["transformers.layers.0.ff_norm.beta"] = torch.ones(8)
    model = convert.convert(saved(state, tmp_path), sample_rate=16000)
    model.save_pretrained(tmp_path / "model")
    again, z = load(tmp_path / "model"), torch.randn(1, 8, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shifted = again.decode(z)
        assert torch.equal(shifted, model.decode(z))
        model.get_buffer("transformers.layers.0.ff_norm.beta").zero_()
        assert not torch.allclose(shifted, model.decode(z))


@pytest.mark.parametrize("rate", [0, -5])
def test_a_rate_that_is_none_is_refused(rate: int, tmp_path: Path) -> None:
    path = str(saved(dense(), tmp_path))
    with pytest.raises(ConfigError, match=f"sample_rate is .* got {rate}"):
        convert.main([path, str(tmp_path / "model"), "--sample_rate", str(rate)])
    assert not (tmp_path / "model").exists()


def test_a_small_latent_without_a_transformer_converts(tmp_path: Path) -> None:
    state = dense(latent_dim=6, transformer_depth=0)
    assert convert.convert(saved(state, tmp_path), sample_rate=16000).latent_dim == 6


def test_unknown_strides_need_a_rate(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--sample_rate"):
        convert.convert(saved(dense(), tmp_path))


def test_a_cut_file_and_no_file(tmp_path: Path) -> None:
    path = saved(dense(), tmp_path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        convert.convert(path)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        convert.convert(tmp_path / "gone.pyt")


def test_flipped_bytes_name_their_tensor(tmp_path: Path) -> None:
    state = dense()
    path = saved(state, tmp_path)
    data, needle = bytearray(path.read_bytes()), state[SOME].contiguous().numpy().tobytes()
    place = data.find(needle)
    assert place > 0
    data[place + 1] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=SOME):
        convert.convert(path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.pyt"
    torch.save({"encoder.layers.0.weight_v": Path("x")}, path)
    with pytest.raises(CheckpointError, match="can't be read"):
        convert.convert(path)


def doubled(state: dict[str, Tensor], key: str, dim: int) -> dict[str, Tensor]:
    return state | {key: torch.cat([state[key]] * 2, dim)}


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("encoder.layers.0.weight_v", (0, 2, 7)),
        ("encoder.layers.1.layers.4.weight_v", (4, 4, 0)),
        ("decoder.layers.0.weight_v", (12, 0, 7)),
        ("transformers.rotary_pos_emb.inv_freq", (0,)),
    ],
)
def test_an_empty_tensor_is_named(key: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    refused(dense(transformer_depth=1, heads=2) | {key: torch.zeros(shape)}, tmp_path, f"'{key}' is empty")


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_a_kernel_that_is_no_stride_twice_is_named(kernel: int, tmp_path: Path) -> None:
    key = "encoder.layers.2.layers.4.weight_v"
    refused(dense() | {key: torch.ones(8, 4, kernel)}, tmp_path, f"'{key}' has a kernel of {kernel}")


@pytest.mark.parametrize(
    ("key", "dim", "told"),
    [
        ("encoder.layers.0.weight_v", 0, "makes 8 channels, but its weight_g and bias are of 4"),
        ("encoder.layers.1.layers.4.weight_v", 0, "makes 8 channels, but its weight_g and bias are of 4"),
        ("encoder.layers.1.layers.4.weight_v", 1, "has shape 4×8×4, but the model needs 4×4×4"),
        ("encoder.layers.1.layers.4.weight_v", 2, "has a kernel of 8 and .* one of 4"),
        ("encoder.layers.5.weight_v", 0, "makes 32 channels, but its weight_g and bias are of 16"),
        ("decoder.layers.0.weight_v", 1, "takes 16 channels, but 'encoder.layers.5.weight_v' makes 16"),
        ("decoder.layers.0.weight_v", 0, "has shape 24×8×7, but the model needs 12×8×7"),
    ],
)
def test_a_doubled_tensor_is_named_and_no_intact_one(key: str, dim: int, told: str, tmp_path: Path) -> None:
    refused(doubled(dense(), key, dim), tmp_path, f"^'{key}' {told}")


def test_what_is_in_the_way_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = str(saved(dense(), tmp_path))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/mine.txt").write_text("mine")
    for name, told in (("file", "is a file"), ("papers", "other things"), ("file/model", "can't be written")):
        with pytest.raises(CheckpointError, match=told):
            convert.main([path, str(tmp_path / name), "--sample_rate", "16000"])
    assert (tmp_path / "file").read_text() == (tmp_path / "papers/mine.txt").read_text() == "mine"


def test_a_model_takes_the_place_of_an_older_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = str(saved(dense(), tmp_path)), tmp_path / "model"
    convert.main([path, str(folder), "--sample_rate", "16000"])
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(self: EarVAE, folder: str) -> None:
        (Path(folder) / "config.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EarVAE, "save_pretrained", full)
    with pytest.raises(CheckpointError, match="No space left"):
        convert.main([path, str(folder), "--sample_rate", "16000"])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("text", ["[]", "5", '{"_class_name": ["EarVAE"]}', "{", '"\\ud8"'])
def test_a_configuration_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path)
