"""Learning rates and weight decay of all trainings, against their closed forms."""

import pytest
from torch import nn

from common.errors import ConfigError
from common.training import decay_groups, train_only, warm_cosine


def test_the_rate_rises_and_falls_along_its_cosine() -> None:
    assert [warm_cosine(step, 0.0, 4, 0.1) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    found = [warm_cosine(100, progress, 4, 0.1) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([1.0, 0.55, 0.1])
    assert warm_cosine(0, 0.0, 0, 0.0) == 1.0  # no warm-up


def test_matrices_decay_and_vectors_dont() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    decayed, rest = decay_groups(model, 0.1)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in rest["params"]] == [(2,), (2,), (2,)]


def test_the_parts_that_arent_named_stay_as_they_are() -> None:
    model = nn.ModuleDict({"ear": nn.Linear(2, 2), "voice": nn.Linear(2, 2)})
    train_only(model, ["voice"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"voice.weight", "voice.bias"}
    train_only(model, [])
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ConfigError, match="no part 'mouth' to train: use some of ear, voice"):
        train_only(model, ["voice", "mouth"])
