"""Configurations, the EMA, and stopping and resuming."""

import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from accelerate import Accelerator

from common.config import parse
from common.ema import EMA
from common.errors import CheckpointError, ConfigError
from common.run import Run


@dataclass(frozen=True)
class Model:
    depth: int = 2
    kind: Literal["ear", "spectral"] = "ear"


@dataclass(frozen=True)
class Config:
    out: str
    lr: float = 1e-3
    model: Model = field(default_factory=Model)


def test_yaml_and_arguments_meet_in_the_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("out: runs\nlr: 3e-4\nmodel:\n  depth: 5\n")
    config = parse(Config, ["--config", str(file), "--model.kind", "spectral"])
    assert config == Config("runs", 3e-4, Model(5, "spectral"))


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--out", "x", "--lrr", "2"], "lrr"),
        (["--out", "x", "--lr", "abc"], "lr"),
        (["--out", "x", "--model.kind", "c"], "model.kind"),
        (["--lr", "1"], "out"),
        (["--config", "absent.yaml"], "absent.yaml"),
    ],
)
def test_a_wrong_setting_is_named(argv: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse(Config, argv)


def train(folder: Path, steps: int, width: int = 3) -> tuple[torch.Tensor, torch.Tensor, int]:
    """A linear model on noise that depends on the step alone; returns weights, averages, first step."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(width, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    ema = EMA(model, 0.9)
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, folder, Config(str(folder)), max_steps=steps)
    run.restore()
    first = run.step
    while not run.over():
        x = torch.randn(4, width, generator=torch.Generator().manual_seed(run.step))
        loss = model(x).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        run.advance()
        run.log({"loss/total": loss.item()})
    run.save()
    return model.weight.detach().clone(), ema.weights["weight"].clone(), first


def test_stopping_and_resuming_equals_not_stopping(tmp_path: Path) -> None:
    whole, whole_average, _ = train(tmp_path / "whole", 6)
    train(tmp_path / "parts", 2)
    parts, parts_average, first = train(tmp_path / "parts", 6)
    assert first == 2
    assert torch.equal(whole, parts)
    assert torch.equal(whole_average, parts_average)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_broken_save_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    train(tmp_path, 2)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    (tmp_path / "checkpoint").mkdir()  # begun, never finished
    assert train(tmp_path, 3)[2] == 2


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    train(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another folder"):
        train(tmp_path, 2, width=4)


def test_the_average_follows_its_formula_and_swaps_back() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    ema = EMA(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema.update(model)  # d = min(0.5, 1/10)
    ema.update(model)  # d = min(0.5, 2/11)
    expected = 1 - 0.1 * 2 / 11
    assert ema.weights["weight"].item() == pytest.approx(expected, abs=1e-6)
    with ema.swapped(model):
        assert model.weight.item() == pytest.approx(expected, abs=1e-6)
    assert model.weight.item() == 1.0


def test_a_worker_that_ends_with_the_process_doesnt_keep_the_run_from_saving(tmp_path: Path) -> None:
    def begun(steps: int) -> Run:
        return Run(Accelerator(cpu=True), tmp_path, Config(str(tmp_path)), max_steps=steps)

    run = begun(9)

    def step() -> None:
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("DataLoader worker is killed by signal: Terminated")

    assert run.loop(step, lambda: tmp_path, lambda _: None, log_every=5, save_minutes=60) == tmp_path
    again = begun(9)
    assert again.restore() and again.step == 2
    with pytest.raises(RuntimeError, match="something else"):
        again.loop(
            lambda: (_ for _ in ()).throw(RuntimeError("something else")),
            lambda: tmp_path,
            lambda _: None,
            log_every=5,
            save_minutes=60,
        )


def test_ctrl_c_saves_what_was_learned(tmp_path: Path) -> None:
    def begun() -> Run:
        return Run(Accelerator(cpu=True), tmp_path, Config(str(tmp_path)), max_steps=9)

    def press(times: int, at: int = 2) -> Run:
        run = begun()
        run.restore()

        def step() -> None:
            if run.step == at:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.01)

        run.loop(step, lambda: tmp_path, lambda _: None, log_every=5, save_minutes=60)
        return run

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert press(1).step == 3
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        again = begun()
        assert again.restore() and again.step == 3
        with pytest.raises(KeyboardInterrupt):  # who presses again doesn't want to wait
            press(2, at=4)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert begun().restore() and press(0).step == 9
    finally:
        signal.signal(signal.SIGINT, before)
