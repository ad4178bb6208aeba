"""Sheets, and folders of songs: whole or not at all, restartable, honest about failures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.audio import Audio, read_audio
from common.description import Audience
from common.errors import ConfigError
from common.score import Score
from corpus import manifest, synth
from corpus.synth import STEMS, WHOLE, Order, main, render_folder, sheet, song_seed


def test_a_sheet_comes_from_its_seed():
    first, again, other = sheet(3, durations=(12, 30)), sheet(3, durations=(12, 30)), sheet(4)
    assert first == again != other
    assert first.score.lyrics().lines == first.lyrics.lines
    assert Score.from_json(json.loads(json.dumps(first.score.to_json()))) == first.score


def test_a_sheet_is_described_to_both_audiences():
    written = sheet(8, durations=(12, 30))
    for audience in Audience:
        assert written.prompts[audience] and all(written.prompts[audience])
        said = [d for d in written.descriptions if d.audience == audience]
        assert {"word", "phrase", "sentence"} <= {d.length for d in said}
        assert [d.text for d in said if d.dimension == WHOLE] == list(written.prompts[audience])


def test_what_is_kept_for_evaluation_is_marked():
    train = [sheet(seed, "train", durations=(12, 20)) for seed in range(30)]
    test = [sheet(seed, "test", durations=(12, 20)) for seed in range(60)]
    assert not any(written.held_out for written in train)
    for kind in ("phrasing", "combination"):
        assert 0.25 < np.mean([kind in written.held_out for written in test]) < 0.75


def test_songs_of_different_corpora_share_no_seed():
    seeds = {song_seed(s, i, split) for s in (1, 2) for i in range(500) for split in ("train", "test")}
    assert len(seeds) == 2000


# ---- folders, with a quick stand-in for the synthesis ----------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Songs of noise with true records; songs whose index is in the list fail."""
    fails, made, real = [], [], synth._record

    def song(seed, split="train", stems=False, **overrides):
        index = next(i for i in range(99) if song_seed(1, i, split) == seed)
        if index in fails:
            raise ValueError("out of tune")
        made.append(index)
        written = sheet(seed, split, genre="流行", singer="none", **{"durations": (5, 6)} | overrides)
        noise = np.random.default_rng(index).uniform(-0.1, 0.1, (2, 2000)).astype(np.float32)
        audio = Audio(noise, 44100)
        parts = dict.fromkeys(STEMS, audio) if stems else {}
        return synth.SyntheticSong(real(written, seed, split, audio.duration, ()), audio, parts, written)

    monkeypatch.setattr(synth, "song", song)
    return fails, made


def test_a_folder_goes_on_where_it_was_stopped(tmp_path, quick, capsys):
    _, made = quick
    assert render_folder(Order(2, tmp_path)) == []
    assert render_folder(Order(4, tmp_path)) == []
    assert made == [0, 1, 2, 3]
    assert "2 of 4 songs are there already" in capsys.readouterr().out
    records = manifest.read(tmp_path / "manifest.jsonl")
    assert [r.id for r in records] == [f"s1-train-00000{i}" for i in range(4)]
    for record in records:
        assert read_audio(tmp_path / record.audio).samples.shape == (2, 2000)
        assert record.provenance["key"] == "composed" and record.singer == "none"


def test_stems_are_written_beside(tmp_path, quick):
    assert render_folder(Order(1, tmp_path, stems=True)) == []
    (record,) = manifest.read(tmp_path / "manifest.jsonl")
    assert set(record.stems) == set(STEMS)
    assert all((tmp_path / path).exists() for path in record.stems.values())


def test_a_song_that_fails_is_named_and_tried_again(tmp_path, quick, capsys):
    fails, made = quick
    fails.append(1)
    arguments = ["--songs", "3", "--out", str(tmp_path), "--processes", "1"]
    assert main(arguments) == 1
    assert "s1-train-000001 (index 1): ValueError: out of tune" in capsys.readouterr().err
    assert not (tmp_path / "manifest.jsonl").exists()
    fails.clear()
    assert main(arguments) == 0
    assert made == [0, 2, 1] and len(manifest.read(tmp_path / "manifest.jsonl")) == 3


def test_stopping_leaves_no_partial_file(tmp_path, quick, monkeypatch, capsys):
    real = synth.write_audio

    def interrupted(path, audio, tags=None):
        if "000001" in str(path):
            raise KeyboardInterrupt
        real(path, audio, tags)

    monkeypatch.setattr(synth, "write_audio", interrupted)
    assert main(["--songs", "2", "--out", str(tmp_path), "--processes", "1"]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "audio").iterdir()] == ["s1-train-000000.flac"]
    assert [p.name for p in (tmp_path / "records").iterdir()] == ["s1-train-000000.json"]


def test_a_folder_holds_one_kind_of_order(tmp_path, quick, capsys):
    assert render_folder(Order(1, tmp_path)) == []
    with pytest.raises(ConfigError, match="was begun with seed 1"):
        render_folder(Order(1, tmp_path, duration=(20.0, 30.0)))
    assert main(["--songs", "0", "--out", str(tmp_path)]) == 2
    assert main(["--songs", "1", "--out", str(tmp_path), "--duration", "30", "20"]) == 2
    assert "shortest" in capsys.readouterr().err


def test_descriptions_can_be_said_anew(tmp_path, monkeypatch):
    order = Order(1, tmp_path, duration=(5.0, 6.0))
    seed = song_seed(1, 0)
    written = sheet(seed, **order.overrides)
    record = replace(synth._record(written, seed, "train", 5.0, ()), id=order.id(0), descriptions=())
    (tmp_path / "records").mkdir()
    manifest.write(order.record_path(0), [record])
    monkeypatch.setattr(synth, "make", None)  # nothing is rendered
    assert render_folder(replace(order, descriptions=True)) == []
    assert manifest.read(tmp_path / "manifest.jsonl")[0].descriptions == written.descriptions


def test_several_processes_make_the_same_songs(tmp_path):
    """The real thing, two songs of five seconds in a spawned process."""
    arguments = ["--songs", "1", "--split", "test", "--duration", "5", "5.5", "--stems", "--out"]
    assert main([*arguments, str(tmp_path / "one"), "--processes", "1"]) == 0
    assert main([*arguments, str(tmp_path / "two"), "--processes", "2"]) == 0
    one, two = (manifest.read(tmp_path / name / "manifest.jsonl") for name in ("one", "two"))
    assert one == two
    for path in (one[0].audio, *one[0].stems.values()):
        first, second = read_audio(tmp_path / "one" / path), read_audio(tmp_path / "two" / path)
        assert np.array_equal(first.samples, second.samples)


@pytest.mark.parametrize("out", ["file/songs", "file"])
def test_a_folder_that_cant_be_made_is_one_sentence(tmp_path, capsys, out):
    (tmp_path / "file").write_text("x")
    assert main(["--songs", "1", "--out", str(tmp_path / out)]) == 2
    assert "choose another folder" in capsys.readouterr().err
