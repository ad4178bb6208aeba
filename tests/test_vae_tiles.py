"""Tile by tile is the same as at once, for latents, sound, files and the limiter."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from common.audio import Audio, read_audio, resample, write_audio
from common.errors import AudioError
from common.loudness import limit, true_peak
from vae import decode, encode, roundtrip, stream
from vae.latents import Latents, decode_audio, encode_audio, encode_blocks, read_latents, write_latents
from vae.load import fingerprint, load
from vae.model import EarVAE
from vae.spectral import SpectralVAE
from vae.tiles import blocks_of, encode_tiles

RATE = 44100


def ear(depth: int = 0, seed: int = 0) -> EarVAE:
    """Strides as published, an odd one included, and a transformer that does something."""
    torch.manual_seed(seed)
    model = EarVAE(
        channels=4, multipliers=(1, 2, 2), strides=(2, 5, 4), latent_dim=8, transformer_depth=depth
    )
    for name, parameter in model.named_parameters():
        if name.startswith("transformers.") and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def spectral() -> SpectralVAE:
    torch.manual_seed(0)
    model = SpectralVAE(latent_dim=16, width=8, depth=1, expansion=1, iterations=4)
    model.calibrate([noise(20000, seed) for seed in range(12)])
    return model.eval()


def noise(length: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))


# ---- receptive fields ------------------------------------------------------------------------


def test_contexts_of_the_published_models() -> None:
    with torch.device("meta"):
        model = EarVAE.named("paper")
    assert (model.encode_context, model.decode_context) == (9, 11)


def test_nothing_beyond_the_context_is_seen() -> None:
    model = ear()
    hop, wide = model.hop_length, model.decode_context
    latents = torch.zeros(1, 8, 2 * wide + 3)
    near, far = latents.clone(), latents.clone()
    near[..., 1], far[..., 0] = 1.0, 1.0
    tile = slice((wide + 1) * hop, (wide + 2) * hop)
    with torch.inference_mode():
        plain = model.decode(latents)[..., tile]
        assert torch.equal(model.decode(far)[..., tile], plain)
        assert not torch.equal(model.decode(near)[..., tile], plain)
        wide = model.encode_context
        wav = torch.zeros(1, 2, (2 * wide + 1) * hop)
        plain = model.encode(wav).mode()[..., wide]
        wav[..., -1] = 1.0
        assert torch.equal(model.encode(torch.nn.functional.pad(wav, (hop, 0))).mode()[..., wide], plain)


# ---- tiles -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(
    length=st.integers(1, 2500), tile=st.integers(1, 20), block=st.integers(1, 3000), depth=st.integers(0, 1)
)
def test_tiles_equal_the_whole(length: int, tile: int, block: int, depth: int) -> None:
    model, wav = ear(depth), noise(length)
    with torch.inference_mode():
        whole = model.encode(wav[None])
        parts = list(encode_tiles(model, blocks_of(wav, block), tile))
        for name in ("mean", "std"):
            joined = torch.cat([getattr(p, name) for p in parts], dim=2)
            torch.testing.assert_close(joined, getattr(whole, name), atol=1e-5, rtol=0)
        assert all(p.mean.shape[2] <= tile for p in parts)
        copy = torch.cat(list(model.decode_tiles(whole.mean, tile)), dim=2)
        torch.testing.assert_close(copy, model.decode(whole.mean), atol=1e-5, rtol=0)


def test_a_spectral_codec_in_tiles(spectral: SpectralVAE) -> None:
    wav = noise(45000)
    whole = spectral.encode(wav[None]).mode()
    parts = [p.mode() for p in encode_tiles(spectral, blocks_of(wav, 5000), 7)]
    torch.testing.assert_close(torch.cat(parts, 2), whole, atol=1e-5, rtol=0)
    assert torch.equal(torch.cat(list(spectral.decode_tiles(whole)), 2), spectral.decode(whole))


def test_no_layer_ever_sees_more_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = ear(1), []
    for part in (model.encoder, model.decoder):
        part.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
    latents = encode_blocks(model, blocks_of(noise(400_000), 1000))
    decode_audio(model, latents)
    hop, tile = model.hop_length, 256
    encoded = [n for n in seen if n % hop == 0 and n >= hop * tile]
    assert len(latents.values[0]) == 10_000
    assert max(seen) <= (tile + 2 * model.encode_context) * hop
    assert len(encoded) > 35
    assert max(n for n in seen if n < 400) <= tile + 2 * model.decode_context


def test_nothing_is_refused() -> None:
    with pytest.raises(AudioError, match="time ≥ 1"):
        list(encode_tiles(ear(), []))
    with pytest.raises(AudioError, match="no samples"):
        encode_blocks(ear(), [torch.zeros(2, 0)])


# ---- whose latents ---------------------------------------------------------------------------


def test_fingerprint_follows_the_encoder() -> None:
    model = ear()
    name = fingerprint(model)
    assert name == fingerprint(ear()) != fingerprint(ear(seed=1))
    with torch.no_grad():
        model.decoder.layers[0].weight_v.mul_(2)
    assert fingerprint(model) == name
    assert fingerprint(ear().to(torch.bfloat16)) == name
    with torch.no_grad():
        model.encoder.layers[0].weight_g.mul_(2)
    assert fingerprint(model) != name


def test_fingerprint_follows_what_is_heard() -> None:
    def name(**changes: Any) -> str:
        """Of a codec with always the same weights, of 171 features."""
        torch.manual_seed(0)
        return fingerprint(SpectralVAE(**({"latent_dim": 4, "width": 4, "depth": 0} | changes)))

    assert len({name(), name(floor=0.3), name(n_mels=38, n_width=10)}) == 3
    assert name() == name(floor=0.03, n_mels=40, n_width=8, iterations=3, posterior_std=0.3)


def test_fingerprints_stay_what_they_were() -> None:
    """Latents on disk carry them."""
    bundled = load(Path(__file__).parents[1] / "app/models/demo/vae")
    assert fingerprint(bundled) == "aed3b22ae28e881e"
    model = ear()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    assert fingerprint(model) == "f1e8a6091ee09add"
    model.scale = 2.0
    assert fingerprint(model) != "f1e8a6091ee09add"


def test_latents_of_another_codec_are_refused(tmp_path: Path) -> None:
    wav = Audio(noise(3000).numpy(), RATE)
    write_latents(tmp_path / "a.safetensors", encode_audio(ear(), wav))
    latents = read_latents(tmp_path / "a.safetensors")
    assert latents.hop_length == 40
    assert decode_audio(ear(), latents).samples.shape == (2, 3000)
    with pytest.raises(AudioError, match="made by the codec"):
        decode_audio(ear(seed=1), latents)
    with pytest.raises(AudioError, match="3000 samples have 75 frames of latents, but 70 came"):
        decode_audio(ear(), Latents(latents.values[:, :70], 3000, RATE, latents.hop_length, latents.codec))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_latents_of_another_width_become_float32(kind: torch.dtype, tmp_path: Path) -> None:
    latents = encode_audio(ear(), Audio(noise(3000).numpy(), RATE))
    values = torch.from_numpy(latents.values).to(kind)
    latent_file(tmp_path / "a.safetensors", values)
    read = read_latents(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read.values, values.float().numpy())
    assert read.values.dtype == np.float32 and decode_audio(ear(), read).samples.shape == (2, 3000)


def latent_file(path: Path, values: torch.Tensor, **header: object) -> None:
    """What `write_latents` writes of 3000 samples, but for what is given."""
    facts = {"length": 3000, "sample_rate": RATE, "hop_length": 40, "codec": fingerprint(ear())} | header
    save_file({"latents": values}, path, {name: str(value) for name, value in facts.items()})


@pytest.mark.parametrize(
    ("values", "header", "told"),
    [
        (torch.tensor(1.0), {}, r"but these have \(\)"),
        (torch.zeros(8), {}, r"but these have \(8,\)"),
        (torch.zeros(8, 0), {"length": 0}, r"but these have \(8, 0\)"),
        (torch.zeros(8, 75), {"length": 0}, "of one sample at least, but these are of 0"),
        (torch.zeros(8, 75), {"length": "long"}, "invalid literal"),
        (torch.zeros(8, 75, dtype=torch.int32), {}, "int32"),
        (torch.full((8, 75), torch.nan), {}, "NaN"),
    ],
)
def test_odd_files_of_latents_are_named(
    values: torch.Tensor, header: dict[str, object], told: str, tmp_path: Path
) -> None:
    latent_file(tmp_path / "a.safetensors", values, **header)
    with pytest.raises(AudioError, match=rf"a\.safetensors isn't a file of latents.*{told}"):
        read_latents(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hop_length": 1024}, "has 40 samples, but one of the latents has 1024"),
        ({"length": 0, "values": np.zeros((8, 0), np.float32)}, "shape"),
        ({"length": -1}, "of one sample at least"),
        ({"values": np.float32(1)}, "shape"),
    ],
)
def test_odd_latents_are_refused(wrong: dict[str, Any], told: str) -> None:
    latents = encode_audio(ear(), Audio(noise(3000).numpy(), RATE))
    with pytest.raises(AudioError, match=told):
        decode_audio(ear(), replace(latents, **wrong))


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", None), ("mp3", None), ("ogg", "OPUS"), ("ogg", "VORBIS")]
)
def test_formats_are_read_in_blocks(suffix: str, subtype: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(48000 * 4).T.numpy(), 48000, subtype=subtype)
    expected = resample(read_audio(path), RATE)
    found = torch.cat(list(stream.read_blocks(path, RATE)), dim=1).numpy()
    assert found.shape == expected.samples.shape
    np.testing.assert_allclose(found, expected.samples, atol=2e-4)


def test_a_file_that_is_cut_off_ends_where_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(RATE * 4).T.numpy(), RATE)
    list(stream.read_blocks(path, RATE))
    assert not caplog.records, "a whole file is no news"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert stream.duration(path) > 3.9, "its header knows nothing of it"
    found = torch.cat(list(stream.read_blocks(path, RATE)), dim=1).numpy()
    np.testing.assert_array_equal(found, read_audio(path).samples)
    assert found.shape[1] < 2.2 * RATE
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "a.mp3 is cut short" in told and "of the 4.0 s in its header" in told


def test_mono_and_rate_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_audio(tmp_path / "a.wav", Audio(noise(22050)[:1].numpy(), 22050))
    with caplog.at_level(logging.INFO):
        wav = torch.cat(list(stream.read_blocks(tmp_path / "a.wav", RATE)), dim=1)
    assert "resampled from 22050 to 44100 Hz" in caplog.text and "mono becomes two" in caplog.text
    assert torch.equal(wav[0], wav[1])
    with caplog.at_level(logging.INFO):
        encode_audio(ear(), Audio(noise(500)[:1].numpy(), RATE))
    assert caplog.text.count("mono becomes two") == 2


@pytest.mark.parametrize("rate", [16000, RATE, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2])
def test_one_sample_is_a_sound(rate: int, channels: int, tmp_path: Path) -> None:
    path, sound = tmp_path / "one.wav", np.full((1, channels), 0.5)
    soundfile.write(path, sound, rate, subtype="FLOAT")
    expected = resample(Audio(sound.T, rate), RATE).samples
    found = torch.cat(list(stream.read_blocks(path, RATE)), dim=1).numpy()
    np.testing.assert_allclose(found, np.broadcast_to(expected, (2, expected.shape[1])), atol=1e-4)
    latents = encode_blocks(ear(), stream.read_blocks(path, RATE))
    assert latents.length == expected.shape[1] >= 1 and latents.values.shape == (8, 1)
    assert encode_audio(ear(), Audio(sound.T, rate)).values.shape == (8, 1)


def test_files_that_are_no_sound_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no")
    soundfile.write(tmp_path / "six.wav", np.zeros((9, 6)), RATE)
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full((9, 2), np.nan), RATE, subtype="FLOAT")
    for name, match in {
        "gone.wav": "no audio file",
        "text.wav": "text.wav can't be read",
        "six.wav": "6 channels",
        "none.wav": "no samples",
        "nan.wav": "NaN",
    }.items():
        with pytest.raises(AudioError, match=match):
            list(stream.read_blocks(tmp_path / name, RATE))


def test_the_limiter_in_pieces_is_the_limiter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PIECE", 1.5)
    rate = 8000
    loud = noise(rate * 8)
    loud[:, ::3001] = 1.6
    whole = limit(Audio(loud.numpy(), rate)).samples
    parts = list(stream.limited(blocks_of(loud, 1000), rate))
    found = torch.cat(parts, dim=1).numpy()
    assert len(parts) >= 4 and found.shape == whole.shape
    np.testing.assert_allclose(found, whole, atol=4e-3)
    assert true_peak(Audio(found, rate)) <= -1 + 0.02
    quiet = loud.clamp(-0.3, 0.3)
    assert torch.equal(torch.cat(list(stream.limited(blocks_of(quiet, 777), rate)), dim=1), quiet)


def test_a_written_file_is_rounded_and_whole(tmp_path: Path) -> None:
    wav = noise(5000).clamp(-1, 1)
    assert stream.write_blocks(tmp_path / "a.flac", blocks_of(wav, 999), RATE) == 5000
    assert np.abs(read_audio(tmp_path / "a.flac").samples - wav.numpy()).max() <= 0.5 / 32768 + 1e-7
    with pytest.raises(AudioError, match="full scale"):
        stream.write_blocks(tmp_path / "b.flac", [wav, 9 * wav], RATE)
    with pytest.raises(AudioError, match="one of"):
        stream.write_blocks(tmp_path / "b.mp3", [wav], RATE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]


def test_a_suffix_that_cannot_be_written_is_refused_first() -> None:
    with pytest.raises(AudioError, match=r"copy\.mp3: write audio as one of"):
        roundtrip.main(["--model", "no such model", "no such song.flac", "copy.mp3"])


def test_commands_convert_and_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ear().save_pretrained(tmp_path / "model")
    ear(seed=1).save_pretrained(tmp_path / "other")
    write_audio(tmp_path / "mono.wav", Audio(noise(24000)[:1].numpy(), 48000))
    encode.main(["--model", str(tmp_path / "model"), str(tmp_path / "mono.wav"), str(tmp_path / "out")])
    command = [str(tmp_path / "out/mono.safetensors"), str(tmp_path / "sound")]
    decode.main(["--model", str(tmp_path / "model"), *command])
    assert read_audio(tmp_path / "sound/mono.flac").samples.shape == (2, 22050)
    with pytest.raises(AudioError, match="the codec that made them"):
        decode.main(["--model", str(tmp_path / "other"), *command])
    with pytest.raises(AudioError, match="named mono"):
        encode.main(["--model", "x", "a/mono.wav", "b/mono.flac", str(tmp_path)])


def test_the_bundled_codec_serves_where_none_is_named(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(np.zeros((2, 900), np.float32), 44100))
    encode.main([str(tmp_path / "a.wav"), str(tmp_path / "latents")])
    decode.main([str(tmp_path / "latents/a.safetensors"), str(tmp_path / "sound")])
    assert read_audio(tmp_path / "sound/a.flac").samples.shape == (2, 900)
