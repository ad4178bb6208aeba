"""The benchmark's own figures: arithmetic of the published model, and a measurement of both models."""

import argparse

import pytest

from benchmarks import vae as benchmark


def test_arithmetic_is_that_of_the_published_model() -> None:
    encode, decode = benchmark.arithmetic(128)
    assert encode == pytest.approx(118.7, abs=0.3)
    assert decode == pytest.approx(118.7, abs=0.6)
    assert benchmark.arithmetic(64)[0] == pytest.approx(encode / 4, rel=0.01)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # diffusers still has the old one
@pytest.mark.parametrize("name", ["ours", "oobleck"])
def test_both_models_are_measured(name: str) -> None:
    found = benchmark.measure(name, 0.1, 4, "float32", "cpu", compiled=False)
    assert found.keys() == {"encode", "decode", "memory"}
    assert all(value > 0 for value in found.values())


def test_a_failed_measurement_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.sys, "executable", "false")
    args = argparse.Namespace(channels=4, dtype="float32", clock="cpu", compile=False)
    with pytest.raises(SystemExit, match="ours failed: status 1"):
        benchmark.child(args, "ours", 0.1)
