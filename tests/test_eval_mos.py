"""The learned listener: published layouts, metrics, heads, training, planted faults, and what is bundled."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from scipy import stats

from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.errors import AudioError, CheckpointError, ManifestError, RequestError
from common.seeds import generator
from corpus.record import SongRecord
from corpus.synth import song
from eval.mos import data, features, planted, predict, train
from eval.mos.features import Heard, Quality
from eval.mos.metrics import agreement
from eval.mos.model import ModelConfig, PaperHeads, Predictor, StrongHeads, collate
from eval.mos.predict import Ear, Opinion
from eval.mos.train import Config, Rated, as_the_paper_hears

RATE = 16000


def tone(seconds: float = 0.5, hertz: float = 300, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# ---- layouts -------------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "sets").mkdir()
    for name, rows in (
        ("train", [("S001_P001", 3.2, 4.0), ("S002_P001", 2.0, 1.4)]),
        ("dev", [("S003_P002", 5, 1)]),
    ):
        files = [(f"audiomos2025-track1-{file}.wav", a, b) for file, a, b in rows]
        (tmp_path / f"sets/{name}_mos_list.txt").write_text("".join(f"{f},{a},{b}\n" for f, a, b in files))
        for file, *_ in files:
            write_audio(tmp_path / f"wav/{file}", Audio(tone()[None], RATE))
    (tmp_path / "prompt_info.txt").write_text("id\ttext\nP001\tA slow piano, sad\nP002\tRock\n")
    return tmp_path


def test_lists_of_the_challenge(lists: Path):
    found = data.read_lists(lists, "train")
    assert [(u.system, u.text, u.impression, u.alignment) for u in found] == [
        ("S001", "A slow piano, sad", 3.2, 4.0), ("S002", "A slow piano, sad", 2.0, 1.4),
    ]  # fmt: skip
    assert found[0].audio().duration == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("song.wav,3,3", "names no system and prompt"),
        ("x-S001_P009.wav,3,3", "P009 isn't among the prompts"),
        ("x-S001_P001.wav,3", "file,impression,alignment"),
        ("audiomos2025-track1-S001_P001.wav,7,3", "not in 1 to 5"),
        ("x-S001_P001.wav,3,3", "lacks wav/x-S001_P001.wav"),
    ],
)
def test_wrong_lists_are_named(lists: Path, line: str, message: str):
    (lists / "sets/train_mos_list.txt").write_text(line + "\n")
    with pytest.raises(ManifestError, match=message):
        data.read_lists(lists, "train")


def test_parquet_with_names_of_its_own(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    sound = io.BytesIO()
    soundfile.write(sound, tone(), RATE, format="WAV")
    audio = [
        {"bytes": sound.getvalue(), "path": "S001_P002.wav"},
        {"bytes": b"no audio", "path": "S004_P002.wav"},
    ]
    columns = {
        "audio": audio,
        "overall_mos": [3.0, 4.0],
        "textual_mos": [2.0, 1.0],
        "prompt": ["Rock", "Jazz"],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    found = data.read_parquet([tmp_path / "a.parquet"])
    assert [(u.name, u.system, u.text, u.impression) for u in found] == [
        ("S001_P002", "S001", "Rock", 3.0), ("S004_P002", "S004", "Jazz", 4.0),
    ]  # fmt: skip
    assert found[0].audio().sample_rate == RATE
    with pytest.raises(AudioError, match="S004_P002"):
        found[1].audio()
    columns["score"] = columns.pop("textual_mos")
    parquet.write_table(arrow.table(columns), tmp_path / "b.parquet")
    with pytest.raises(ManifestError, match="no column for alignment"):
        data.read_parquet([tmp_path / "b.parquet"])
    assert data.read_parquet([tmp_path / "b.parquet"], {"alignment": "score"})[1].alignment == 1.0


def test_splits_are_disjoint_and_whole():
    systems = [f"S{i % 10}" for i in range(100)]
    for kind in ("random", "systems"):
        parts = data.split(systems, kind)  # type: ignore[arg-type]
        every = np.concatenate([parts.train, parts.valid, parts.test])
        assert sorted(every) == list(range(100))
        shared = {systems[i] for i in parts.train} & {systems[i] for i in parts.test}
        assert (not shared) == (kind == "systems")
    with pytest.raises(ManifestError, match="at least 3"):
        data.split(["a", "a", "b"], "systems")


def test_the_paper_hears_three_times_too_fast():
    heard = as_the_paper_hears(Audio(tone(2, 200)[None], RATE))
    assert (heard.sample_rate, heard.samples.shape) == (48000, (1, 480000))
    spectrum = np.abs(np.fft.rfft(heard.samples[0, :32000]))
    assert spectrum.argmax() * 48000 / 32000 == pytest.approx(600, rel=0.01)


# ---- metrics -------------------------------------------------------------------------------


def test_metrics_against_scipy():
    rng = np.random.default_rng(0)
    rated = rng.integers(1, 6, 40).astype(float)
    said = rated + rng.normal(0, 1, 40)
    systems = [f"S{i % 8}" for i in range(40)]
    found = agreement(said, rated, systems)
    assert found["U_MSE"].value == pytest.approx(np.mean((said - rated) ** 2))
    assert found["U_LCC"].value == pytest.approx(stats.pearsonr(said, rated).statistic)
    assert found["U_SRCC"].value == pytest.approx(stats.spearmanr(said, rated).statistic)
    assert found["U_KTAU"].value == pytest.approx(stats.kendalltau(said, rated).statistic)
    means = [[np.mean(v[i::8]) for i in range(8)] for v in (said, rated)]
    assert found["S_SRCC"].value == pytest.approx(stats.spearmanr(*means).statistic)
    assert found["S_SRCC"].count == 8 and found["U_SRCC"].low < found["U_SRCC"].value < found["U_SRCC"].high
    assert agreement(np.ones(5), rated[:5])["U_SRCC"].value == 0.0
    with pytest.raises(RequestError):
        agreement([1.0], [1.0])


# ---- heads ---------------------------------------------------------------------------------


def heard(rows: int, width: int = 6, text: int | None = 4, seed: int = 0) -> Heard:
    rng = np.random.default_rng(seed)
    words = None if text is None else rng.standard_normal(text).astype(np.float32)
    return Heard(*(rng.standard_normal((rows, n)).astype(np.float32) for n in (width, 4)), words)


@pytest.mark.parametrize("mode", ["paper", "strong"])
def test_padding_and_company_change_nothing(mode: str):
    torch.manual_seed(0)
    config = ModelConfig(mode, 6, 4, 4)  # type: ignore[arg-type]
    predictor = Predictor((PaperHeads if mode == "paper" else StrongHeads)(config).eval(), config, {})
    short, long = heard(1), heard(9, seed=1)
    alone = predictor.predict([short])
    together = predictor.predict([long, short])
    for one, both in zip(alone, together):
        assert one[0] == pytest.approx(both[1], abs=1e-5)
    assert np.isnan(predictor.predict([heard(2, text=None)])[1][0])
    with pytest.raises(RequestError, match="rows of 6 and 4 values"):
        predictor.predict([heard(2, width=5)])


def test_the_papers_heads_are_linear_and_its_sizes():
    torch.manual_seed(0)
    heads = PaperHeads(ModelConfig("paper", 512, 512, 512))
    shapes = [tuple(m.weight.shape) for m in heads.alignment]
    assert shapes == [(256, 1024), (64, 256), (1, 64)]
    x = torch.randn(3, 512)
    with torch.no_grad():
        middle = heads.impression((x[:1] + x[1:2]) / 2)
        ends = (heads.impression(x[:1]) + heads.impression(x[1:2])) / 2
    torch.testing.assert_close(middle, ends)


def test_scores_stay_in_their_range():
    heads = StrongHeads(ModelConfig("strong", 6, 4, 4)).eval()
    with torch.no_grad():
        found = torch.stack(heads(collate([heard(3, seed=s) for s in range(9)], 4)))
    assert ((found >= 1) & (found <= 5)).all()


# ---- training ------------------------------------------------------------------------------


def toy(count: int = 200) -> Rated:
    """Ratings that follow from rows and words, without noise."""
    rng = np.random.default_rng(0)
    rows, ratings = [], []
    for number in range(count):
        h = heard(1 + number % 3, seed=number)
        first = np.clip(3 + 1.2 * h.impression[:, 0].mean(), 1, 5)
        assert h.text is not None
        song_vector = h.text + rng.normal(0, 2 * (number % 5) / 4, 4)
        rows.append(replace(h, alignment=song_vector[None].astype(np.float32)))
        near = song_vector @ h.text / np.linalg.norm(song_vector) / np.linalg.norm(h.text)
        ratings.append([first, 3 + 2 * near])
    systems = [f"S{i % 12}" for i in range(count)]
    return Rated(rows, np.array(ratings), systems, "quality", "chinmu", "toys")


@pytest.mark.parametrize(("mode", "least"), [("paper", (0.9, -1)), ("strong", (0.85, 0.6))])
def test_what_can_be_learned_is_learned(tmp_path: Path, mode: str, least: tuple[float, float]):
    rows = toy()
    config = Config("planted", "", str(tmp_path), mode, epochs=60, lr=5e-3 if mode == "paper" else None)  # type: ignore[arg-type]
    predictor = train.train(config, rows, data.split(rows.systems, "random"))
    assert predictor.scores["impression"]["U_SRCC"]["value"] >= least[0]
    assert predictor.scores["alignment"]["U_SRCC"]["value"] >= least[1]
    predictor.save(tmp_path / "model")
    again = Predictor.load(tmp_path / "model")
    np.testing.assert_allclose(again.predict(rows.heard[:5]), predictor.predict(rows.heard[:5]))
    assert again.config.learned_from == "toys" and again.scores == predictor.scores
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no predictor"):
        Predictor.load(tmp_path / "model")


def test_training_stops_and_resumes_as_if_it_had_not(tmp_path: Path):
    rows = toy(36)
    parts = data.split(rows.systems, "random")
    whole = train.train(Config("planted", "", str(tmp_path / "a"), "strong", epochs=4), rows, parts)
    short = Config("planted", "", str(tmp_path / "b"), "strong", epochs=2)
    saving = pytest.MonkeyPatch()
    saving.setattr(train.Run, "due", lambda *_: True)
    train.train(short, rows, parts)
    resumed = train.train(replace(short, epochs=4), rows, parts)
    saving.undo()
    np.testing.assert_allclose(resumed.predict(rows.heard), whole.predict(rows.heard), atol=1e-6)


class Loud:
    """Hears how loud a clip is; stands for CLAP."""

    name, sample_rate, dimensions, convention, digest, contrastive = "laion-clap", RATE, 2, "", "0", True

    def embed(self, audio: Audio) -> np.ndarray:
        return np.array([[audio.samples.std(), audio.sample_rate / 48000]], np.float32)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(t), 1.0] for t in texts], np.float32)


def test_rated_lists_are_heard_by_mode(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train.embeddings, "load", lambda *_: Loud())
    config = Config("lists", str(lists), "", "paper", cache=str(tmp_path / "cache"))
    full, parts = train.rated(config)
    assert len(full.heard) == 3 and len(parts.test) == 1
    assert full.heard[0].impression[0, 1] == 1.0  # called 48 kHz
    strong, _ = train.rated(replace(config, mode="strong"))
    assert strong.heard[0].impression[0, 1] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(full.heard[0].text, [len("A slow piano, sad"), 1])
    (lists / "sets/test_mos_list.txt").write_text((lists / "sets/dev_mos_list.txt").read_text())
    _, published = train.rated(replace(config, split="published"))
    assert [len(p) for p in (published.train, published.valid, published.test)] == [2, 1, 1]


# ---- planted faults ------------------------------------------------------------------------


def test_faults_do_what_they_are_called():
    rng = generator(0, "x")
    samples = sum(tone(4, 220 * n, 22050) / n for n in range(1, 5)).astype(np.float64)
    noisy = planted.noise(samples, 22050, 1.0, rng)
    assert 20 * np.log10(samples.std() / (noisy - samples).std()) == pytest.approx(0, abs=0.01)
    quiet = planted.noise(samples, 22050, 0.0, rng)
    assert 20 * np.log10(samples.std() / (quiet - samples).std()) == pytest.approx(30, abs=0.01)
    assert len(planted.wow(samples, 22050, 1.0, rng)) == len(samples)
    even, wavering = features.tuning(samples), features.tuning(planted.wow(samples, 22050, 1.0, rng))
    assert even[12] > 0.9 > 0.5 > wavering[12]
    clicks = np.zeros(22050 * 6)
    clicks[:: round(0.25 * 22050)] = 1
    clicks = np.convolve(clicks, np.exp(-np.arange(400) / 60))[: len(clicks)]
    steady = features.steadiness(features.hearing.onset_strength(clicks.astype(np.float32)))
    uneven = planted.jitter(clicks, 22050, 1.0, rng).astype(np.float32)
    assert steady[0] > 0.95 and features.steadiness(features.hearing.onset_strength(uneven))[0] < 0.75
    audio = Audio(samples[None].astype(np.float32), 22050)
    spoiled = planted.spoil(audio, "noise", 0.5, rng)
    assert spoiled.samples.std() == pytest.approx(audio.samples.std(), rel=1e-3)
    assert planted.spoil(audio, "none", 0.0, rng) is audio


def record(name: str, genre: str, tempo: float = 100, singer: str = "female") -> SongRecord:
    said = tuple(Description(f"{genre}的{a}说法", a, "情绪", "phrase") for a in Audience)
    return SongRecord(
        name, "test", "CC0-1.0", "train", 9.0, audio=f"{name}.wav", descriptions=said, genre=genre,
        mood="欢快", tempo=tempo, singer=singer, instruments=("钢琴", "鼓"),
    )  # fmt: skip


def test_the_plan_keeps_its_truth():
    records = [record(f"s{i}", ("摇滚", "抒情")[i % 2], tempo=80 + 40 * (i % 2)) for i in range(30)]
    rows = planted.plan(records)
    assert len(rows) == 120 and rows == planted.plan(records)
    for p in rows:
        assert p.impression == 5 - 4 * p.strength and (p.fault == "none") == (p.impression == 5)
        assert p.alignment == 5 if p.words_of == p.song else 1 <= p.alignment <= 5
        assert ("摇滚" if int(p.words_of[1:]) % 2 == 0 else "抒情") in p.text
    assert {p.fault for p in rows} == {"none", *planted.FAULTS}
    assert planted.fitting(records[0], records[2]) == 1.0
    assert planted.fitting(records[0], records[1]) == pytest.approx(3 / 5)


def test_other_words_for_the_same_sound():
    records = [record(f"s{i}", ("摇滚", "抒情")[i % 2]) for i in range(6)]
    rows = planted.plan(records, versions=2)
    sounds = [heard(1, seed=i) for i in range(len(rows))]
    more, again = planted.retold(rows, sounds, records, Loud(), 3)
    assert len(more) == len(again) == 3 * len(rows) and more[: len(rows)] == rows
    for place, (p, h) in enumerate(zip(more[len(rows) :], again[len(rows) :])):
        assert p.impression == rows[place // 2].impression and h.impression is sounds[place // 2].impression
        assert h.text is not None and h.text[0] == len(p.text)
        own = p.words_of == p.song
        assert p.alignment == 5 if own else p.alignment <= 5
    assert len({p.text for p in more[len(rows) :]}) > 2


def test_a_set_is_read_back(tmp_path: Path):
    rows = [
        planted.Planted("a", "none", 0.0, "a", "词", 5.0, 5.0),
        planted.Planted("b", "wow", 1.0, "a", "词", 1.0, 2.0),
    ]
    heard_rows = [heard(2), heard(1, text=None)]
    planted.save(tmp_path, rows, heard_rows)
    found, back = planted.load(tmp_path)
    assert found == rows and back[1].text is None
    np.testing.assert_array_equal(back[0].alignment, heard_rows[0].alignment)
    with pytest.raises(ManifestError, match="no planted set"):
        planted.load(tmp_path / "nothing")


# ---- what is bundled -----------------------------------------------------------------------


def test_the_bundled_predictor_says_what_it_is_and_how_good():
    ear = Ear()
    assert ear.predictor.config.learned_from == "planted faults"
    for target, least in (("impression", 0.8), ("alignment", 0.7)):
        figure = ear.predictor.scores[target]["U_SRCC"]
        assert figure["value"] >= least and figure["count"] >= 150, target


def test_the_bundled_predictor_on_songs_it_never_heard():
    """Takes of new songs with planted faults come out in the order of the faults."""
    ear = Ear()
    strengths = (0.0, 0.35, 0.95)
    order = []
    for number in range(3):
        rng = generator(number, "fresh")
        fresh = planted.stretch(song(987_000 + number, "test", duration=14.0).audio, rng)
        for fault in planted.FAULTS:
            takes = [
                planted.spoil(fresh, fault if u else "none", u, generator(number, fault, u))
                for u in strengths
            ]
            said = [
                o.impression for o in ear.opinions([(str(i), take, None) for i, take in enumerate(takes)])
            ]
            order.append(stats.spearmanr(said, [-u for u in strengths]).statistic)
    assert np.mean(order) >= 0.8 and sum(o == 1.0 for o in order) >= 6
    assert Quality().embed(fresh).shape[1] == Quality.dimensions


def test_a_file_that_cannot_be_heard_is_left_out_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class Deaf:
        predictor = SimpleNamespace(config=SimpleNamespace(learned_from="nothing"))

        def opinions(self, songs):
            return [Opinion(name, 3.0, None) for name, *_ in songs]

    monkeypatch.setattr(predict, "Ear", lambda *_: Deaf())
    write_audio(tmp_path / "good.wav", Audio(tone(1, 220, 8000)[None], 8000))
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF nothing")
    command = ["predict", "--songs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(AudioError, match=r"2 of 3 files can't be heard: .*a\.wav.*b\.wav"):
        predict.main()
    monkeypatch.setattr(sys, "argv", [*command, "--allow-missing"])
    assert predict.main() == 0 and caplog.text.count("left out: ") == 2


def test_words_move_the_alignment():
    ear = Ear()
    quiet = Audio(tone(12, 220, 44100)[None], 44100)
    first, second, third = ear.opinions(
        [("a", quiet, "安静的钢琴曲"), ("b", quiet, "激烈的摇滚，男声嘶吼"), ("c", quiet, None)]
    )
    assert first.impression == pytest.approx(second.impression, abs=1e-5)
    assert first.alignment != second.alignment and third.alignment is None
    assert third.overall == pytest.approx(third.impression)
    assert json.dumps([first.overall, second.overall])
