"""Codecs side by side: copies without training, and the table of a tiny codec on two short songs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from common.audio import Audio, write_audio
from common.config import parse
from common.seeds import generator
from common.statistics import Estimate
from corpus import manifest
from corpus.record import SongRecord
from dit.config import TrainConfig
from dit.model import SongTransformer
from dit.store import LatentFacts
from recipes import codecs
from recipes.codecs import Settings, effort_for, main, mdct_copy, opus_copy
from vae.spectral import SpectralVAE

RATE = 44100


def music(seed: int, seconds: float = 1.0) -> torch.Tensor:
    """Stereo (2, time): three tones and a little noise."""
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(0.2 * np.sin(2 * np.pi * f * t) for f in (220, 440.5, 1318))
    noise = 0.01 * generator(seed, "noise").standard_normal((2, len(t)))
    return torch.from_numpy((tones + noise).astype(np.float32))


def test_all_coefficients_give_the_mid_channel_back() -> None:
    wav = music(1)[:, :40_001]
    found = mdct_copy(wav, kept=1024)
    assert found.shape == wav.shape
    torch.testing.assert_close(found, wav.mean(0).expand_as(found), atol=2e-5, rtol=0)


def test_few_coefficients_keep_what_is_low() -> None:
    t = torch.arange(44_100) / RATE
    low, high = (torch.sin(2 * torch.pi * f * t).expand(2, -1) for f in (400.0, 5000.0))
    assert float((mdct_copy(low) - low).square().mean()) < 1e-3  # 64 of 1024 reach up to 1,378 Hz
    assert float(mdct_copy(high).square().mean()) < 1e-3


def test_opus_comes_near_the_bit_rate_that_is_asked() -> None:
    wav = music(2, 3.0)
    rates = {kbits: opus_copy(wav, RATE, effort_for(wav, RATE, kbits))[1] for kbits in (40.0, 160.0)}
    assert all(0.7 < found / asked < 1.4 for asked, found in rates.items()), rates
    copy, _ = opus_copy(wav, RATE, 0.0)
    assert copy.shape == wav.shape
    assert float((copy - wav).square().mean() / wav.square().mean()) < 0.05  # no delay, no other level


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codecs")
    records = []
    for number in range(2):
        write_audio(folder / f"{number}.flac", Audio(music(number).numpy(), RATE))
        records.append(SongRecord(str(number), "test", "CC0", "test", 1.0, audio=f"{number}.flac"))
    manifest.write(folder / "manifest.jsonl", records)
    codec = SpectralVAE(latent_dim=6, width=4, depth=1, expansion=1, iterations=2)
    codec.calibrate([music(3)])
    codec.save_pretrained(folder / "tiny")
    return folder


def test_the_table_has_every_row(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--codecs", json.dumps({"tiny": str(work / "tiny")}), "--seconds", "0.8"]
    assert main([*options, "--manifest", str(work / "manifest.jsonl"), "--out", str(work / "out")]) == 0
    table = capsys.readouterr().out
    for row in ("originals", "tiny", "Opus", "64 MDCT coefficients", "ear-VAE, the paper"):
        assert f"| {row}" in table
    figures = json.loads((work / "out/codecs.json").read_text())["rows"]
    assert figures["tiny"]["stft_distance"]["count"] == 2
    assert figures["Opus"]["si_sdr"]["value"] > figures["tiny"]["si_sdr"]["value"]
    assert figures["tiny"]["kbits"]["value"] == pytest.approx(6 * RATE / 1024 * 16 / 1000)


def test_opus_stands_beside_each_bit_rate(work: Path, tmp_path: Path) -> None:
    larger = SpectralVAE(latent_dim=12, width=4, depth=1, expansion=1, iterations=2)
    larger.calibrate([music(3)])
    larger.save_pretrained(tmp_path / "larger")
    found = codecs.copiers(
        Settings({"a": str(work / "tiny"), "b": str(tmp_path / "larger"), "c": str(work / "tiny")})
    )
    assert list(found) == ["a", "b", "c", "Opus near 4.1", "Opus near 8.3", "64 MDCT coefficients"]


def test_wrong_input_is_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = ["--manifest", str(work / "manifest.jsonl")]
    assert main(["--codecs", "{gone: nowhere}", *listed]) == 2
    assert main(["--manifest", "nowhere.jsonl"]) == 2
    options = ["--codecs", json.dumps({"tiny": str(work / "tiny")}), "--out", str(work / "o"), "--songs", "1"]
    assert main([*options, *listed, "--song_model_steps", "1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) >= 3 and "nowhere" in errors[0] and "--train" in errors[-1]


def test_a_song_model_is_trained_on_a_codecs_latents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands are those of the rooms; what they do is tested there."""
    called: list[tuple[str, ...]] = []

    def call(module: str, *arguments: str) -> None:
        called.append((module, *arguments))
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True)
        if module == "dit.prepare":
            LatentFacts(43.0, 8, "Test", std=0.5).write(out)
        else:
            (out / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "valid/true_0.8": 0.75}\n')

    monkeypatch.setattr(codecs, "_call", call)
    songs = tmp_path / "songs.jsonl"
    manifest.write(
        songs, [SongRecord(str(n), "test", "CC0", "test", 1.0, audio=f"audio/{n}.flac") for n in range(9)]
    )
    settings = Settings(
        {"mine": str(tmp_path)}, train=str(songs), valid=str(songs), chinmu=str(tmp_path),
        song_model_steps=2, song_model_songs=3, out=str(tmp_path / "out"),
    )  # fmt: skip
    assert codecs.song_loss(settings, "mine") == 3.0  # the loss by the variance
    assert [c[0] for c in called] == ["dit.prepare", "dit.prepare", "dit.train"]
    asked = parse(TrainConfig, called[-1][1:])  # a model that can be built
    SongTransformer.named(asked.model.size, **asked.model.overrides)
    kept = manifest.read(tmp_path / "out/mine/train.jsonl")  # which refuses paths that lead outside
    assert [r.audio for r in kept] == [f"audio/{n}.flac" for n in range(3)]
    for record in kept:
        link = tmp_path / "out/mine" / str(record.audio)
        assert link.is_symlink() and link.resolve() == (tmp_path / str(record.audio)).resolve()


def test_one_song_has_no_interval():
    nan = float("nan")
    row = codecs.table({"codec": {"pitch": Estimate(0.5, nan, nan, 1)}}, {}).splitlines()[2]
    assert "nan" not in row and "0.50 (one song)" in row
