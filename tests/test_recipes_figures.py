"""The tables of figures: kept, shown again, with the command that makes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.audio import Audio
from common.description import Audience
from common.statistics import Estimate
from corpus.record import SongRecord
from eval.probes import Verdict
from recipes import figures
from recipes.figures import Row, Settings, measure
from recipes.song_figures import Asked, Sung, judge


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


class _Ears:
    """Probes that hear the same in every song."""

    answers = {"genre": ["流行", "摇滚"], "singer": ["female", "male"], "mood": ["伤感", "欢快"]}  # noqa: RUF012

    def judge(self, audio: Audio) -> Verdict:
        return Verdict("流行", "female", "slow", 70.0, {}, mood="伤感")


def test_a_mood_is_judged_in_the_songs_that_ask_for_one() -> None:
    def sung(number: int, text: str) -> Sung:
        record = SongRecord(f"song-{number}", "synthetic", "CC0-1.0", "test", 8.0)
        asked = Asked(record, text, Audience.AMATEUR, "流行", "female", 70.0)
        return Sung(asked, Audio(np.zeros((1, 8), np.float32), 22050), None)

    songs = [
        sung(1, "伤感的流行，女声，慢歌"),
        sung(2, "流行，女声，慢歌"),
        sung(3, "欢快的流行，女声，慢歌"),
    ]
    table = judge(songs, _Ears())  # type: ignore[arg-type]
    assert table["genre"].count == 3 and table["genre"].value == 1
    assert table["mood"].count == 2 and table["mood"].value == 0.5 and table["mood"].chance == 0.5
