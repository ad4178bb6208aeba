"""The command line: each fault is one sentence and status 2, Ctrl-C is 130, nothing is left half-written."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import lyrics_qwen
import pytest
from app_models import PROMPT, tiny_folder

import app.cli as cli
from app.request import Request
from common.abc import from_abc, to_abc
from common.audio import read_audio
from common.errors import CheckpointError
from common.lyrics import Lyrics
from common.pinyin import plain, units
from common.rhyme import group
from common.score import ChordChange, Note, Score, Section
from common.song import recipe_of
from common.theory import Key

FAST = ["--duration", "6", "--steps", "1", "--guidance-scale", "1", "--score-guidance-scale", "1"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the bad commands name: words.txt and rap.txt exist, the rest is faulty or missing."""
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("<verse>\n细雨敲着窗\n想起了家\n", encoding="utf-8")
    Path("rap.txt").write_text("<verse>\n" + "啦" * 20 + ("\n" + "啦" * 20) * 20, encoding="utf-8")
    Path("tag.txt").write_text("<verze>\n家\n", encoding="utf-8")
    Path("empty.txt").write_text("", encoding="utf-8")
    Path("bad.abc").write_text("no tune at all", encoding="utf-8")
    Path("words.doc").write_text("x", encoding="utf-8")
    Path("file").write_text("x", encoding="utf-8")
    Path("folder.flac").mkdir()
    Path("nomodel").mkdir()


