"""Embedding a corpus: resumed after a kill, corrupt files named, one song in memory at a time."""

import multiprocessing
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from chinmu import embed
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.model import ChinMu, build
from chinmu.text import character_tokenizer
from common.audio import Audio, write_audio
from common.errors import CheckpointError, ManifestError, RequestError
from corpus import manifest
from corpus.record import SongRecord

RATE = 44100
ENCODER = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def record(number: int, audio: str | None) -> SongRecord:
    return SongRecord(f"song-{number}", "test", "CC0-1.0", "test", 1.0, audio=audio)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    audio = AudioConfig(window=1.0, channels=(4,), width=16, depth=1, heads=2)
    text = TextConfig(encoder=ENCODER | {"intermediate_size": 16}, longest=64)
    build(ModelConfig(audio, text), character_tokenizer(["慢歌"])).save_pretrained(folder)
    return folder


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A manifest of seven songs: the third is damaged, the fifth is silent text, the sixth has no file."""
    rng = np.random.default_rng(0)
    for number in range(7):
        wav = 0.1 * rng.standard_normal((2, RATE)).astype(np.float32)
        write_audio(tmp_path / f"{number}.wav", Audio(wav, RATE))
    (tmp_path / "2.wav").write_bytes(b"RIFF damaged")
    write_audio(tmp_path / "4.wav", Audio(np.ones((1, 100), np.float32) * 0.1, RATE))
    records = [record(n, None if n == 5 else f"{n}.wav") for n in range(7)]
    manifest.write(tmp_path / "manifest.jsonl", records)
    return tmp_path / "manifest.jsonl"


def test_all_that_can_be_heard_is_embedded_and_the_rest_is_named(
    songs: Path, model: Path, tmp_path: Path, capsys
):
    assert embed.main([str(songs), str(tmp_path / "out"), "--model", str(model), "--shard", "3"]) == 0
    shown = capsys.readouterr().out
    assert "4 songs" in shown and "3 skipped" in shown
    assert "song-2: " in shown and "2.wav" in shown
    assert "song-4: audio needs at least 0.1 s" in shown and "song-5: it has no audio file" in shown
    ids, vectors = embed.load(tmp_path / "out")
    assert ids == ["song-0", "song-1", "song-3", "song-6"] and vectors.shape == (4, 512)
    chinmu = ChinMu.from_pretrained(model)
    from common.audio import read_audio

    for name, vector in zip(ids, vectors):
        wav = torch.from_numpy(read_audio(songs.parent / f"{name[-1]}.wav").samples)[None]
        np.testing.assert_allclose(vector, chinmu.embed_audio(wav, RATE)[0].numpy(), atol=1e-6)
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_a_run_goes_on_behind_the_last_whole_shard(songs: Path, model: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    embed.embed(songs, whole, model, shard=2)
    embed.embed(songs, parts, model, shard=2)
    files = sorted(parts.iterdir())
    assert len(files) == 4
    before = files[0].stat().st_mtime_ns
    for file in files[2:]:
        file.unlink()
    (parts / "vectors-00000004.tmp").write_bytes(b"half")  # what a kill leaves
    report = embed.embed(songs, parts, model, shard=2)
    assert (report.resumed, report.songs, len(report.skipped)) == (4, 4, 3)
    assert files[0].stat().st_mtime_ns == before
    (ids, vectors), (expected, kept) = embed.load(parts), embed.load(whole)
    assert ids == expected and np.array_equal(vectors, kept)
    assert embed.embed(songs, parts, model, shard=2).resumed == 7


def test_a_manifest_without_songs_is_refused(model: Path, tmp_path: Path, capsys):
    (tmp_path / "none.jsonl").write_text("")
    assert embed.main([str(tmp_path / "none.jsonl"), str(tmp_path / "out"), "--model", str(model)]) == 2
    shown = capsys.readouterr()
    assert "none.jsonl holds no songs" in shown.err and not shown.out


def test_a_killed_run_resumes_to_the_same_vectors(songs: Path, model: Path, tmp_path: Path):
    out = tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(target=embed.embed, args=(songs, out, model, 1))
    process.start()
    deadline = time.monotonic() + 60
    while process.is_alive() and time.monotonic() < deadline and not list(out.glob("vectors-*.safetensors")):
        time.sleep(0.001)
    process.kill()
    process.join()
    done = len(list(out.glob("vectors-*")))
    assert done >= 1
    report = embed.embed(songs, out, model, shard=1)
    assert report.resumed >= done and report.songs == 4
    assert embed.load(out)[0] == ["song-0", "song-1", "song-3", "song-6"]


def test_what_does_not_belong_together_is_refused(songs: Path, model: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    embed.embed(songs, out, model, shard=2)
    with pytest.raises(CheckpointError, match="another model"):
        embed.load(out, "0" * 24)
    manifest.write(tmp_path / "other.jsonl", [record(n, None) for n in range(10, 20)])
    with pytest.raises(ManifestError, match="another manifest"):
        embed.embed(tmp_path / "other.jsonl", out, model, shard=2)
    (out / "vectors-00000002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="doesn't follow"):
        embed.embed(songs, out, model, shard=2)
    (out / "vectors-00000000.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="can't be read"):
        embed.load(out)
    with pytest.raises(RequestError, match="holds no vectors"):
        embed.load(tmp_path / "nothing")
    arguments = [str(songs), str(tmp_path / "new"), "--model", str(model)]
    assert embed.main([*arguments, "--shard", "0"]) == 2
    assert embed.main([str(tmp_path / "none.jsonl"), *arguments[1:]]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_corpus(model: Path, tmp_path: Path, monkeypatch):
    wav = 0.1 * np.random.default_rng(0).standard_normal((1, 2 * RATE)).astype(np.float32)
    write_audio(tmp_path / "song.wav", Audio(wav, RATE))
    monkeypatch.setattr(ChinMu, "embed_audio", lambda self, wav, rate: torch.ones(1, 512))
    peaks = []
    for count in (8, 64):
        manifest.write(tmp_path / "m.jsonl", [record(n, "song.wav") for n in range(count)])
        tracemalloc.start()
        embed.embed(tmp_path / "m.jsonl", tmp_path / str(count), model, shard=8)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4 * wav.nbytes  # 56 songs more
