"""The tables of figures: kept, shown again, with the command that makes them."""

import json
from pathlib import Path

import pytest

from common.statistics import Estimate
from recipes import figures
from recipes.figures import Row, Settings, measure


def test_a_part_is_measured_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"vae": 0.25, "lyrics": 0.75}
    for part, value in rows.items():
        made = [Row("rhyme", Estimate(value, 0.1, 0.9, 7, chance=0.5))]
        monkeypatch.setitem(figures.PARTS, part, lambda settings, made=made: made)
    measure(Settings(work=str(tmp_path), parts=("vae",)))
    text = measure(Settings(work=str(tmp_path), parts=("lyrics",), lyrics=50))
    assert "| rhyme | 0.250 | 0.100 … 0.900 | 7 | 0.5 |" in text
    assert "| rhyme | 0.750 |" in text
    assert "`python -m recipes.figures --parts '[lyrics]'" in text and "--lyrics 50`" in text
    assert json.loads((tmp_path / "figures/vae.json").read_text())["rows"][0]["value"]["count"] == 7


def test_figures_of_one_song_are_kept_in_plain_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [Row("mel", Estimate(0.5, float("nan"), float("nan"), 1))]
    monkeypatch.setitem(figures.PARTS, "vae", lambda settings: alone)
    assert "| mel | 0.500 |" in measure(Settings(work=str(tmp_path), parts=("vae",)))
    assert "NaN" not in (tmp_path / "figures/vae.json").read_text()


def test_missing_songs_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(["--work", str(tmp_path), "--parts", "[songs]"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
