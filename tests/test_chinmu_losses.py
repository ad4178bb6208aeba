"""The contrastive loss against a plain reference, and across processes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chinmu.losses import agreement, contrastive, gather, spread, targets


def unit(n: int, dim: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def reference(text: np.ndarray, audio: np.ndarray, scale: float, holds: np.ndarray, share: float) -> float:
    """The loss written out with loops."""
    n, total = len(text), 0.0
    logits = scale * text @ audio.T
    for direction, relation in ((logits, holds), (logits.T, holds.T)):
        for i in range(n):
            weights = [1.0 if i == j else share * relation[i, j] for j in range(n)]
            log_sum = np.log(np.exp(direction[i]).sum())
            pairs = zip(weights, direction[i])
            total -= sum(w * (value - log_sum) for w, value in pairs) / sum(weights) / n / 2
    return total


@given(st.integers(2, 9), st.floats(0.5, 20), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_loss_equals_the_reference(n: int, scale: float, share: float, seed: int):
    text, audio = unit(n, 16, seed), unit(n, 16, seed + 1)
    holds = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) < 0.3
    expected = reference(text.numpy(), audio.numpy(), scale, holds.numpy(), share)
    exact = torch.tensor(scale, dtype=torch.float64)
    assert float(contrastive(text, audio, exact, holds, share)) == pytest.approx(expected, rel=1e-6)
    assert float(contrastive(text.float(), audio.float(), exact, holds, share)) == pytest.approx(
        expected, rel=1e-4
    )


@given(st.integers(2, 9), st.floats(0.5, 20), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_masked_songs_are_not_in_the_softmax(n: int, scale: float, seed: int):
    text, audio = unit(n, 16, seed), unit(n, 16, seed + 1)
    holds = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) < 0.4
    total = 0.0
    for logits, relation in (((scale * text @ audio.T), holds), ((scale * text @ audio.T).T, holds.T)):
        for i in range(n):
            kept = [j for j in range(n) if j == i or not relation[i, j]]
            total -= float(logits[i, i] - logits[i, kept].exp().sum().log()) / n / 2
    found = contrastive(text, audio, torch.tensor(scale, dtype=torch.float64), holds, masked=True)
    assert float(found) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_of_duplicates_does_not_explode(masked: bool):
    """One song and one text sixteen times, at the largest scale: finite, bounded, nothing to part."""
    text = unit(1, 8, 0).float().repeat(16, 1).requires_grad_()
    audio = unit(1, 8, 1).float().repeat(16, 1).requires_grad_()
    scale = torch.tensor(100.0, requires_grad=True)
    holds = torch.ones(16, 16, dtype=torch.bool)
    loss = contrastive(text, audio, scale, holds, masked=masked)
    (loss + spread(text) + spread(audio)).backward()
    assert float(loss.detach()) == pytest.approx(0.0 if masked else np.log(16), abs=1e-5)
    assert all(torch.isfinite(x.grad).all() and x.grad.abs().max() < 1e-3 for x in (text, audio, scale))


def test_without_shared_descriptions_it_is_the_loss_of_clip():
    text, audio = unit(6, 8, 0).float(), unit(6, 8, 1).float()
    labels = torch.arange(6)
    logits = 10 * text @ audio.T
    cross = torch.nn.functional.cross_entropy
    expected = (cross(logits, labels) + cross(logits.T, labels)) / 2
    torch.testing.assert_close(contrastive(text, audio, torch.tensor(10.0)), expected)
    torch.testing.assert_close(
        contrastive(text, audio, torch.tensor(10.0), torch.ones(6, 6) > 0, 0.0), expected
    )


def test_blind_vectors_cost_the_logarithm_of_the_batch():
    same = torch.ones(32, 4) / 2
    assert float(contrastive(same, same, torch.tensor(14.0))) == pytest.approx(np.log(32), rel=1e-5)


def test_targets_share_their_mass():
    holds = torch.tensor([[True, True, False], [False, True, False], [True, False, False]])
    expected = torch.tensor([[2 / 3, 1 / 3, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])
    torch.testing.assert_close(targets(holds, 0.5), expected)


def test_agreement_accepts_any_song_that_the_text_holds_for():
    text = torch.eye(3)
    audio = text[[1, 0, 2]]
    assert float(agreement(text, audio)) == pytest.approx(1 / 3)
    holds = torch.zeros(3, 3, dtype=torch.bool)
    holds[0, 1] = True
    assert float(agreement(text, audio, holds)) == pytest.approx(2 / 3)


def _one_process() -> None:
    """Gradients of a shared weight on two processes equal those of the whole batch on one."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    x, y = unit(8, 6, 0).float(), unit(8, 6, 1).float()
    weight = (0.3 * unit(6, 6, 2).float()).requires_grad_()

    def loss(inputs: torch.Tensor, collect) -> torch.Tensor:
        text = torch.nn.functional.normalize(inputs @ weight, dim=1)
        return contrastive(collect(text), collect(y[: len(x)][rows(inputs)]), torch.tensor(5.0))

    def rows(inputs: torch.Tensor) -> slice:
        return slice(4 * rank, 4 * rank + 4) if len(inputs) == 4 else slice(0, 8)

    loss(x, lambda v: v).backward()
    whole, weight.grad = weight.grad.clone(), None
    loss(x[rows(torch.empty(4))], gather).backward()
    torch.distributed.all_reduce(weight.grad)
    torch.testing.assert_close(weight.grad / world, whole)
    ids = gather(torch.tensor([rank]))
    assert ids.tolist() == list(range(world))


def test_gradients_cross_processes():
    from accelerate import debug_launcher

    debug_launcher(_one_process, num_processes=2)
