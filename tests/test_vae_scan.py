"""Folders of real sound: what the two-stage filter keeps, and lists that training reads."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import ManifestError
from common.seeds import generator
from vae import scan
from vae.data import song_files


def noise(gain: float, seconds: float = 1.0, rate: int = 44100, channels: int = 2) -> np.ndarray:
    return gain * generator(1, "noise").standard_normal((int(seconds * rate), channels)).clip(-4, 4)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """One file for every verdict."""
    folder = tmp_path / "music"
    (folder / "deep").mkdir(parents=True)
    soundfile.write(folder / "good.flac", noise(0.1), 44100)
    soundfile.write(folder / "deep/good.mp3", noise(0.1, rate=48000), 48000)
    soundfile.write(folder / "good.ogg", noise(0.1, rate=48000), 48000, subtype="OPUS")
    soundfile.write(folder / "mono.wav", noise(0.1, channels=1), 44100)
    soundfile.write(folder / "quiet.wav", noise(0.001), 44100)
    soundfile.write(folder / "slow.wav", noise(0.1, rate=22050), 22050)
    hot = noise(0.1)
    hot[1000] = 1.4
    soundfile.write(folder / "hot.wav", hot, 44100, subtype="FLOAT")
    soundfile.write(folder / "six.wav", noise(0.1, channels=6), 44100)
    soundfile.write(folder / "empty.wav", np.zeros((0, 2)), 44100)
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(40))
    (folder / "notes.txt").write_text("not sound")
    return folder


def verdicts(rows: list[scan.Judged]) -> dict[str, str]:
    return {Path(r.path).name: "" if r.kept else r.reason.split(" ")[0].rstrip(":") for r in rows}


GOOD = {"good.flac": "", "good.mp3": "", "good.ogg": "", "mono.wav": ""}
WRONG = {"six.wav": "6", "empty.wav": "no", "broken.flac": "unreadable"}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (0, GOOD | WRONG | {"quiet.wav": "", "slow.wav": "", "hot.wav": ""}),
        (1, GOOD | WRONG | {"quiet.wav": "loudness", "slow.wav": "sample", "hot.wav": ""}),
        (2, GOOD | WRONG | {"quiet.wav": "loudness", "slow.wav": "sample", "hot.wav": "true"}),
    ],
)
def test_each_file_has_its_verdict(music: Path, stage: int, expected: dict[str, str]) -> None:
    assert verdicts(scan.scan(music, stage)) == expected


def test_what_is_turned_away_is_told_in_words(music: Path, caplog: pytest.LogCaptureFixture) -> None:
    (music / "torn.flac").write_bytes(b"fLaC" + bytes(40))
    with caplog.at_level(logging.INFO):
        scan.scan(music, 2)
    (told,) = [line for line in caplog.messages if line.startswith("turned away: ")]
    assert told.startswith("turned away: 2 unreadable, ")
    assert set(told.removeprefix("turned away: ").split(", ")[1:]) == {
        "1 without samples",
        "1 neither mono nor stereo",
        "1 with too low a sample rate",
        "1 too loud or too quiet",
        "1 with too high a peak",
    }


def test_a_list_is_written_resumed_and_trained_on(
    music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lists/music.jsonl"
    with caplog.at_level(logging.INFO):
        scan.main([str(music), str(out), "--stage", "2"])
    assert "broken.flac: unreadable" in caplog.text and "4 of 10 files kept" in caplog.text
    files = song_files(out, "train")
    assert sorted(f.path.resolve().name for f in files) == ["good.flac", "good.mp3", "good.ogg", "mono.wav"]
    assert all(f.path.is_file() and 0.9 < f.duration < 1.2 for f in files)
    # Interrupted in the middle of a line, it judges that file and new ones only.
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:-1]) + lines[-1][:20])
    soundfile.write(music / "new.wav", noise(0.1), 44100)
    judged = []
    monkeypatch.setattr(
        scan, "judge_file", lambda p, *a, f=scan.judge_file: judged.append(p.name) or f(p, *a)
    )
    scan.main([str(music), str(out), "--stage", "2"])
    assert sorted(judged) == sorted({Path(json.loads(lines[-1])["path"]).name, "new.wav"})
    assert len(scan.read_list(out)) == 11


def test_a_folder_is_scanned_for_a_training(music: Path) -> None:
    assert len(song_files(music, "train", 0)) == 7
    assert len(song_files(music, "train", 2)) == 4


def test_processes_give_the_same_verdicts(music: Path, tmp_path: Path) -> None:
    alone, together = scan.scan(music, 0), scan.scan(music, 0, tmp_path / "l.jsonl", workers=2)
    assert [r.kept for r in alone] == [r.kept for r in together]


def test_what_is_no_collection(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no folder"):
        scan.scan(tmp_path / "gone", 1)
    with pytest.raises(ManifestError, match="no sound files"):
        scan.scan(tmp_path, 1)
    soundfile.write(tmp_path / "quiet.wav", noise(0.001), 44100)
    with pytest.raises(ManifestError, match="passed stage 1"):
        scan.main([str(tmp_path), str(tmp_path / "l.jsonl")])
    (tmp_path / "bad.jsonl").write_text('{"format": "vae.scan 1", "path": 3, "what": 1}\n')
    with pytest.raises(ManifestError, match="line 1 is no verdict"):
        song_files(tmp_path / "bad.jsonl", "train")


@pytest.mark.parametrize(
    "theirs",
    [
        b'{"title": "my notes"}',
        b'{"title": "what vae.scan 1 said"}\n',
        b"line one\nsecond line",
        b"RIFF\xff\xfe\x80",
        b'{"format": "vae.scan 1", "path": "a.wav", "stage": 1, "size": 1, "kept": false}\nmine\nno end',
    ],
)
def test_a_file_that_is_no_list_stays_as_it_is(tmp_path: Path, theirs: bytes) -> None:
    soundfile.write(tmp_path / "good.wav", noise(0.1), 44100)
    out = tmp_path / "notes.json"
    out.write_bytes(theirs)
    with pytest.raises(ManifestError, match=r"notes\.json(, line 2)? is no (list|verdict) of vae\.scan"):
        scan.scan(tmp_path, 1, out)
    assert out.read_bytes() == theirs
    with pytest.raises(ManifestError, match=r"good\.wav is no list"):
        scan.main([str(tmp_path), str(tmp_path / "good.wav")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.wav", "notes.json"]


@pytest.mark.parametrize("length", [0, 40, 200])
def test_a_list_goes_on_that_ended_in_its_first_line(tmp_path: Path, length: int) -> None:
    soundfile.write(tmp_path / "好.wav", noise(0.1), 44100)
    out = tmp_path / "l.jsonl"
    whole = (scan.scan(tmp_path, 1, out), out.read_bytes())
    out.write_bytes(whole[1][:length])
    assert (scan.scan(tmp_path, 1, out), out.read_bytes()) == whole


@pytest.mark.parametrize("duration", [None, 0, -1.0, float("nan"), "long"])
def test_a_kept_file_has_a_duration(tmp_path: Path, duration: object) -> None:
    line = {
        "format": "vae.scan 1",
        "path": "a.wav",
        "stage": 0,
        "size": 1,
        "kept": True,
        "duration": duration,
    }
    (tmp_path / "l.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ManifestError, match=r"line 1 is no verdict .* lasts more than 0 s, but got"):
        song_files(tmp_path / "l.jsonl", "train")
