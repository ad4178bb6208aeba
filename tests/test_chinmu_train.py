"""ChinMu's data and training: pairs, learning, stopping and resuming."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny_encoder import encoder

from chinmu import data, train
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.data import DataConfig, Pairs
from chinmu.model import ChinMu
from chinmu.telling import HIDDEN, TellConfig, Teller, fits, hide, joined
from chinmu.text import canonical
from common.audio import Audio, write_audio
from common.config import parse
from common.description import Audience, Description
from common.errors import CheckpointError, ConfigError, ManifestError
from common.seeds import generator
from corpus import manifest
from corpus.plan import plan_of
from corpus.record import SongRecord
from corpus.synth import sheet

RATE = 44100
PITCHES = {"低": 110.0, "中低": 196.0, "中": 349.2, "中高": 622.3, "高": 1108.7}
PULSES = {"平稳": 0.0, "快速跳动": 6.0}
KINDS = [(pitch, pulse) for pitch in PITCHES for pulse in PULSES]
MODEL = ModelConfig(
    audio=AudioConfig(window=3.0, channels=(4, 8), width=32, depth=1, heads=2),
    text=TextConfig(encoder=encoder(32, 64), longest=64),
)
DATA = DataConfig(batch_size=5, crop=(1.0, 4.0), workers=0, tell=TellConfig(anew=False))


def tone(pitch: str, pulse: str, seed: int, seconds: float = 6.0) -> Audio:
    """A stereo tone with noise; `pulse` switches it on and off."""
    rng = generator(seed, "tone", pitch, pulse)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * PITCHES[pitch] * rng.uniform(0.98, 1.02) * time)
    if PULSES[pulse]:
        wave *= (time * PULSES[pulse] % 1 < 0.4).astype(float)
    noise = 0.003 * rng.standard_normal((2, len(time)))
    return Audio((wave + noise).astype(np.float32), RATE)


def descriptions(pitch: str, pulse: str) -> tuple[Description, ...]:
    """What both audiences say of it, at three lengths."""
    both = {
        Audience.PROFESSIONAL: (
            f"{pitch}音区",
            f"{pulse}的{pitch}音区",
            f"这段音频处于{pitch}音区，节奏{pulse}",
        ),
        Audience.AMATEUR: (f"{pitch}", f"听着{pulse}", f"听起来声音{pitch}，而且{pulse}"),
    }
    lengths = ("word", "phrase", "sentence")
    return tuple(
        Description(text, audience, "音高" if length == "word" else "节奏", length)
        for audience, texts in both.items()
        for text, length in zip(texts, lengths)
    )


def make(folder: Path, variants: int = 1, seconds: float = 6.0) -> list[SongRecord]:
    """Write `variants` songs of each of the ten kinds and return their records."""
    records = []
    for variant in range(variants):
        for pitch, pulse in KINDS:
            name = f"{pitch}-{pulse}-{variant}"
            write_audio(folder / f"{name}.wav", tone(pitch, pulse, variant, seconds))
            records.append(
                SongRecord(
                    id=name,
                    source="test",
                    licence="CC0-1.0",
                    split="train",
                    duration=seconds,
                    audio=f"{name}.wav",
                    descriptions=descriptions(pitch, pulse),
                )
            )
    return records


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SongRecord]]:
    folder = tmp_path_factory.mktemp("songs")
    records = make(folder)
    manifest.write(folder / "manifest.jsonl", records)
    return folder, records


def config(corpus: tuple[Path, list[SongRecord]], out: Path, **changes) -> train.TrainConfig:
    settings = train.TrainConfig(
        manifest=str(corpus[0] / "manifest.jsonl"),
        out=str(out),
        model=MODEL,
        data=DATA,
        warmup_steps=5,
        ema_decay=0.9,
        mixed_precision="no",
        cpu=True,
        log_steps=1,
    )
    return replace(settings, **changes)


@pytest.fixture
def pairs(corpus: tuple[Path, list[SongRecord]], tmp_path: Path) -> Pairs:
    folder, records = corpus
    files = data.cache(records, folder, MODEL.audio, tmp_path)
    return Pairs(records, files, MODEL.audio, DATA, seed=3)


def synthetic(seed: int, **changes) -> SongRecord:
    """The record of a synthetic song, without its audio."""
    made = sheet(seed, durations=(20.0, 24.0))
    record = SongRecord(
        id=f"s{seed}",
        source="synthetic",
        licence="Apache-2.0",
        split="train",
        duration=made.score.duration,
        seed=seed,
        score=made.score,
        descriptions=made.descriptions,
        genre=made.plan.genre,
        mood=made.plan.mood,
        theme=made.plan.theme,
        tempo=made.plan.tempo,
        key=str(made.plan.key),
        instruments=tuple(dict.fromkeys(i.name for i in made.plan.instruments.values())),
        singer=made.plan.singer,
    )
    return replace(record, **changes)


# ---- data ----------------------------------------------------------------------------------


def test_features_are_computed_once_and_are_those_of_the_file(corpus, tmp_path, monkeypatch):
    folder, records = corpus
    files = data.cache(records, folder, MODEL.audio, tmp_path)
    monkeypatch.setattr(data, "song_audio", None)  # a second reading would fail
    assert data.cache(records, folder, MODEL.audio, tmp_path) == files
    expected = data.song_features(tone(*KINDS[3], seed=0), MODEL.audio).numpy()
    stored = np.load(files[3])
    assert stored.dtype == np.float16 and stored.shape == expected.shape
    np.testing.assert_allclose(stored, expected, atol=0.05)


def test_a_batch_follows_from_seed_step_and_process(pairs: Pairs):
    first, again, next_step = pairs[7], pairs[7], pairs[8]
    assert first.texts == again.texts and torch.equal(first.windows, again.windows)
    assert first.texts != next_step.texts
    ahead = list(zip(range(3), data.batches(pairs, 6)))
    assert ahead[1][1].texts == first.texts


def test_every_song_comes_once_an_epoch_whatever_the_processes(corpus, pairs: Pairs):
    halves = [
        Pairs(pairs.records, pairs.files, MODEL.audio, replace(DATA, batch_size=2), 3, process, 2)
        for process in range(2)
    ]
    epoch = np.concatenate([pairs.songs(step).ravel() for step in range(2)])
    assert sorted(epoch) == list(range(10))
    assert np.array_equal(halves[0].songs(1), halves[1].songs(1))
    assert halves[1][0].holds.shape == (2, 4)
    assert halves[1][0].holds[0, 2] and halves[1][0].holds[1, 3]  # its own songs stand behind process 0's


def test_windows_belong_to_their_songs_and_are_equally_long(pairs: Pairs):
    for step in range(6):
        batch = pairs[step]
        assert batch.windows.shape[1] == MODEL.audio.n_bands
        assert batch.windows.shape[2] <= MODEL.audio.window_frames
        assert batch.owner.unique().tolist() == list(range(5)) and len(batch.owner) == len(batch.windows)


def test_a_short_song_is_repeated_to_fill_a_window(corpus, tmp_path):
    folder, records = corpus
    files = data.cache(records, folder, MODEL.audio, tmp_path)
    short = np.load(files[0])[:, :20]
    np.save(files[0], short)
    quiet = replace(DATA, gain_db=0, tilt_db=0, mask_bands=0, mask_frames=0)
    crop, _ = Pairs(records, files, MODEL.audio, quiet, 0)._crop(0, 2.0, generator(0, "x"))
    assert crop.shape[2] == 86
    assert np.array_equal(crop[0, :, 20:40].numpy(), short.astype(np.float32))


def test_too_few_songs_for_a_step_are_refused(pairs: Pairs):
    with pytest.raises(ConfigError, match=r"6 × 2 different songs, but the manifest has 10"):
        Pairs(pairs.records, pairs.files, MODEL.audio, replace(DATA, batch_size=6), 0, 0, 2)
    with pytest.raises(ConfigError, match="shortest, longest"):
        DataConfig(crop=(3.0, 2.0))
    with pytest.raises(ConfigError, match="shares"):
        TellConfig(word=0, phrase=0, sentence=0, prompt=0)


# ---- texts ---------------------------------------------------------------------------------


def test_texts_are_drawn_by_their_shares_and_are_true(corpus):
    teller = Teller(corpus[1], TellConfig(anew=False, word=1, phrase=0, sentence=0, prompt=0))
    words = {canonical(d.text) for d in corpus[1][4].descriptions if d.length == "word"}
    assert {teller.say(4, generator(i, "say"))[0] for i in range(20)} == words
    prompts = Teller(corpus[1], TellConfig(anew=False, word=0, phrase=0, sentence=0, prompt=1, fragment=0))
    text, kind = prompts.say(4, generator(1, "say"))
    written = {canonical(d.text) for d in corpus[1][4].descriptions}
    assert kind == "prompt" and set(text.split(",")) <= {p for w in written for p in w.split(",")}


def test_a_text_holds_for_every_song_of_which_it_was_written(corpus):
    teller = Teller(corpus[1], TellConfig(anew=False))
    everyone = range(len(KINDS))
    assert teller.holds(canonical("听着平稳"), "phrase", everyone) == [pulse == "平稳" for _, pulse in KINDS]


def test_a_synthetic_song_is_spoken_of_anew_and_truly():
    records = [synthetic(seed) for seed in (11, 12)]
    assert [plan_of(r).genre for r in records] == [r.genre for r in records]
    teller = Teller(records, TellConfig())
    said = {teller.say(0, generator(i, "say"))[0] for i in range(30)}
    assert len(said) > 20
    assert len(said - {canonical(d.text) for d in records[0].descriptions}) > 10
    assert all(teller.holds(text, kind, [0])[0] for text, kind in [(canonical(records[0].genre), "word")])


def test_a_plan_that_does_not_match_its_record_is_not_used(caplog):
    record = synthetic(11, genre="某种新风格")
    assert plan_of(record) is None and "written descriptions" in caplog.text
    assert Teller([record], TellConfig()).descriptions(0, generator(0, "x")) == record.descriptions
    assert plan_of(replace(record, source="muchin")) is None


def test_what_a_text_names_must_all_fit():
    record = synthetic(
        11, genre="流行", tempo=70.0, singer="female", instruments=("钢琴", "贝斯"), key="C minor"
    )
    assert fits({"genre": "流行", "tempo_class": "slow"}, record)
    assert fits({"instruments": ("钢琴",), "without": ("架子鼓",), "mode": "minor"}, record)
    for wrong in (
        {"genre": "摇滚"},
        {"tempo_class": "fast"},
        {"instruments": ("笛子",)},
        {"without": ("钢琴",)},
    ):
        assert not fits(wrong, record)


def test_hiding_keeps_the_length_and_something_to_read():
    text = "一首安静的钢琴曲"
    shown = hide(text, generator(0, "x"), 0.4)
    assert len(shown) == len(text) and 0 < shown.count(HIDDEN) < len(text)
    assert hide(text, generator(0, "x"), 1.0) == text
    assert hide(text, generator(0, "x"), 0.0) == text


# ---- training ------------------------------------------------------------------------------


def test_a_tiny_model_learns_ten_pairs(corpus, tmp_path):
    wanted = replace(
        DATA, batch_size=10, crop=(2.0, 3.0), tell=TellConfig(0, 0, 1, 0, fragment=0, anew=False, hidden=0)
    )
    folder_out = train.train(config(corpus, tmp_path / "run", data=wanted, lr=3e-3, max_steps=60))
    model = ChinMu.from_pretrained(folder_out)
    texts = model.embed_text([descriptions(*kind)[2].text for kind in KINDS])
    heard = torch.stack([torch.from_numpy(tone(*kind, seed=9).samples) for kind in KINDS])
    right = (texts @ model.embed_audio(heard, 44100).T).argmax(1) == torch.arange(10)
    assert int(right.sum()) >= 8  # chance: 1


def test_resuming_equals_not_stopping(corpus, tmp_path):
    dropped = replace(MODEL, audio=replace(MODEL.audio, dropout=0.2))
    whole = config(corpus, tmp_path / "whole", model=dropped, max_steps=6)
    parts = config(corpus, tmp_path / "parts", model=dropped, max_steps=6)
    train.train(whole)
    _run_until(parts, 3)
    train.train(parts)
    rows = [_metrics(Path(c.out)) for c in (whole, parts)]
    assert [r["loss/contrastive"] for r in rows[0]] == [r["loss/contrastive"] for r in rows[1]]
    first, second = (ChinMu.from_pretrained(Path(c.out) / "model").state_dict() for c in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)


def _run_until(settings: train.TrainConfig, steps: int) -> None:
    """Stop the run of `settings` after some steps, as a signal would."""
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    pairs = train._pairs([settings.manifest], settings, accelerator)
    state = train.prepare(settings, accelerator, pairs)
    for number in range(steps):
        report = train.step(state, pairs[number])
        state.run.advance()
        state.run.log(report)
    state.run.save()


def _metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_checkpoint_of_another_shape_is_refused(corpus, tmp_path):
    train.train(config(corpus, tmp_path, max_steps=1))
    other = replace(MODEL, audio=replace(MODEL.audio, width=64))
    with pytest.raises(CheckpointError, match="doesn't fit"):
        train.train(config(corpus, tmp_path, model=other, max_steps=2))


def test_one_tower_goes_on_alone_from_a_trained_model(corpus, tmp_path):
    first = train.train(config(corpus, tmp_path / "first", max_steps=2))
    only = ("audio_tower", "audio_projection")
    settings = config(corpus, tmp_path / "second", init=str(first), only=only, max_steps=2)
    second = train.train(settings)
    a, b = (ChinMu.from_pretrained(folder).state_dict() for folder in (first, second))
    assert len(list((Path(settings.out) / "features").glob("*/*.npy"))) == len(corpus[1])
    moved = {name.split(".")[0] for name in a if not torch.equal(a[name], b[name])}
    assert moved == set(only)
    other = replace(MODEL, audio=replace(MODEL.audio, n_mels=32))
    with pytest.raises(CheckpointError, match=r"another model\.audio\.n_mels"):
        train.train(replace(settings, out=str(tmp_path / "third"), model=other))


def test_the_validation_loss_is_logged(corpus, tmp_path):
    settings = config(corpus, tmp_path, valid=str(corpus[0] / "manifest.jsonl"), valid_batches=1, max_steps=1)
    train.train(settings)
    last = _metrics(tmp_path)[-1]
    assert {"valid/contrastive", "valid/top1", "valid/mrr", "valid/top5_S", "valid/top15_L"} <= set(last)
    assert last["valid/pool"] == 10 and last["valid/chance5"] == 0.5 and last["valid/top10_M"] == 1.0


def test_a_long_text_is_trained_on_in_parts(corpus, tmp_path):
    """What people write of a real song may be longer than the tower reads at once."""
    folder, records = corpus
    long = "这首歌很安静，也很温柔得让人想哭" * 10
    said = (Description(long, Audience.AMATEUR, "描述", "sentence"),)
    written = [replace(record, descriptions=said) for record in records]
    files = data.cache(written, folder, MODEL.audio, tmp_path)
    pairs = Pairs(written, files, MODEL.audio, DATA, seed=3, augment=False, longest=62)
    for text in [text for step in range(4) for text in pairs[step].texts]:
        assert len(text) <= 62 and text in canonical(long)
    manifest.write(folder / "long.jsonl", written)
    settings = config(corpus, tmp_path, manifest=str(folder / "long.jsonl"), max_steps=2)
    assert train.train(replace(settings, valid=settings.manifest, valid_batches=1)) is not None


def test_one_id_is_one_song(corpus, tmp_path):
    """Features are kept by id: another song of that name would be heard as the first."""
    folder, records = corpus
    manifest.write(folder / "other.jsonl", [replace(records[0], audio=records[1].audio), *records[1:]])
    other = str(folder / "other.jsonl")
    for wrong in ({"also": (other,)}, {"valid": other}):
        with pytest.raises(ManifestError, match="already another song"):
            train.train(config(corpus, tmp_path, **wrong))
    with pytest.raises(ManifestError, match="would meet itself"):
        train.train(config(corpus, tmp_path, also=(str(folder / "manifest.jsonl"),)))


def test_a_single_long_description_is_a_whole_prompt():
    said = [Description("慢" * 200, Audience.AMATEUR, "描述", "sentence")]
    assert joined(said, generator(0), 6) == "慢" * 200


@pytest.mark.parametrize("name", ["demo", "tiny", "paper"])
def test_every_configuration_can_be_read(name: str):
    path = Path(train.__file__).parent / "configs" / f"{name}.yaml"
    settings = parse(train.TrainConfig, ["--config", str(path), "--manifest", "m.jsonl", "--out", "o"])
    assert settings.model.dim == 512
    assert (settings.model.audio.tower == "htsat") == (name == "paper")


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert train.main(["--manifest", str(tmp_path / "none.jsonl"), "--out", str(tmp_path)]) == 2
    assert "none.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--model.audio.heads=0", "heads is at least 1, but got 0"),
        ("--model.dim=-4", "dim is at least 1, but got -4"),
        ("--model.first_temperature=0", "first_temperature is above 0, but got 0"),
        ("--valid_batches=0", "valid_batches is at least 1, but got 0"),
        ("--data.tell.most=1", "most is at least 2, but got 1"),
        ("--data.tell.fragment=1.5", "between 0 and 1, but got 1.5"),
        ("--data.tell.hidden=-1", "between 0 and 1, but got 0.2 and -1"),
        ("--data.mask_bands=-1", "mask_bands is at least 0, but got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(argument: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(train.TrainConfig, ["--manifest", "m", "--out", "o", argument])
