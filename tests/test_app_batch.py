"""Batches: prompts are checked line by line, songs that are there aren't made again."""

import json
from pathlib import Path

import pytest
from app_models import PROMPT, tiny_folder

from app import batch
from app.batch import read_prompts
from common.errors import ManifestError
from common.song import recipe_of

QUICK = {"duration": 5, "num_inference_steps": 1, "guidance_scale": 1, "score_guidance_scale": 1}


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_prompts_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("# mine\n一首慢歌\n\n一首快歌\n", encoding="utf-8")
    found = [(p.id, p.request.description) for p in read_prompts(path)]
    assert found == [("0002", "一首慢歌"), ("0004", "一首快歌")]


def test_prompts_of_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    row = {
        "id": "a",
        "description": "一首慢歌",
        "lyrics": "<verse>\n我想家",
        "duration": 12,
        "instrumental": None,
        "rhyme": None,
        "english": "a slow song",  # for eval.prompts
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (prompt,) = read_prompts(path)
    assert (prompt.id, prompt.request.seconds) == ("a", 12) and prompt.request.lyrics is not None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: isn't JSON"),
        ("[]", "line 2: isn't a JSON object"),
        ('{"description": ""}', "line 2: the description is empty"),
        ("{}", "line 2: the description is empty"),
        ('{"description": "歌", "duratoin": 5}', "line 2: unknown field 'duratoin'"),
        ('{"description": "歌", "duration": 1}', "line 2: the duration"),
        ('{"description": "歌", "id": "../x"}', "line 2: an id is made of"),
        ('{"description": "歌", "id": "one"}', "line 2: the id 'one' is used twice"),
        ('{"description": "歌", "lyrics": 5}', "line 2: lyrics are text, but got int"),
        ('{"description": "歌", "rhyme": ["江阳"]}', "line 2: a rhyme is text"),
        ('{"description": "歌", "lyrics": "<x>"}', "line 2: .*unknown section"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "one", "description": "歌"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=told):
        read_prompts(path)


def test_files_without_prompts(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("# nothing\n", encoding="utf-8")
    for name in ("p.txt", "missing.txt", "p.csv"):
        with pytest.raises(ManifestError, match=r"holds no prompts|are read from"):
            read_prompts(tmp_path / name)


def test_it_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "out"
    lyrics = "<verse>\n细雨敲着窗\n想起了家"
    prompts.write_text(
        json.dumps({"id": "a", "description": PROMPT, "lyrics": lyrics, **QUICK}) + "\n", "utf-8"
    )
    argv = [str(prompts), str(out), "--seeds", "2", "--model", str(tiny_folder())]
    assert batch.main(argv) == 0
    songs = sorted(out.glob("*.flac"))
    assert [s.name for s in songs] == ["a-s1.flac", "a-s2.flac"]
    assert [recipe_of(s)["request"]["seed"] for s in songs] == [1, 2]
    assert [row["file"] for row in rows(out / "songs.jsonl")] == ["a-s1.flac", "a-s2.flac"]

    first, before = songs[0].read_bytes(), songs[1].stat().st_mtime_ns
    songs[0].unlink()
    assert batch.main(argv) == 0
    assert songs[0].read_bytes() == first  # the same song again, to the byte
    assert songs[1].stat().st_mtime_ns == before  # not made again
    assert "2 songs, 1 already there" in capsys.readouterr().err

    prompts.write_text(
        json.dumps({"id": "a", "description": "另一首", "lyrics": lyrics, **QUICK}) + "\n", "utf-8"
    )
    assert batch.main(argv) == 2
    assert "was made from another request" in capsys.readouterr().err


def test_it_says_how_long_its_songs_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "p.jsonl"
    row = {"id": "a", "description": "6秒的歌", "instrumental": True, **QUICK}
    del row["duration"]
    prompts.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert batch.main([str(prompts), str(tmp_path / "out"), "--model", str(tiny_folder())]) == 0
    err = capsys.readouterr().err
    assert "1 songs, 0 already there; 6 s of song to make" in err and "1/1 a-s1.flac of 6 s in " in err


def test_failures_are_named_and_dont_stop_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "out"
    crowded = "<verse>\n" + "\n".join(["细雨敲着窗"] * 6)  # fits the first check, not a singer
    lines = [{"id": "bad", "lyrics": crowded}, {"id": "good", "lyrics": "<verse>\n想起了家"}]
    prompts.write_text(
        "".join(json.dumps({"description": PROMPT, **QUICK, **x}) + "\n" for x in lines), "utf-8"
    )
    assert batch.main([str(prompts), str(out), "--model", str(tiny_folder())]) == 1
    assert [row["file"] for row in rows(out / "failures.jsonl")] == ["bad-s1.flac"]
    assert [row["file"] for row in rows(out / "songs.jsonl")] == ["good-s1.flac"]
    assert "failed: bad-s1.flac: " in capsys.readouterr().err