def fails(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 2) -> str:
    """Run a command that must fail; its one sentence."""
    before = sorted(Path().rglob("*"))
    assert cli.main(argv) == status
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert out == "" and sorted(Path().rglob("*")) == before
    assert "Traceback" not in err and lines[-1].startswith("baihua: " if status == 2 else "stopped")
    return lines[-1]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["sing"], "required: DESCRIPTION"),
        (["sing", ""], "the description is empty"),
        (["sing", "  　\n"], "the description is empty"),
        (["sing", "！！？"], "needs at least one word"),
        (["sing", "长" * 2001], "at most 2000 characters, but this one has 2001"),
        (["sing", PROMPT, "--duration", "4"], "between 5 and 240, but got 4.0"),
        (["sing", PROMPT, "--duration", "241"], "between 5 and 240, but got 241.0"),
        (["sing", PROMPT, "--duration", "nan"], "between 5 and 240, but got nan"),
        (
            ["sing", PROMPT, "--duration", "-inf"],
            "a number is needed|between 5 and 240|expected one argument",
        ),
        (["sing", PROMPT, "--duration", "long"], "a number is needed, but got 'long'"),
        (["sing", PROMPT, "--seed", "x"], "a whole number is needed, but got 'x'"),
        (["sing", PROMPT, "--seed", "1.5"], "a whole number is needed, but got '1.5'"),
        (["sing", PROMPT, "--seed", "-1"], "seed is a whole number from 0"),
        (["sing", PROMPT, "--steps", "0"], "number of steps is a whole number from 1"),
        (["sing", PROMPT, "--guidance-scale", "21"], "guidance scale lies between 0 and 20"),
        (["sing", PROMPT, "--guidance-scale", "nan"], "guidance scale lies between 0 and 20"),
        (["sing", PROMPT, "--score-guidance-scale", "-1"], "score guidance scale lies between"),
        (["sing", PROMPT, "--audience", "critic"], "professional or amateur, but got 'critic'"),
        (["sing", PROMPT, "--lyrics", "none.txt"], "there is no lyrics file 'none.txt'"),
        (["sing", PROMPT, "--lyrics", "words.doc"], r"read from \.txt or \.lrc"),
        (["sing", PROMPT, "--lyrics", "empty.txt"], "lyrics are empty"),
        (["sing", PROMPT, "--lyrics", "tag.txt"], "unknown section 'verze'"),
        (["sing", PROMPT, "--lyrics", "rap.txt"], "420 syllables can't be sung in 30 s"),
        (["sing", PROMPT, "--lyrics", "words.txt", "--instrumental"], "an instrumental has no words"),
        (["sing", PROMPT, "--score", "none.mid"], "there is no score file 'none.mid'"),
        (["sing", PROMPT, "--score", "words.txt"], r"read from \.abc or \.mid"),
        (["sing", PROMPT, "--score", "bad.abc"], "bad.abc"),
        (["sing", PROMPT, "--out", "song.mp3"], r"written as \.flac, but the file asked for is 'song.mp3'"),
        (["sing", PROMPT, "--out", "none/song.flac"], "the folder 'none' doesn't exist"),
        (["sing", PROMPT, "--out", "file/song.flac"], "the folder 'file' doesn't exist"),
        (["sing", PROMPT, "--out", "folder.flac"], "is a folder: give the name of a file"),
        (["sing", PROMPT, "--lyrics", ""], "--lyrics is empty: give the name of a file"),
        (["sing", PROMPT, "--score", ""], "--score is empty: give the name of a file"),
        (["sing", PROMPT, "--out", ""], "--out is empty: give the name of a file"),
        (["lyrics", PROMPT, "--out", ""], "--out is empty"),
        (["score", PROMPT, "--out", " "], "--out is empty"),
        (["score", PROMPT, "--lyrics", ""], "--lyrics is empty"),
        (["sing", PROMPT, "--out", "/proc/x.flac"], "'/proc.*' can't be written"),
        (["sing", PROMPT, "--out", "长" * 200 + ".flac"], "File name too long"),
        (["sing", "-歌"], "write `--` before words that begin with a hyphen: -- '-歌'"),
        (["sing", "--", "-！"], "needs at least one word"),
        (["sing", PROMPT, "--model", "none"], "there is no model folder 'none'"),
        (["sing", PROMPT, "--model", "nomodel"], "isn't a model folder: it has no model_index.json"),
        (["sing", PROMPT, "--model", "words.txt"], "there is no model folder 'words.txt'"),
        (["lyrics", "", "--model", "none"], "the description is empty"),
        (["lyrics", PROMPT, "--out", "words.flac"], r"written as \.txt"),
        (["score", PROMPT, "--out", "words.txt"], r"written as \.abc"),
        (["sing", PROMPT, "--structure", "none.txt"], "there is no structure file 'none.txt'"),
        (["sing", PROMPT, "--structure", "words.txt"], "a line of a structure is signs"),
        (["sing", PROMPT, "--structure", "words.doc"], r"the structure are read from \.txt"),
        (["lyrics", PROMPT, "--rhyme", "江洋"], "the rhyme '江洋' isn't known"),
        (["sing", PROMPT, "--readings", "words.txt"], "give them with --lyrics"),
        (["score", PROMPT, "--lyrics", "words.txt", "--readings", "none.txt"], "can't be read"),
        (["app", "--port", "0"], "a port lies between 1 and 65535, but got 0"),
        (["app", "--model", "none"], "there is no model folder"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], argv: list[str], told: str) -> None:
    assert re.search(told, fails(capsys, *argv))


