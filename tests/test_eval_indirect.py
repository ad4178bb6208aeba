"""Plans of descriptions that go around the word."""

import json
from types import SimpleNamespace

import pytest

from common.errors import ConfigError, RequestError
from eval.indirect import BUNDLED, HALVES, KINDS, main, planned, read, shares


def sketch(**fields):
    rest = {"theme": "离别", "mood": "伤感", "genre": "民谣", "singer": "female", "tempo": 70.0}
    return SimpleNamespace(**(rest | fields))


def test_the_bundled_requests_are_two_equal_halves_without_a_double() -> None:
    halves = read(BUNDLED)
    assert tuple(halves) == HALVES and [len(rows) for rows in halves.values()] == [120, 120]
    said = [request.said for rows in halves.values() for request in rows]
    assert len(set(said)) == 240
    for rows in halves.values():
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


def test_the_command_reports_both_halves(tmp_path, capsys) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "known:\n- {said: 站台上不敢回头, theme: 离别}\nkept:\n- {said: 慢吞吞的蜗牛, pace: slow}\n"
    )
    assert main(["--out", str(tmp_path / "out"), "--requests", str(path)]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["theme, known"]["value"] == 1.0 and report["pace, kept"]["count"] == 1
    assert len((tmp_path / "out/plans.jsonl").read_text().splitlines()) == 2
    assert "known" in capsys.readouterr().out
