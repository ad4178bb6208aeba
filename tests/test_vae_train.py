"""Training of both codecs on a few seconds of noise: configurations, steps, stopping and resuming."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from common.audio import Audio, write_audio
from common.config import parse
from common.errors import AudioError, ConfigError, ManifestError
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord
from vae.config import TrainConfig
from vae.data import SongFile, batch, read_crop, song_files
from vae.load import load
from vae.train import schedule, train

ROOT = Path(__file__).parent.parent
SMALL = [
    "--spectral.latent_dim", "12", "--spectral.width", "8", "--spectral.depth", "1",
    "--spectral.expansion", "1", "--calibration", "3", "--seconds", "0.2", "--batch_size", "2",
    "--log_every", "1",
]  # fmt: skip
KINDS = {"spectral": SMALL, "ear": ["--config", str(ROOT / "vae/configs/tiny.yaml"), "--seconds", "0.1"]}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    records = []
    for number in range(2):
        noise = 0.1 * generator(number, "noise").standard_normal((2, 44100))
        write_audio(folder / f"{number}.flac", Audio(noise.astype(np.float32), 44100))
        records.append(SongRecord(str(number), "test", "CC0", "train", 1.0, audio=f"{number}.flac"))
    manifest.write(folder / "manifest.jsonl", records)
    return folder / "manifest.jsonl"


def config(kind: str, songs: Path, out: Path, *more: str) -> TrainConfig:
    return parse(TrainConfig, [*KINDS[kind], "--manifest", str(songs), "--out", str(out), *more])


@pytest.mark.parametrize("path", sorted((ROOT / "vae/configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_is_read(path: Path) -> None:
    found = parse(TrainConfig, ["--config", str(path), "--manifest", "m", "--out", "o", "--max_minutes", "1"])
    assert found.kind in ("ear", "spectral")


def test_contradictions_are_named() -> None:
    with pytest.raises(ConfigError, match="max_minutes or max_steps"):
        TrainConfig("m", "o")
    with pytest.raises(ConfigError, match="calibration"):
        TrainConfig("m", "o", start="x", max_steps=1)
    with pytest.raises(ConfigError, match=r"0 crops of 2\.0 s"):
        TrainConfig("m", "o", batch_size=0, max_steps=1)


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_equals_not_stopping(kind: str, songs: Path, tmp_path: Path) -> None:
    constant = ("--final_lr", "1.0")  # the schedule knows the whole run, the short one doesn't
    whole = train(config(kind, songs, tmp_path / "whole", "--max_steps", "4", *constant))
    train(config(kind, songs, tmp_path / "parts", "--max_steps", "2", *constant))
    parts = train(config(kind, songs, tmp_path / "parts", "--max_steps", "4", *constant))
    first, second = (load_file(f / "diffusion_pytorch_model.safetensors") for f in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    rows = [json.loads(line) for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(np.isfinite(row["loss/total"]) for row in rows)


def test_latents_are_final_before_the_first_step(songs: Path, tmp_path: Path) -> None:
    begun = load(train(config("spectral", songs, tmp_path / "a", "--max_steps", "0")))
    trained = load(train(config("spectral", songs, tmp_path / "b", "--max_steps", "2", "--lr", "0.01")))
    wav = 0.1 * torch.randn(1, 2, 9000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(begun.encode(wav).mode(), trained.encode(wav).mode())
    head = "decoder.leave.weight"
    assert not torch.equal(begun.get_parameter(head), trained.get_parameter(head))


def test_going_on_from_a_folder_of_the_other_kind_is_refused(songs: Path, tmp_path: Path) -> None:
    folder = train(config("ear", songs, tmp_path / "ear", "--max_steps", "0"))
    more = ("--max_steps", "1", "--calibration", "0", "--start", str(folder))
    with pytest.raises(ConfigError, match="EarVAE"):
        train(config("spectral", songs, tmp_path / "x", *more))


def test_schedule_rises_and_falls() -> None:
    settings = TrainConfig("m", "o", max_steps=100, warmup=10, final_lr=0.1)
    assert schedule(0, 0.0, settings) == pytest.approx(0.1)
    assert schedule(9, 0.0, settings) == pytest.approx(1.0)
    assert schedule(50, 0.5, settings) == pytest.approx(0.55)
    assert schedule(99, 1.0, settings) == pytest.approx(0.1)


def test_batches_depend_on_seed_step_and_process_only(songs: Path) -> None:
    files = song_files(songs, "train")
    first = batch(files, 2, 1000, 44100, 1, "step", 3, 0)
    assert torch.equal(first, batch(files, 2, 1000, 44100, 1, "step", 3, 0))
    for place in (("step", 4, 0), ("step", 3, 1)):
        assert not torch.equal(first, batch(files, 2, 1000, 44100, 1, *place))


def test_crop_beyond_the_end_is_silence(songs: Path) -> None:
    crop = read_crop(song_files(songs, "train")[0], 0.9, 8820, 44100)
    assert crop[:, :4410].any() and not crop[:, 4410:].any()


def test_crop_is_resampled(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    write_audio(tmp_path / "a.wav", Audio(np.stack([tone, tone]).astype(np.float32), 48000))
    crop = read_crop(SongFile(tmp_path / "a.wav", 1.0), 0.1, 22050, 44100)
    assert np.abs(np.fft.rfft(crop[0] * np.hanning(22050))).argmax() == 500


def test_missing_songs_are_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'test'"):
        song_files(songs, "test")
    with pytest.raises(AudioError, match=r"gone\.flac"):
        read_crop(SongFile(tmp_path / "gone.flac", 1.0), 0.0, 100, 44100)
