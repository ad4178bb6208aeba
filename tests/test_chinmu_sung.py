"""What is sung, as ChinMu's tower hears it: labels of frames, the recogniser, and its training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from processes import in_two
from tiny_encoder import encoder

from chinmu import train
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.data import DataConfig, Pairs, cache, pieces
from chinmu.model import ChinMu, build
from chinmu.prototypes import of_song
from chinmu.sung import STRIDE, Words, phones, spelling, syllables
from chinmu.telling import TellConfig
from chinmu.text import character_tokenizer
from common.description import Audience, Description
from common.errors import ConfigError
from common.phones import BLANK, SPELLINGS, TOKENS, spell
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord, TimedLine, TimedSyllable
from corpus.sung import LEAD, UNKNOWN

AUDIO = AudioConfig(window=2.0, channels=(4, 4), width=16, depth=1, heads=2, sung=8)
MODEL = ModelConfig(audio=AUDIO, text=TextConfig(encoder=encoder(), longest=64, dropout=0.0))
TIMES = (TimedSyllable("妈", 0.5, 1.0, "ma1"), TimedSyllable("爸", 1.1, 1.6, "ba4"))
LINE = TimedLine("妈爸", 0.5, 1.6, TIMES)

RATE = AUDIO.sample_rate / AUDIO.hop_length


def record(number: int, **changes) -> SongRecord:
    name = f"song-{number}"
    values = SongRecord(name, "test", "CC0-1.0", "train", 3.0, audio=f"{number}.wav", timing=(LINE,))
    return replace(values, **changes)


def tower(sung: int) -> ChinMu:
    torch.manual_seed(0)
    audio = replace(AUDIO, sung=sung)
    tokenizer = character_tokenizer(["慢歌快歌"], longest=64)
    return build(replace(MODEL, audio=audio), tokenizer).eval()


# ---- labels --------------------------------------------------------------------------------


def test_each_frame_has_the_phone_that_is_sung_in_it():
    known = phones(record(0), AUDIO, 129)
    times = np.arange(129) / RATE
    m, a = spell("ma")
    b, _ = spell("ba")
    assert (known[(times > 0.5 - LEAD + 0.03) & (times < 0.47)] == m).all()
    assert (known[(times > 0.53) & (times < 0.97)] == a).all()
    assert (known[(times > 1.03) & (times < 1.07)] == b).all()
    assert (known[(times > 1.63)] == BLANK).all() and (known[times < 0.37] == BLANK).all()


def test_what_nobody_knows_is_no_silence():
    assert (phones(record(0, timing=()), AUDIO, 40) == UNKNOWN).all()
    assert (phones(record(0, timing=(), singer="none"), AUDIO, 40) == BLANK).all()
    known = phones(record(0, timing=(TimedLine("妈爸", 0.5, 1.6),)), AUDIO, 129)
    times = np.arange(129) / RATE
    assert (known[(times > 0.55) & (times < 1.55)] == UNKNOWN).all() and (known[times > 1.65] == BLANK).all()


def test_a_theme_can_be_heard_where_somebody_sings():
    assert of_song(record(0, theme="月亮", singer="female"))["theme"] == {"月亮": 1.0}
    assert "theme" not in of_song(record(0, theme="月亮", singer="none"))


def test_crops_carry_their_phones(tmp_path: Path):
    """A blank spectrum in which each frame's first band is its number shows which frames came."""
    frames = np.zeros((AUDIO.n_bands, 129), np.float16)
    frames[0] = np.arange(129)
    file = tmp_path / "song.npy"
    np.save(file, frames)
    quiet = DataConfig(2, (1.0, 2.9), TellConfig(anew=False), 0, 0, 0, 0, workers=0)
    songs = Pairs([record(0), record(1)], [file, file], AUDIO, quiet, 0)
    whole = phones(record(0), AUDIO, 129)
    for seed in range(20):
        windows, sung = songs._crop(0, 1.0 + 0.09 * seed, generator(seed, "crop"))
        numbers = windows[:, 0, ::STRIDE].round().long()
        assert sung.shape == numbers.shape
        assert np.array_equal(sung.numpy(), whole[numbers.numpy()])
    np.save(file, frames[:, :50])
    short = phones(record(0), AUDIO, 50)
    windows, sung = songs._crop(1, 2.5, generator(0, "crop"))
    assert np.array_equal(sung.numpy()[0], np.resize(short, windows.shape[-1])[::STRIDE])


