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


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--seconds", "0", "a positive number of seconds is needed, but got 0"),
        ("--seconds", "-1", "a positive number of seconds is needed, but got -1"),
        ("--seconds", "nan", "a positive number of seconds is needed, but got nan"),
        ("--seconds", "inf", "a positive number of seconds is needed, but got inf"),
        ("--seconds", "ten", "a positive number of seconds is needed, but got ten"),
        ("--channels", "1", "at least 2 channels are needed, but got 1"),
    ],
)
def test_sizes_that_are_none_are_refused(
    option: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark.sys, "argv", ["vae", option, value])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert capsys.readouterr().err.endswith(f"error: argument {option}: {told}\n")


@pytest.mark.parametrize("channels", [2, 3])
def test_the_least_channels_are_measured(channels: int) -> None:
    assert benchmark.measure("ours", 1 / benchmark.RATE, channels, "float32", "cpu", compiled=False)


def test_a_failed_measurement_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.sys, "executable", "false")
    args = argparse.Namespace(channels=4, clock="cpu", compile=False)
    with pytest.raises(SystemExit, match="ours failed: status 1"):
        benchmark.child(args, "float32", "ours", 0.1)


def test_one_run_has_rows_of_each_precision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(args: argparse.Namespace, dtype: str, name: str, seconds: float) -> dict[str, float]:
        slow = (2.0 if name == "oobleck" else 1.0) * (2 if dtype == "float32" else 1)
        return {"encode": slow, "decode": 3 * slow, "memory": 100 * slow}

    monkeypatch.setattr(benchmark, "child", measured)
    monkeypatch.setattr(benchmark, "matrix_rate", lambda dtype, clock: 100.0)
    monkeypatch.setattr(benchmark.sys, "argv", ["vae", "--channels", "4", "--seconds", "10"])
    benchmark.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| f", "| b"))]
    assert [row.split(" | ")[0] for row in rows] == ["| float32"] * 3 + ["| bfloat16"] * 3
    assert (
        "| encode | 4.00 s | 2.00 s | 2.00 | 5.00 |" in rows[0] and "| 200 MiB | 100 MiB | 2.00 |" in rows[5]
    )
