"""Learning rates and weight decay of all trainings, against their closed forms."""

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

import chinmu.train
import dit.config
import lyrics_llm.config
import vae.config
from common.config import parse
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


OUT = ["--out", "o", "--max_steps", "0"]
ROOMS: dict[str, tuple[Any, dict[str, str]]] = {
    "vae": (
        parse(vae.config.TrainConfig, ["--manifest", "m", *OUT]),
        {"ema": "ema", "log": "log_every", "warmup": "warmup"},
    ),
    "dit": (
        parse(dit.config.TrainConfig, ["--data", "d", *OUT]),
        {"ema": "ema", "log": "log_every", "warmup": "warmup"},
    ),
    "chinmu": (
        parse(chinmu.train.TrainConfig, ["--manifest", "m", *OUT]),
        {"ema": "ema_decay", "log": "log_steps", "warmup": "warmup_steps"},
    ),
    "lyrics": (
        parse(lyrics_llm.config.TrainConfig, OUT),
        {"ema": "ema_decay", "log": "log_steps", "warmup": "warmup_steps"},
    ),
}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("lr", -1.0, "at least 0"),
        ("lr", float("nan"), "at least 0"),
        ("weight_decay", -0.1, "at least 0"),
        ("clip", -1.0, "at least 0"),
        ("warmup", -1, "at least 0"),
        ("max_steps", -5, "at least 0"),
        ("max_minutes", -1.0, "at least 0"),
        ("save_minutes", -1.0, "at least 0"),
        ("log", 0, "at least 1"),
        ("ema", 2.0, "at least 0 and below 1"),
        ("ema", -0.1, "at least 0 and below 1"),
    ],
)
def test_every_room_refuses_what_no_training_can_run_with(
    room: str, setting: str, value: float, told: str
) -> None:
    config, names = ROOMS[room]
    name = names.get(setting, setting)
    with pytest.raises(ConfigError, match=f"^{name} is {told}, but got {value}$"):
        replace(config, **{name: value})