def test_a_song_and_what_goes_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["sing", PROMPT, *FAST, "--lyrics", "words.txt", "--model", str(tiny_folder()), "--seed", "3"]
    assert cli.main([*argv, "--out", "song.flac"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["song.flac", "song.lrc", "song.abc"]
    assert "singing 6 s" in err and "6.0 s of song in" in err
    audio = read_audio("song.flac")
    assert (audio.sample_rate, audio.samples.shape) == (44100, (2, 6 * 44100))
    request = recipe_of("song.flac")["request"]
    assert (request["description"], request["seed"], request["duration"]) == (PROMPT, 3, 6.0)
    assert Lyrics.parse(Path("song.lrc").read_text("utf-8")).lines == ("细雨敲着窗", "想起了家")
    assert from_abc(Path("song.abc").read_text("utf-8")).lyrics().lines == ("细雨敲着窗", "想起了家")
    assert not list(Path().glob(".*"))


def test_what_is_odd_about_own_words_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gbk.txt").write_bytes("《雨》\n细雨敲着窗\n想起了家\n".encode("gbk"))
    argv = ["sing", PROMPT, *FAST, "--lyrics", "gbk.txt", "--model", str(tiny_folder()), "--out", "s.flac"]
    assert cli.main(argv) == 0
    err = capsys.readouterr().err
    assert "note: the lyrics file 'gbk.txt' isn't UTF-8: it was read as GB18030\n" in err
    assert "note: line 1: '《雨》' is a title and isn't sung\n" in err
    assert "[ti:雨]" in Path("s.lrc").read_text("utf-8")


def test_words_and_lead_sheet_alone(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--duration", "12", "--model", str(tiny_folder())]
    assert cli.main(["lyrics", PROMPT, *model, "--out", "new.txt"]) == 0
    assert capsys.readouterr().out == "new.txt\n"
    words = Lyrics.parse(Path("new.txt").read_text("utf-8"))
    assert words.lines
    assert cli.main(["score", PROMPT, *model, "--lyrics", "new.txt"]) == 0
    assert from_abc(capsys.readouterr().out).lyrics().lines == words.lines


def test_the_form_of_the_words_and_their_readings(capsys: pytest.CaptureFixture[str]) -> None:
    Path("form.txt").write_text("<verse>\n7R\n7R\n\n<chorus>\n5R\n5R\n", encoding="utf-8")
    Path("read.txt").write_text("敲{qiao4}着\n", encoding="utf-8")
    model = ["--duration", "12", "--model", str(tiny_folder())]
    asked = ["--structure", "form.txt", "--rhyme", "江阳", "--theme", "月亮"]
    assert cli.main(["lyrics", PROMPT, *model, *asked]) == 0
    words = Lyrics.parse(capsys.readouterr().out)
    assert [[len(line) for line in s.lines] for s in words.sections] == [[7, 7], [5, 5]]
    assert {group(line) for line in words.lines} == {"江阳"}
    assert cli.main(["score", PROMPT, *model, *asked]) == 0
    sheet = from_abc(capsys.readouterr().out)
    assert sheet.lyrics().lines == words.lines and sheet.meta["theme"] == "月亮"
    assert cli.main(["lyrics", PROMPT, *model, *asked, "--pinyin"]) == 0
    spelt = Lyrics.parse(capsys.readouterr().out)
    assert tuple(map(plain, spelt.lines)) == words.lines and spelt.lines[0].count("{") == 7
    own = ["--lyrics", "words.txt", "--readings", "read.txt"]
    assert cli.main(["score", PROMPT, *model, *own]) == 0
    sheet = from_abc(capsys.readouterr().out)
    sung = [note for section in sheet.sections for note in section.notes if note.syllable == "敲"]
    assert [note.reading for note in sung] == ["qiao4"] and sheet.title == "细雨敲着窗"


def test_a_qwen_writes_the_words_with_one_flag(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    qwen = str(lyrics_qwen.save(tmp_path / "qwen"))
    model = ["--duration", "8", "--model", str(tiny_folder())]
    Path("form.txt").write_text("<verse>\n5R\n5R\n", encoding="utf-8")
    asked = [PROMPT, *model, "--structure", "form.txt", "--rhyme", "江阳"]
    assert cli.main(["lyrics", *asked]) == 0
    own = Lyrics.parse(capsys.readouterr().out)
    assert cli.main(["lyrics", *asked, "--writer", qwen]) == 0
    words = Lyrics.parse(capsys.readouterr().out)
    assert words != own and [len(units(line)) for line in words.lines] == [5, 5]
    assert {group(line) for line in words.lines} == {"江阳"}
    assert cli.main(["score", *asked, "--writer", qwen]) == 0
    assert from_abc(capsys.readouterr().out).lyrics().lines == words.lines
    assert "name it with --writer" in fails(capsys, "lyrics", *asked, "--adapter", "nomodel")
    assert "can't be read" in fails(capsys, "lyrics", *asked, "--writer", "nomodel")
    assert "there is no such folder" in fails(capsys, "lyrics", *asked, "--writer", "./none")


def test_lyrics_shows_readings_of_ones_own_words_and_writes_for_a_melody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("read.txt").write_text("敲{qiao4}着\n", encoding="utf-8")
    model = ["--duration", "12", "--model", str(tiny_folder())]
    assert (
        cli.main(["lyrics", PROMPT, *model, "--lyrics", "words.txt", "--readings", "read.txt", "--pinyin"])
        == 0
    )
    assert "敲{qiao4}" in capsys.readouterr().out
    notes = tuple(Note(12 * i, 12, 60 + i % 5) for i in range(7))
    tune = Score(120.0, Key(0), (Section("verse", 2, (ChordChange(0, "C"),), notes),), tail=8.0)
    Path("tune.abc").write_text(to_abc(tune), encoding="utf-8")
    assert cli.main(["lyrics", "慢歌", "--model", str(tiny_folder()), "--score", "tune.abc"]) == 0
    assert [len(units(line)) for line in Lyrics.parse(capsys.readouterr().out).lines] == [7]


def test_a_score_of_ones_own_sets_words_and_length(capsys: pytest.CaptureFixture[str]) -> None:
    notes = tuple(Note(24 * i, 24, 60 + i, w, None, i == 2) for i, w in enumerate("我想家"))
    own = Score(120.0, Key(0), (Section("verse", 3, (ChordChange(0, "C"),), notes),))
    Path("own.abc").write_text(to_abc(own), encoding="utf-8")
    argv = ["sing", PROMPT, "--score", "own.abc", *FAST[2:], "--model", str(tiny_folder()), "--out", "s.flac"]
    assert cli.main(argv) == 0
    assert read_audio("s.flac").duration == own.duration == 6.0
    assert "[00:00.00]我想家" in Path("s.lrc").read_text("utf-8")


def test_a_full_disk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.audio._write_samples", full)
    argv = ["sing", PROMPT, *FAST, "--model", str(tiny_folder()), "--out", "song.flac"]
    assert "No space left on device" in fails(capsys, *argv)


def test_a_locked_folder(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *args: False)  # as root, a chmod would stop nobody
    assert "can't be written to" in fails(capsys, "sing", PROMPT, "--out", "song.flac")


def test_ctrl_c_that_a_library_takes_for_its_own_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            raise CheckpointError("the codec can't be loaded") from None

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        monkeypatch.setattr("app.cli._load", load)
        fails(capsys, "sing", PROMPT, status=130)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_entry_is_stopped_while_it_is_imported() -> None:
    code = (
        "import builtins, app.__main__ as entry\n"
        "real = builtins.__import__\n"
        "def stopped(name, *rest):\n"
        "    if name == 'app.cli': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = stopped\n"
        "raise SystemExit(entry.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and "Traceback" not in done.stderr


@pytest.mark.parametrize("stage", ["singing", "decoding", "saving"])
def test_ctrl_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    target = {
        "singing": "dit.guidance.SongTransformer.forward",
        "decoding": "vae.spectral.SpectralVAE.decode",
        "saving": "common.audio._write_tags",
    }[stage]
    monkeypatch.setattr(target, stop)
    argv = [
        "sing",
        PROMPT,
        *FAST,
        "--lyrics",
        "words.txt",
        "--model",
        str(tiny_folder()),
        "--out",
        "song.flac",
    ]
    fails(capsys, *argv, status=130)


def test_a_file_name_of_the_description_that_is_free() -> None:
    request = Request("一首/慢歌: ../../钢琴 <女声>", seed=4)
    assert cli.free_name(request) == Path("一首-慢歌-钢琴-女声-4.flac")
    cli.free_name(request).touch()
    assert cli.free_name(request) == Path("一首-慢歌-钢琴-女声-4-2.flac")


def test_the_doctor_answers_even_without_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--model", "none"]) == 0
    out = capsys.readouterr().out
    assert "PROBLEM: there is no model folder 'none'" in out and "torch" in out and "memory" in out
    assert cli.main(["doctor", "--model", str(tiny_folder())]) == 0
    assert "sha256" in capsys.readouterr().out


def test_a_kernel_of_qlora_is_not_missed_aloud() -> None:
    """bitsandbytes warns once in a process, while diffusers is imported."""
    code = f"from app import cli; cli._load({str(tiny_folder())!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loading the models" in done.stderr and "kernel" not in done.stderr
