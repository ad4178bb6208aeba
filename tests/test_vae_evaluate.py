"""Figures on closed forms, and the commands on files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from common.audio import Audio, read_audio, write_audio
from common.errors import AudioError
from corpus import manifest
from corpus.record import SongRecord, TimedLine, TimedSyllable
from vae import decode, encode, evaluate, measures, roundtrip
from vae.latents import Latents, decode_audio, read_latents, write_latents
from vae.load import load
from vae.measures import SungNote
from vae.model import EarVAE, SnakeBeta
from vae.snake import Fused
from vae.spectral import SpectralVAE

RATE = 44100


def noise(seed: int = 0, length: int = RATE) -> torch.Tensor:
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))


def voice(notes: list[SungNote], seconds: float) -> torch.Tensor:
    """Ten harmonics on each note, with a bass below."""
    time = torch.arange(int(seconds * RATE)) / RATE
    wav = 0.1 * torch.sin(2 * math.pi * 98 * time)
    for note in notes:
        frequency = 440 * 2 ** ((note.pitch - 69) / 12)
        inside = ((time >= note.start) & (time < note.end)).float()
        wav += inside * sum(0.1 / h * torch.sin(2 * math.pi * frequency * h * time) for h in range(1, 11))
    return wav.expand(2, -1)


NOTES = [SungNote(0.5 * i, 0.5 * i + 0.45, pitch) for i, pitch in enumerate([60, 67, 64, 71])]


def test_equal_signals() -> None:
    wav = noise()
    assert measures.stft_distance(wav, wav) == 0
    assert measures.spectral_convergence(wav, wav) == 0
    assert measures.si_sdr(wav, wav) > 100


def test_gain_costs_its_share_and_its_logarithm() -> None:
    wav = noise()
    assert measures.stft_distance(wav, 2 * wav) == pytest.approx(1 + math.log(2), abs=1e-3)
    assert measures.spectral_convergence(wav, 0.5 * wav) == pytest.approx(0.5, abs=1e-5)


def test_si_sdr_of_added_noise_is_its_ratio() -> None:
    assert measures.si_sdr(noise(0), noise(0) + 0.1 * noise(1)) == pytest.approx(20, abs=0.2)


def test_silence_has_no_figure() -> None:
    silence = torch.zeros(2, RATE)
    found = [
        measures.si_sdr(silence, noise()),
        measures.stft_distance(silence, noise()),
        measures.crest(silence),
    ]
    assert all(math.isnan(value) for value in found)


def test_crest_of_a_sine_is_three_decibels() -> None:
    wav = torch.sin(2 * math.pi * 441 * torch.arange(RATE) / RATE).expand(2, -1)
    assert measures.crest(wav) == pytest.approx(3.01, abs=0.01)


def test_smoothness_is_the_lag_one_correlation() -> None:
    slow = torch.cumsum(torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)), dim=1)
    assert measures.smoothness(slow) > 0.99
    assert abs(measures.smoothness(torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)))) < 0.03


def test_melody_is_heard_above_a_bass() -> None:
    found, chance = measures.melody(voice(NOTES, 2.0), NOTES, RATE)
    assert (found, chance) == (1.0, 0.25)


def test_wrong_octave_and_wrong_notes_are_misses() -> None:
    sung = [SungNote(n.start, n.end, n.pitch + 12) for n in NOTES]
    assert measures.melody(voice(NOTES, 2.0), sung, RATE)[0] == 0


def test_no_note_no_figure() -> None:
    assert math.isnan(measures.melody(noise(), [], RATE)[0])


def test_interval_holds_the_mean_and_counts_songs() -> None:
    figure = evaluate.figure([1.0, 2.0, 3.0, math.nan])
    assert figure is not None
    assert (figure.value, figure.count) == (2.0, 3)
    assert 1.0 <= figure.low < 2.0 < figure.high <= 3.0
    assert evaluate.figure([math.nan]) is None


def test_baseline_keeps_levels() -> None:
    wav = noise()
    copy = evaluate.mel_baseline(wav, RATE, iterations=2)
    assert copy.shape == wav.shape
    assert copy.norm().item() == pytest.approx(wav.norm().item(), rel=0.35)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny codec, a song and its manifest."""
    folder = tmp_path_factory.mktemp("codec")
    torch.manual_seed(0)
    EarVAE.named("tiny").save_pretrained(folder / "model")
    write_audio(folder / "song.wav", Audio(voice(NOTES, 2.0).numpy().copy(), RATE))
    syllables = tuple(TimedSyllable("啦", n.start, n.end, "la1", int(n.pitch)) for n in NOTES)
    line = TimedLine("啦啦啦啦", 0.0, 2.0, syllables)
    record = SongRecord("a", "test", "CC0", "test", 2.0, audio="song.wav", timing=(line,))
    manifest.write(folder / "manifest.jsonl", [record])
    return folder


def test_figures_of_a_manifest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main(
        ["--model", str(folder / "model"), "--manifest", str(folder / "manifest.jsonl"),
         "--out", str(folder / "figures.json")]
    )  # fmt: skip
    printed = capsys.readouterr().out
    report = json.loads((folder / "figures.json").read_text())
    assert (report["codec"]["melody_original"]["value"], report["codec"]["melody_original"]["count"]) == (
        1,
        1,
    )
    assert all(f"| {name} |" in printed for name in report["codec"])


def test_files_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(folder / "model")]
    encode.main([*model, str(folder / "song.wav"), str(folder / "latents")])
    assert read_latents(folder / "latents/song.safetensors").values.shape == (8, 690)
    decode.main([*model, str(folder / "latents/song.safetensors"), str(folder / "sound")])
    roundtrip.main([*model, str(folder / "song.wav"), str(folder / "copy.flac")])
    first, second = read_audio(folder / "sound/song.flac"), read_audio(folder / "copy.flac")
    assert first.samples.shape == (2, 2 * RATE)
    np.testing.assert_array_equal(first.samples, second.samples)
    assert "times as fast" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")  # torch's compiler itself uses what torch warns of
def test_compiled_files_sound_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        files = [str(folder / "song.wav"), str(folder / f"{name}.wav")]
        roundtrip.main(["--model", str(folder / "model"), *more, *files])
    plain, compiled = (read_audio(folder / f"{name}.wav").samples for name in ("plain", "compiled"))
    np.testing.assert_allclose(compiled, plain, atol=1e-4)
    codec = load(folder / "model")
    encode.compile_layers(codec)
    layers = [m for m in codec.modules() if isinstance(m, SnakeBeta)]
    assert layers and all(isinstance(layer.fused, Fused) for layer in layers)
    assert "has no layers that are compiled" not in caplog.text
    encode.compile_layers(SpectralVAE(width=8, depth=1))
    assert "a SpectralVAE has no layers that are compiled" in caplog.text


def test_latents_of_another_codec_are_refused(folder: Path, tmp_path: Path) -> None:
    write_latents(tmp_path / "a.safetensors", Latents(np.zeros((3, 5), np.float32), 100, RATE, 128, "x"))
    with pytest.raises(AudioError, match="the latents have 3"):
        decode_audio(EarVAE.named("tiny"), read_latents(tmp_path / "a.safetensors"))


def test_other_files_are_not_latents(folder: Path) -> None:
    with pytest.raises(AudioError, match="latents"):
        read_latents(folder / "song.wav")
    with pytest.raises(AudioError, match="latents"):
        read_latents(folder / "gone.safetensors")
