"""Encoders from their real file formats with random weights, windows, the cache, and what is refused."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_models import encodec, laion, mert, msclap

from common.audio import Audio, write_audio
from common.errors import AudioError, CheckpointError, RequestError
from eval import clap, embeddings, encoders
from eval.embeddings import (
    audio_files,
    covering,
    embed_files,
    every,
    locate,
    pairwise_cosine,
    refuse_collapsed,
)


def sound(seconds: float, seed: int = 0, rate: int = 22050) -> Audio:
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(100, 800)
    tone = np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    return Audio((0.3 * tone + 0.05 * rng.standard_normal(len(tone)))[None].astype(np.float32), rate)


# ---- formats -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def test_an_official_laion_checkpoint_is_the_same_model_as_its_folder(folder: Path):
    plain, official = (clap.LaionClap(p, "cpu") for p in laion(folder))
    heard, wanted = official.embed(sound(2.5)), plain.embed(sound(2.5))
    assert heard.shape == (3, 24) and official.dimensions == 24  # a window begins every second
    np.testing.assert_allclose(heard, wanted, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(heard, axis=1), 1, atol=1e-6)
    texts = ["A QUIET SONG", "NOISE!"]
    np.testing.assert_allclose(official.embed_text(texts), plain.embed_text(texts), atol=1e-6)
    assert abs(pairwise_cosine(official.embed_text(texts))) < 0.999
    assert official.digest != plain.digest


def test_a_long_text_is_cut_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture):
    encoder = clap.LaionClap(folder / "official", "cpu")
    caplog.clear()
    long = encoder.embed_text(["A" * 100])
    assert "first 77 tokens" in caplog.text
    np.testing.assert_allclose(long, encoder.embed_text(["A" * 77]), atol=1e-6)


def test_msclap_hears_the_mel_of_its_own_checkpoint(folder: Path):
    path = msclap(folder)
    encoder = clap.MsClap(path, "cpu")
    rows = encoder.embed(sound(2.5))
    assert rows.shape == (3, 20) and encoder.dimensions == 20
    assert rows.std() > 0.1 and np.abs(np.linalg.norm(rows, axis=1) - 1).max() > 0.1  # not normalised
    with pytest.raises(RequestError, match="reads no text"):
        encoder.embed_text(["a"])
    kept = torch.load(path, weights_only=True)["model"]
    kept.pop("audio_encoder.base.htsat.norm.weight")
    torch.save({"model": kept}, folder / "broken.pth")
    with pytest.raises(CheckpointError, match="lacks 1 tensors, such as audio_encoder"):
        clap.MsClap(folder / "broken.pth", "cpu")
    (folder / "text.pth").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match="can't be read"):
        clap.MsClap(folder / "text.pth", "cpu")


def test_mert_is_hubert_with_its_own_names(folder: Path):
    from transformers import HubertModel

    path = mert(folder / "mert")
    encoder = encoders.Mert(path, "cpu")
    audio = sound(1.0, rate=24000)
    samples = audio.samples[0]
    standard = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))[None]
    with torch.no_grad():
        wanted = HubertModel.from_pretrained(path / "hubert").eval()(standard).last_hidden_state[0]
    np.testing.assert_allclose(encoder.embed(audio), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "flag", [{"feature_extractor_cqt": True}, {"deepnorm": True}, {"attention_relax": 32.0}]
)
def test_a_mert_that_is_no_hubert_is_refused(folder: Path, flag: dict[str, object]):
    with pytest.raises(CheckpointError, match=next(iter(flag))):
        encoders.Mert(mert(folder / f"mert-{next(iter(flag))}", **flag), "cpu")


def test_encodec_gives_its_latents_before_quantisation(folder: Path):
    encoder = encoders.Encodec(encodec(folder / "encodec"), "cpu")
    audio = sound(1.0, rate=24000)
    with torch.no_grad():
        wanted = encoder.model.encoder(torch.from_numpy(audio.samples)[None])[0].T
    assert encoder.embed(audio).shape == (75, 16)
    np.testing.assert_allclose(encoder.embed(audio), wanted.numpy(), atol=1e-6)
    stereo = encodec(folder / "encodec48", audio_channels=2)
    with pytest.raises(CheckpointError, match="24 kHz mono"):
        encoders.Encodec(stereo, "cpu")


def test_the_longest_that_an_encoder_takes_is_said(caplog: pytest.LogCaptureFixture):
    kept = encoders.capped(np.zeros(130), 1, 2, "encodec")
    assert len(kept) == 120 and "first 2 of 2.2 minutes" in caplog.text


@pytest.mark.parametrize("name", ["corpus", "chinmu"])
def test_what_is_bundled_loads_and_tells_sounds_apart(name: str):
    encoder = embeddings.load(name, device="cpu")
    rows = encoder.embed(sound(17))
    assert rows.shape[1] == encoder.dimensions and len(rows) >= 2
    np.testing.assert_array_equal(rows, encoder.embed(sound(17)))


# ---- windows -------------------------------------------------------------------------------


def test_windows_cover_a_song():
    samples = np.arange(25, dtype=np.float32)
    assert [w.tolist()[0] for w in every(samples, 10, 5)] == [0, 5, 10, 15, 20]
    assert all(len(w) == 10 for w in every(samples, 10, 5)) and list(every(samples, 10, 5))[-1][5:].sum() == 0
    covered = list(covering(samples, 10, 5))
    assert all(len(w) == 10 for w in covered) and set(np.concatenate(covered)) == set(samples)
    uneven = list(covering(samples[:23], 10, 5))
    assert uneven[-1][-1] == 22
    assert [len(w) for w in covering(samples[:4], 10, 5)] == [4]


# ---- collapse and absence ------------------------------------------------------------------


class Same:
    """An encoder that says nearly the same of everything."""

    name, sample_rate, dimensions, convention, digest, contrastive = "same", 8000, 4, "all", "0", True

    def embed(self, audio: Audio) -> np.ndarray:
        return np.ones((2, 4)) + 0.05 * audio.samples[0, 7:11]

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 4))


def test_a_collapsed_encoder_is_refused():
    with pytest.raises(CheckpointError, match=r"unrelated sounds have a mean cosine of (0.99|1.00)"):
        refuse_collapsed(Same())
    encoder = Same()
    rng = np.random.default_rng(0)
    encoder.embed = lambda audio: rng.standard_normal((2, 4))  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match=r"unrelated texts have a mean cosine of 1.000"):
        refuse_collapsed(encoder)


def test_absent_weights_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BAIHUA_WEIGHTS", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"put the folder of m-a-p/MERT-v1-95M at .*mert, or give --weights.mert"
    ):
        locate("mert")
    with pytest.raises(CheckpointError, match=r"CLAP_weights_2023\.pth"):
        locate("ms-clap")
    with pytest.raises(RequestError, match="no encoder 'vggish'"):
        locate("vggish")
    (tmp_path / "mert").mkdir()
    assert locate("mert") == tmp_path / "mert"
    assert embeddings.available("corpus") and not embeddings.available("encodec")
    with pytest.raises(CheckpointError, match=r"no weights for corpus"):
        locate("corpus", tmp_path / "nothing")


# ---- cache ---------------------------------------------------------------------------------


class Counting(Same):
    """Counts what it has to hear."""

    heard = 0

    def embed(self, audio: Audio) -> np.ndarray:
        self.heard += 1
        return audio.samples[0, :8].reshape(2, 4)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    (tmp_path / "songs").mkdir()
    for number in range(3):
        write_audio(tmp_path / f"songs/{number}.wav", sound(0.2, number))
    return tmp_path / "songs"


def test_songs_are_heard_once_and_a_changed_file_again(music: Path, tmp_path: Path):
    encoder, cache = Counting(), tmp_path / "cache"
    first = embed_files(encoder, audio_files(music), cache)
    assert encoder.heard == 3 and first.names == ("0", "1", "2")
    again = embed_files(encoder, audio_files(music), cache)
    assert encoder.heard == 3
    np.testing.assert_array_equal(again.means(), first.means())
    (music / "0.wav").rename(music / "9.wav")  # the same sound under another name
    write_audio(music / "1.wav", sound(0.2, 7))
    changed = embed_files(encoder, audio_files(music), cache)
    assert encoder.heard == 4 and changed.names == ("1", "2", "9")
    np.testing.assert_array_equal(changed.rows(2), first.rows(0))
    encoder.digest = "1"
    embed_files(encoder, audio_files(music), cache)
    assert encoder.heard == 7


def test_a_corrupt_file_is_named_and_left_out_only_when_asked(music: Path, tmp_path: Path):
    (music / "1.wav").write_bytes(b"RIFFno audio at all")
    with pytest.raises(AudioError, match=r"1 of 3 files can't be heard: .*1\.wav"):
        embed_files(Counting(), audio_files(music), tmp_path / "cache")
    found = embed_files(Counting(), audio_files(music), tmp_path / "cache", allow_missing=True)
    assert found.names == ("0", "2") and list(found.missing) == [str(music / "1.wav")]
    for name in ("0", "2"):
        (music / f"{name}.wav").unlink()
    with pytest.raises(AudioError, match="no file could be heard"):
        embed_files(Counting(), audio_files(music), tmp_path / "cache", allow_missing=True)


def test_corrupt_files_of_one_content_are_each_called_by_their_own_name(music: Path, tmp_path: Path):
    for name in ("1", "2"):
        (music / f"{name}.wav").write_bytes(b"RIFFno audio at all")
    found = embed_files(Counting(), audio_files(music), tmp_path / "cache", allow_missing=True)
    assert len(found.missing) == 2
    for file, reason in found.missing.items():
        other = ({str(music / "1.wav"), str(music / "2.wav")} - {file}).pop()
        assert file in reason and other not in reason and "<path>" not in reason


def test_a_reason_without_a_path_gets_one(music: Path, tmp_path: Path):
    encoder = Counting()
    encoder.embed = lambda audio: (_ for _ in ()).throw(AudioError("too short"))  # type: ignore[method-assign]
    with pytest.raises(AudioError, match=r"3 of 3 .*0\.wav: too short; .*1\.wav: too short"):
        embed_files(encoder, audio_files(music), tmp_path / "cache")


def test_folders_without_songs_are_told_apart(tmp_path: Path):
    with pytest.raises(RequestError, match="there is no folder"):
        audio_files(tmp_path / "nothing")
    with pytest.raises(RequestError, match="holds no audio"):
        audio_files(tmp_path)
    for suffix in ("wav", "flac"):
        write_audio(tmp_path / f"a.{suffix}", sound(0.2))
    with pytest.raises(RequestError, match="'a' twice"):
        audio_files(tmp_path)


def _half(songs: str, cache: str) -> None:
    """What each of two processes does."""
    embed_files(Counting(), audio_files(songs), cache)


def test_two_processes_share_the_work(music: Path, tmp_path: Path):
    from accelerate import PartialState, debug_launcher
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    debug_launcher(_half, (str(music), str(tmp_path / "cache")), num_processes=2)
    PartialState._reset_state()
    encoder = Counting()
    assert len(embed_files(encoder, audio_files(music), tmp_path / "cache")) == 3 and encoder.heard == 0


class Slow(Counting):
    """Takes its time, so that it can be killed."""

    def embed(self, audio: Audio) -> np.ndarray:
        time.sleep(0.05)
        return super().embed(audio)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path):
    (tmp_path / "songs").mkdir()
    for number in range(30):
        write_audio(tmp_path / f"songs/{number:02}.wav", sound(0.2, number))
    files = audio_files(tmp_path / "songs")
    process = multiprocessing.get_context("fork").Process(
        target=embed_files, args=(Slow(), files, tmp_path / "cache")
    )
    process.start()
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("cache/*/[!.]*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    kept = len(list(tmp_path.glob("cache/*/[!.]*.npy")))
    assert 3 <= kept < 30
    encoder = Counting()
    assert len(embed_files(encoder, files, tmp_path / "cache")) == 30
    assert encoder.heard == 30 - kept


def test_the_command_ends_a_wrong_input_with_one_sentence(tmp_path: Path):
    command = [sys.executable, "-m", "eval.embeddings", "--songs", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: there is no folder")
    assert json.dumps(done.stderr).count("\\n") == 1