def test_a_syllable_is_as_likely_as_its_final_behind_its_initial():
    names = list(SPELLINGS)
    (m, a), (o,) = spell("ma"), spell("o")
    probabilities = torch.zeros(1, 8, len(TOKENS))
    probabilities[..., BLANK] = 1.0
    probabilities[0, 1, m], probabilities[0, 2, a], probabilities[0, 3, a] = 0.8, 0.9, 0.5
    found = syllables(probabilities)[0]
    assert found[2, names.index("ma")] == pytest.approx(0.8 * 0.9)
    assert found[3, names.index("ma")] == pytest.approx(0.8 * 0.5), "a long vowel still belongs to it"
    assert found[:, names.index("ba")].max() == 0 and found[0].max() == 0
    assert found[2, names.index("a")] == pytest.approx(0.2 * 0.9), "behind an initial it isn't alone"
    probabilities[0, 6, o] = 0.7
    assert syllables(probabilities)[0, 6, names.index("o")] == pytest.approx(0.7)
    probabilities[0, 7, o] = 0.7
    assert syllables(probabilities)[0, 7, names.index("o")] == pytest.approx(0.7 * 0.3), "it has begun before"


# ---- the recogniser ------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 37, 86])
def test_phones_come_at_half_the_rate(frames: int):
    words = Words(64, 8)
    logits, vectors = words(torch.randn(3, 64, frames))
    assert logits.shape == (3, -(-frames // STRIDE), len(TOKENS)) and vectors.shape == (3, words.out_features)
    assert torch.isfinite(vectors).all()


def test_a_recordings_equaliser_changes_nothing():
    words = Words(64, 8).eval()
    mel = torch.randn(1, 64, 80)
    for a, b in zip(words(mel), words(mel + torch.linspace(-1, 1, 64)[:, None])):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_error_of_phones_by_hand():
    logits = torch.randn(2, 3, len(TOKENS))
    known = torch.tensor([[5, BLANK, UNKNOWN], [7, UNKNOWN, UNKNOWN]])
    logits[0, 0, 5] = 50.0
    logits[1, 0, 8] = 50.0
    error, count, right = spelling(logits, known)
    by_hand = -logits.log_softmax(-1)
    expected = by_hand[0, 0, 5] + by_hand[0, 1, BLANK] + by_hand[1, 0, 7]
    assert float(error) == pytest.approx(float(expected), rel=1e-5)
    assert int(count) == 3 and right.tolist() == [1, 2]


def test_a_trained_model_learns_to_listen_and_says_the_same_at_first():
    deaf = tower(0)
    torch.manual_seed(1)
    grown = deaf.listening(8).eval()
    wav = torch.randn(2, 44100 * 3) * 0.1
    heard, before = grown.embed_audio(wav, 44100), deaf.embed_audio(wav, 44100)
    torch.testing.assert_close(heard, before, atol=1e-6, rtol=1e-5)
    assert torch.equal(grown.embed_text(["慢歌"]), deaf.embed_text(["慢歌"]))
    assert grown.audio_config.sung == 8 and deaf.audio_config.sung == 0


def test_a_listening_model_is_saved_and_read(tmp_path: Path):
    model = tower(8)
    model.save_pretrained(tmp_path)
    again = ChinMu.from_pretrained(tmp_path)
    wav = torch.randn(1, 44100 * 3) * 0.1
    assert torch.equal(again.embed_audio(wav, 44100), model.embed_audio(wav, 44100))


@pytest.mark.parametrize("changes", [{"sung": -1}, {"tower": "htsat", "n_chroma": 0, "sung": 8}])
def test_a_wrong_width_is_named(changes: dict):
    with pytest.raises(ConfigError, match="sung"):
        AudioConfig(**changes)


# ---- training ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight songs, of which half are sung at known times and one at times that nobody knows."""
    folder = tmp_path_factory.mktemp("songs")
    said = tuple(
        Description(text, Audience.AMATEUR, text, length)  # type: ignore[arg-type]
        for text, length in (
            ("慢歌", "word"),
            ("很慢的歌", "phrase"),
            ("一首慢歌,适合夜里听", "sentence"),
        )
    )
    songs = [record(n, descriptions=said, singer="male") for n in range(4)]
    songs += [record(n, descriptions=said, singer="none", timing=()) for n in range(4, 7)]
    songs.append(record(7, descriptions=said, timing=()))
    manifest.write(folder / "manifest.jsonl", songs)
    return folder / "manifest.jsonl"


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random features, the same for a song wherever it is asked for."""

    def features(records: list[SongRecord], root: Path, audio: AudioConfig, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        for r in records:
            values = generator(0, r.id).normal(size=(audio.n_bands, 129))
            np.save(folder / f"{r.id}.npy", values.astype(np.float16))
        return [folder / f"{r.id}.npy" for r in records]

    monkeypatch.setattr(train, "cache", features)


def config(corpus: Path, out: Path, batch_size: int = 8, **changes) -> train.TrainConfig:
    data = DataConfig(batch_size, (1.0, 2.9), TellConfig(anew=False, hidden=0.0), workers=0)
    values = train.TrainConfig(
        str(corpus), str(out), model=MODEL, data=data, warmup_steps=2, max_steps=3, log_steps=1, cpu=True,
        mixed_precision="no",
    )  # fmt: skip
    return replace(values, **changes)


def begun(settings: train.TrainConfig) -> tuple[train.State, Pairs]:
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    pairs = train._pairs([settings.manifest], settings, accelerator)
    return train.prepare(settings, accelerator, pairs), pairs


@pytest.mark.parametrize("chunk", [1, 3])
def test_cached_gradients_are_those_of_the_whole_batch(corpus: Path, tmp_path: Path, chunk: int):
    state, pairs = begun(config(corpus, tmp_path))
    batch = pairs[0]
    assert [len(p.sung) for p in pieces(batch, 3)] == [len(p.windows) for p in pieces(batch, 3)]
    state.model.train()
    plain = train.gradients(state, batch)
    expected = {k: p.grad.clone() for k, p in state.bare.named_parameters()}
    state.optimizer.zero_grad()
    assert train.cached_gradients(state, batch, chunk) == pytest.approx(plain, rel=1e-4)
    assert plain["loss/sung"] == pytest.approx(np.log(len(TOKENS)), rel=0.3)
    for name, parameter in state.bare.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-3, msg=name)
    assert float(expected["audio_tower.words.head.weight"].abs().max()) > 1e-4


def _train(settings: train.TrainConfig) -> None:
    train.train(settings)


def test_two_processes_hear_what_one_hears(corpus: Path, tmp_path: Path):
    def norms(folder: Path) -> list[float]:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [row["train/grad_norm"] for row in rows if "train/grad_norm" in row]

    train.train(config(corpus, tmp_path / "one"))
    in_two(_train, config(corpus, tmp_path / "two", batch_size=4))
    assert norms(tmp_path / "two") == pytest.approx(norms(tmp_path / "one"), rel=1e-3)


def test_phones_are_learned_and_reported(corpus: Path, tmp_path: Path):
    """Features that show the phone itself: a few steps tell them apart."""
    settings = config(
        corpus, tmp_path, valid=str(corpus), valid_batches=1, max_steps=80, lr=1e-2, ema_decay=0.9
    )
    state, pairs = begun(settings)
    clean = train._pairs([settings.manifest], settings, state.accelerator, held_out=True)
    for song, file in zip(pairs.records, pairs.files):
        shown = np.zeros((AUDIO.n_bands, 129), np.float16)
        shown[np.maximum(phones(song, AUDIO, 129), 0), np.arange(129)] = 3.0
        np.save(file, shown)
    before = train.validate(state, clean)["valid/phones"]
    for number in range(80):
        train.step(state, pairs[number])
        state.run.advance()
    after = train.validate(state, clean)["valid/phones"]
    assert before < 0.3 and after > 0.9


def test_a_trained_model_goes_on_and_listens(corpus: Path, tmp_path: Path):
    deaf = replace(MODEL, audio=replace(AUDIO, sung=0))
    first = train.train(config(corpus, tmp_path / "deaf", model=deaf))
    second = train.train(config(corpus, tmp_path / "grown", init=str(first), only=("audio_tower",)))
    assert second is not None and ChinMu.from_pretrained(second).audio_config.sung == 8
    assert "loss/sung" not in (tmp_path / "deaf/metrics.jsonl").read_text()


def test_cached_features_are_shared_between_towers(corpus: Path, tmp_path: Path, monkeypatch):
    made = []
    monkeypatch.setattr("chinmu.data.song_audio", lambda record, root: made.append(record.id))
    monkeypatch.setattr("chinmu.data.song_features", lambda audio, config: torch.zeros(config.n_bands, 9))
    songs = [record(0)]
    files = [cache(songs, tmp_path, replace(AUDIO, sung=s, width=w), tmp_path) for s, w in ((0, 16), (8, 32))]
    assert files[0] == files[1] and made == ["song-0"]
    assert cache(songs, tmp_path, replace(AUDIO, n_mels=32), tmp_path) != files[0]
