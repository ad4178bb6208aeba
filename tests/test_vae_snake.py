"""SnakeBeta in blocks: the formula, its gradient, and no trace of the blocks."""

import copy

import pytest
import torch

from vae import snake as module
from vae.model import EarVAE, SnakeBeta, folded_weights
from vae.snake import snake, snake_rows


def inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 7), (3,), (3,))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def formula(x: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    a, b = alpha.exp()[:, None], beta.exp()[:, None]
    return x + torch.sin(a * x) ** 2 / (b + 1e-9)


def test_it_is_the_formula_and_its_gradient() -> None:
    values = inputs()
    torch.testing.assert_close(snake(*values), formula(*values))
    assert torch.autograd.gradcheck(snake, values)


@pytest.mark.parametrize("block", [1, 20, 10**6])
def test_blocks_do_not_show(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    values, seed = inputs(torch.float32), torch.randn(2, 3, 7)
    found = torch.autograd.grad(snake(*values), values, seed)
    for ours, theirs in zip(found, torch.autograd.grad(formula(*values), values, seed)):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_precision_is_that_of_the_formula() -> None:
    x, alpha, beta = inputs(torch.float32)
    half = x.detach().bfloat16().requires_grad_()
    out = snake(half, alpha, beta)  # as under autocast: half-precision sound, single-precision weights
    assert out.dtype == formula(half, alpha, beta).dtype == torch.float32
    out.sum().backward()
    assert half.grad is not None and half.grad.dtype == torch.bfloat16
    assert snake(*(v.bfloat16() for v in (x, alpha, beta))).dtype == torch.bfloat16


def test_folded_weights_change_nothing_and_are_let_go() -> None:
    torch.manual_seed(0)
    model, wav = EarVAE.named("tiny").eval(), torch.randn(1, 2, 900)
    with torch.no_grad():
        plain = model.encode(wav).mode()
        with folded_weights(model):
            assert torch.equal(model.encode(wav).mode(), plain)
            model.encoder.layers[0].weight_g.mul_(2)
            assert torch.equal(model.encode(wav).mode(), plain)  # the weights of when the block began
        assert not torch.equal(model.encode(wav).mode(), plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 20, 10**6])
def test_channels_beside_each_other_give_the_same(
    dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    x, alpha, beta = (v.detach() for v in inputs(dtype))
    rows = x[:, :, None].contiguous(memory_format=torch.channels_last)
    expected = snake(x, alpha, beta)
    torch.testing.assert_close(snake_rows(rows, alpha, beta)[:, :, 0], expected)
    assert torch.equal(rows[:, :, 0], x), "x is kept"
    torch.testing.assert_close(snake_rows(rows, alpha, beta, keep=False)[:, :, 0], expected)
    assert torch.equal(rows[:, :, 0], snake_rows(x[:, :, None], alpha, beta)[:, :, 0]), "and now it isn't"


@pytest.mark.parametrize("strides", [(2, 4, 4), (3, 5, 2)])
@pytest.mark.parametrize("length", [1, 90, 1001])
def test_a_codec_without_gradients_takes_the_fast_road_and_comes_to_the_same(
    strides: tuple[int, ...], length: int
) -> None:
    torch.manual_seed(0)
    model, wav = EarVAE.named("tiny", strides=strides).eval().double(), torch.randn(2, 2, length).double()
    for layer in (m for m in model.modules() if isinstance(m, SnakeBeta)):
        torch.nn.init.normal_(layer.alpha, std=0.3)
        torch.nn.init.normal_(layer.beta, std=0.3)
    slow = model.encode(wav)
    copy = model.decode(slow.mean, length)
    assert copy.requires_grad
    with torch.inference_mode():
        fast = model.encode(wav)
        torch.testing.assert_close(fast.mean, slow.mean.detach(), atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(model.decode(fast.mean, length), copy.detach(), atol=1e-9, rtol=1e-9)


# ---- compiled --------------------------------------------------------------------------------


# Torch's compiler itself uses what torch warns of.
ignores_warnings = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["aot_eager", "inductor"])
def compiled(request: pytest.FixtureRequest) -> module.Fused:
    """The second needs a C++ compiler, as the README says of this project."""
    made = module.fused(request.param)
    assert made is not None
    return made


@ignores_warnings
def test_compiled_it_is_the_formula_and_its_gradient(compiled: module.Fused) -> None:
    values, seed = inputs(torch.float32), torch.randn(2, 3, 7)
    torch.testing.assert_close(compiled(*values), formula(*values))
    found = torch.autograd.grad(compiled(*values), values, seed)
    for ours, theirs in zip(found, torch.autograd.grad(formula(*values), values, seed)):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@ignores_warnings
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_rows_give_the_same(compiled: module.Fused, dtype: torch.dtype) -> None:
    x, alpha, beta = (v.detach() for v in inputs(dtype))
    rows = x[:, :, None].contiguous(memory_format=torch.channels_last)
    expected = snake(x.float(), alpha.float(), beta.float()).to(dtype)
    with torch.inference_mode():
        torch.testing.assert_close(compiled.rows(rows, alpha, beta)[:, :, 0], expected)
        assert torch.equal(rows[:, :, 0], x), "x is kept"
        torch.testing.assert_close(compiled.rows(rows, alpha, beta, keep=False)[:, :, 0], expected)
        torch.testing.assert_close(rows[:, :, 0], expected)  # and now it isn't


@ignores_warnings
def test_a_compiled_codec_comes_to_the_same_and_trains_on(compiled: module.Fused) -> None:
    torch.manual_seed(0)
    model, wav = EarVAE.named("tiny"), torch.randn(1, 2, 900)
    for layer in (m for m in model.modules() if isinstance(m, SnakeBeta)):
        torch.nn.init.normal_(layer.alpha, std=0.3)

    def results() -> list[torch.Tensor]:
        model.zero_grad()
        copy = model.decode(model.encode(wav).mode())
        copy.square().sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        with torch.inference_mode():
            return [copy.detach(), model.decode(model.encode(wav).mode()), *grads]

    plain = results()
    for layer in (m for m in model.modules() if isinstance(m, SnakeBeta)):
        layer.fused = compiled
    for ours, theirs in zip(results(), plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert set(copy.deepcopy(model).state_dict()) == set(EarVAE.named("tiny").state_dict())


@ignores_warnings
def test_where_nothing_can_be_compiled_the_plain_layers_go_on(caplog: pytest.LogCaptureFixture) -> None:
    model, wav = EarVAE.named("tiny").eval(), torch.randn(1, 2, 300)
    with torch.inference_mode():
        expected = model.encode(wav).mode()
        assert not model.fuse(backend="there_is_no_such_backend")
        assert "plain layers are used" in caplog.text
        assert torch.equal(model.encode(wav).mode(), expected)
        assert model.fuse(backend="aot_eager")
        torch.testing.assert_close(model.encode(wav).mode(), expected)
