"""Requests judged: wishes, judges that err, and the table of a folder of songs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.abc import to_abc
from common.audio import Audio, write_audio
from common.errors import AudioError
from common.seeds import generator
from common.statistics import Estimate, corrected, wilson
from corpus import manifest
from corpus.attributes import attributes
from corpus.synth import song
from eval import form, probes, requests
from eval.probes import INSTRUMENTS, Network, Probes
from eval.requests import Settings, judge_song, judges, main, measured

TEXT = "一首抒情慢歌，女声，钢琴，不要架子鼓，72 BPM，A小调"


# ---- the correction --------------------------------------------------------------------------


def test_a_judge_that_errs_is_corrected() -> None:
    """Of 1,000 songs 60 % are right; a judge with 90 % and 80 % affirms 0.6 · 0.9 + 0.4 · 0.2."""
    rng = generator(0, "judge")
    truth = np.arange(1000) < 600
    said = np.where(truth, rng.random(1000) < 0.9, rng.random(1000) < 0.2)
    found = corrected(said, range(1000), wilson(900, 1000), wilson(800, 1000))
    assert found is not None and found.low < 0.6 < found.high
    assert found.value == pytest.approx((said.mean() + 0.8 - 1) / 0.7)
    certain = Estimate(1.0, 1.0, 1.0, 0)
    sure = corrected(said, range(1000), certain, certain)
    assert sure is not None and sure.value == pytest.approx(said.mean())
    assert sure.high - sure.low < found.high - found.low
    few = corrected(said, range(1000), wilson(9, 10), wilson(8, 10))
    assert few is not None and few.high - few.low > 2 * (found.high - found.low)


def test_a_coin_corrects_nothing_and_shares_stay_shares() -> None:
    assert corrected([1, 0], "ab", wilson(5, 10), wilson(5, 10)) is None
    assert corrected([], [], wilson(9, 10), wilson(9, 10)) is None
    below = corrected([0, 0, 0], "abc", wilson(9, 10), wilson(7, 10))
    assert below is not None and below.value == 0 and below.low >= 0


def test_alike_verdicts_leave_a_doubt_and_one_song_the_whole() -> None:
    certain = Estimate(1.0, 1.0, 1.0, 0)
    every = corrected([1] * 17, range(17), certain, certain)
    assert every is not None and every.value == every.high == 1
    assert every.low == pytest.approx(0.025 ** (1 / 18), abs=0.01)  # of Beta(18, 1)
    alone = corrected([1, 1], "aa", wilson(90, 100), wilson(80, 100))
    assert alone is not None and alone.count == 1 and not alone.has_interval


# ---- form ------------------------------------------------------------------------------------


def test_borders_are_heard_where_the_sound_changes() -> None:
    rate, rng = 22050, generator(0, "sections")
    t = np.arange(12 * rate) / rate
    parts = [np.sin(2 * np.pi * f * t) + noise * rng.standard_normal(len(t))
             for f, noise in ((220, 0.01), (330, 0.5), (262, 0.01))]  # fmt: skip
    audio = Audio(0.2 * np.concatenate(parts).astype(np.float32)[None], rate)
    assert form.borders_heard(audio, 2) == pytest.approx([12, 24], abs=1.0)
    assert not len(form.borders_heard(Audio(np.zeros((1, 3 * rate), np.float32), rate), 2))


# ---- wishes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge() -> Probes:
    answers = {"genre": ["抒情", "摇滚"], "singer": ["female", "none"], "pace": ["fast", "slow"]}
    answers[INSTRUMENTS] = ["架子鼓", "钢琴"]
    share = {
        q: {"clean": wilson(18, 20)}
        for q in ("genre", "singer", "pace", probes.HEARD, probes.NOT_HEARD, probes.SILENT, probes.SUNG)
    }
    return Probes(Network(answers).eval(), answers, share)


@pytest.fixture(scope="module")
def sung():
    return song(7, "test", duration=14.0, genre="抒情", singer="female")


def test_every_wish_of_a_description_is_judged(judge: Probes, sung) -> None:
    score = sung.sheet.score
    names = [w.name for w in judge_song(sung.audio, attributes(TEXT), judge, score, 14.0)]
    wanted = ["genre", "singer", "tempo class", "instruments", "without", "tempo", "key", "mode"]
    assert [n for n in names if n != "form"] == [*wanted, "duration"]
    assert names.count("form") == len(score.sections) - 1
    bare = judge_song(sung.audio, attributes("随便来一首"), judge)
    assert bare == []
    quiet = judge_song(sung.audio, attributes("纯音乐"), judge)
    assert [w.name for w in quiet] == ["instrumental"]


def test_estimates_know_the_songs_own_numbers(sung) -> None:
    own = {w.name: w.fulfilled for w in measured(sung.audio, {}, sung.sheet.score)}
    assert own["tempo"]
    far = {"tempo": sung.sheet.score.tempo * 1.3}
    assert not {w.name: w.fulfilled for w in measured(sung.audio, far, None)}["tempo"]  # type: ignore[arg-type]


def test_judges_are_tried_on_real_songs(judge: Probes, tmp_path: Path) -> None:
    known = judges(judge, Settings("songs", "probes"))
    assert known["genre"][0].value == 0.9 and known["genre"][1].value == pytest.approx(0.9)
    assert known["without"] == known["instruments"][::-1]
    records = []
    for seed in (3, 8):
        made = song(seed, "test", duration=14.0)
        write_audio(tmp_path / f"{seed}.flac", made.audio)
        records.append(replace(made.record, id=str(seed), audio=f"{seed}.flac"))
    manifest.write(tmp_path / "manifest.jsonl", records)
    tried = judges(judge, Settings("songs", "probes", references=str(tmp_path / "manifest.jsonl")))
    assert tried["tempo"][0].value >= 0.5 and tried["key"][0].count == 2


def test_the_table_of_a_folder(judge: Probes, sung, tmp_path: Path, capsys, monkeypatch) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    recipe = {"request": {"description": TEXT, "duration": 14.0}}
    write_audio(songs / "a.flac", sung.audio, {"baihua_recipe": json.dumps(recipe)})
    (songs / "a.abc").write_text(to_abc(sung.sheet.score), encoding="utf-8")
    write_audio(songs / "nobody.flac", sung.audio)
    judge.save(tmp_path / "probes")
    options = ["--songs", str(songs), "--probes", str(tmp_path / "probes")]
    assert main([*options, "--out", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    assert "| duration | 1.00" in table and "| exact |" in table and "| genre |" in table
    kept = json.loads((tmp_path / "out/requests.json").read_text(encoding="utf-8"))
    assert kept["singer"]["judge"]["value"] == 0.9
    told = tmp_path / "prompts.jsonl"
    told.write_text(json.dumps({"id": "nobody", "description": "摇滚"}), encoding="utf-8")
    rows = requests.judge_folder(Settings(str(songs), str(tmp_path / "probes"), prompts=str(told)))
    assert rows["genre"].judged.count == 2
    assert kept["genre"]["judged"]["count"] == 1 and kept["genre"]["judged"]["low"] is None
    assert "| genre | 1.00 (–) |" in table or "| genre | 0.00 (–) |" in table


def test_a_duration_is_of_its_own_description_alone(judge: Probes, sung, tmp_path: Path) -> None:
    songs, told = tmp_path / "songs", tmp_path / "prompts.jsonl"
    songs.mkdir()
    recipe = {"request": {"description": TEXT, "duration": 14.0}}
    write_audio(songs / "a.flac", sung.audio, {"baihua_recipe": json.dumps(recipe)})
    for text, duration in ((TEXT, 14.0), ("摇滚，30秒", 30.0), ("摇滚", None)):
        told.write_text(json.dumps({"id": "a", "description": text}), encoding="utf-8")
        (asked,) = requests.requests(Settings(str(songs), prompts=str(told)))
        assert asked.duration == duration
    (asked,) = requests.requests(Settings(str(songs)))
    assert asked.duration == 14.0


def test_files_that_cannot_be_heard_and_the_bundled_probes(
    sung, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    songs, told = tmp_path / "songs", tmp_path / "prompts.jsonl"
    songs.mkdir()
    told.write_text(
        '{"id": "a", "description": "抒情"}\n{"id": "b", "description": "抒情"}', encoding="utf-8"
    )
    write_audio(songs / "a.flac", sung.audio)
    (songs / "b.wav").write_bytes(b"RIFF nothing")
    asked = Settings(str(songs), prompts=str(told))
    with pytest.raises(AudioError, match=r"1 of 2 files can't be heard: .*b\.wav.*--allow-missing"):
        requests.judge_folder(asked)
    rows = requests.judge_folder(replace(asked, allow_missing=True))
    assert rows["genre"].judged.count == 1 and "left out: " in caplog.text and "b.wav" in caplog.text


def test_songs_of_several_folders_are_told_of_and_a_macs_hidden_files_are_none(
    sung, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = tmp_path / "prompts.jsonl"
    told.write_text('{"id": "a", "description": "抒情"}', encoding="utf-8")
    for place in ("songs/a.flac", "songs/mine/a.flac"):
        write_audio(tmp_path / place, sung.audio)
    (tmp_path / "songs/mine/._a.flac").write_bytes(b"Mac OS X")
    for folder, count in (("songs/mine", 1), ("songs", 2)):
        assert "taken together" not in caplog.text
        asked = list(requests.requests(Settings(str(tmp_path / folder), prompts=str(told))))
        assert len(asked) == count
    assert "the songs of 2 folders are taken together (., mine)" in caplog.text


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00broken", b"X:1\nthis is no tune"])
def test_a_damaged_lead_sheet_doesnt_stop_the_other_songs(
    judge: Probes, sung, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    recipe = {"request": {"description": TEXT, "duration": 14.0}}
    for name in "ab":
        write_audio(songs / f"{name}.flac", sung.audio, {"baihua_recipe": json.dumps(recipe)})
        (songs / f"{name}.abc").write_text(to_abc(sung.sheet.score), encoding="utf-8")
    (songs / "a.abc").write_bytes(damage)
    asked = list(requests.requests(Settings(str(songs), str(tmp_path / "probes"))))
    assert [(a.path.stem, a.score is None) for a in asked] == [("a", True), ("b", False)]
    assert "a.abc can't be read" in caplog.text


def test_wrong_input_is_told(tmp_path: Path, capsys) -> None:
    assert main(["--songs", "nowhere", "--probes", "nowhere"]) == 2
    (tmp_path / "songs").mkdir()
    assert "nowhere" in capsys.readouterr().err
