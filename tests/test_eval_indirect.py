"""Plans of descriptions that go around the word."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_eval_zero_shot import files  # noqa: F401

from common.errors import ConfigError, RequestError
from corpus.record import SongRecord
from eval.indirect import BUNDLED, KINDS, PARTS, Indirect, found, main, nearest, planned, read, shares


def sketch(**fields):
    rest = {"theme": "离别", "mood": "伤感", "genre": "民谣", "singer": "female", "tempo": 70.0}
    return SimpleNamespace(**(rest | fields))


def test_the_bundled_requests_are_three_equal_parts_without_a_double() -> None:
    parts = read(BUNDLED)
    assert tuple(parts) == PARTS and [len(rows) for rows in parts.values()] == [120, 120, 120]
    said = [request.said for rows in parts.values() for request in rows]
    assert len(set(said)) == 360
    for rows in parts.values():
        counts = {kind: sum(kind in request.accepted for request in rows) for kind in KINDS}
        assert min(counts.values()) >= 20


def test_shares_count_the_requests_that_hint_at_a_kind(tmp_path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "known:\n- {said: 站台, theme: 离别 思乡, pace: slow}\n"
        "- {said: 海浪, theme: 海边}\n- {said: 啊, mood: 伤感}\n"
    )
    (rows,) = read(path).values()
    found = shares(rows, [sketch(), sketch(), sketch()])
    assert found["theme"].value == 0.5 and found["theme"].count == 2
    assert found["theme"].chance == pytest.approx(1.5 / 37)
    assert found["pace"].value == 1.0 and found["mood"].count == 1
    assert "singer" not in found
    with pytest.raises(RequestError, match="plans"):
        shares(rows, [sketch()])
    assert planned(sketch(tempo=130.0))["pace"] == "fast"


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("known:\n- {theme: 离别}\n", "said"),
        ("known:\n- {said: 站台, theme: 火星}\n", "theme"),
        ("known:\n- {said: 站台, colour: red}\n", "colour"),
        ("mine:\n- {said: 站台}\n", "lists under"),
        ("known:\n", "lists under"),
        ("known: 5\n", "lists under"),
        ("[", "can't be read"),
    ],
)
def test_a_file_that_says_nothing_is_refused_with_its_place(tmp_path, text, wrong) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=wrong):
        read(path)


def test_the_command_reports_each_part(tmp_path, capsys) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "known:\n- {said: 站台上不敢回头, theme: 离别}\nkept:\n- {said: 慢吞吞的蜗牛, pace: slow}\n"
    )
    assert main(["--out", str(tmp_path / "out"), "--requests", str(path)]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["theme, known"]["value"] == 1.0 and report["pace, kept"]["count"] == 1
    assert len((tmp_path / "out/plans.jsonl").read_text().splitlines()) == 2
    assert "known" in capsys.readouterr().out


def song(name: str, **labels) -> SongRecord:
    return SongRecord(name, "test", "CC0-1.0", "test", 12.0, **labels)


def test_songs_that_are_found_are_counted_among_the_nearest() -> None:
    requests = [
        Indirect("站台", {"theme": ("离别",)}),
        Indirect("蜗牛", {"pace": ("slow",), "theme": ("日常",)}),
    ]
    records = [
        song("a", theme="离别", tempo=60.0),
        song("b", theme="离别", tempo=120.0),
        song("c", theme="日常", tempo=60.0),
        song("d"),
    ]
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    songs = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    rows = found(requests, nearest(texts, songs, 2), records)
    assert rows["theme"].value == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert rows["theme"].chance == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert rows["pace"].value == 0.5 and rows["pace"].count == 1, "of c and b only c is slow"
    assert set(rows) == {"theme", "pace"}
    assert found(requests, nearest(texts, songs, 9), records)["theme"].value == pytest.approx(0.375)


def test_an_encoder_and_its_songs_come_together(tmp_path, capsys) -> None:
    assert main(["--out", str(tmp_path), "--encoder", "x"]) == 2
    assert "name both, or neither" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--vectors", "x"]) == 2
    assert "name it, too" in capsys.readouterr().err
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert main(["--out", str(tmp_path), "--encoder", "x", "--manifest", str(empty)]) == 2
    assert "holds no songs" in capsys.readouterr().err


def test_an_encoder_seeks_songs(files, tmp_path: Path, capsys) -> None:  # noqa: F811
    requests = tmp_path / "r.yaml"
    requests.write_text("known: []\nkept:\n- {said: 慢吞吞的蜗牛, pace: slow, singer: female}\n")
    arguments = ["--out", str(tmp_path / "out"), "--requests", str(requests), "--nearest", "4"]
    assert main([*arguments, "--encoder", str(files[0]), "--manifest", str(files[1])]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(report) == {"pace, kept", "singer, kept"}
    assert report["pace, kept"]["value"] == 0.25, "one of four songs is slow, and all are found"
    assert report["singer, kept"]["value"] == report["singer, kept"]["chance"] == 0.5
    (line,) = (tmp_path / "out/songs.jsonl").read_text().splitlines()
    assert len(set(json.loads(line)["songs"])) == 4 and "pace" in capsys.readouterr().out
