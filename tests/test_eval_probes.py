"""Probes on sounds whose kind is plain: they learn, survive disturbance, and say how sure they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.audio import Audio, write_audio
from common.errors import CheckpointError, ManifestError
from common.seeds import generator
from corpus import manifest
from corpus.facts import Facts
from corpus.record import SongRecord
from corpus.synth import song
from eval import descriptors, probes, singing
from eval.hearing import RATE, mono
from eval.probes import Examples, Probes, TrainConfig

SECONDS = 4.0
GENRES = {"电子": 4.0, "抒情": 1.0}  # clicks a second
SINGERS = {"female": 440.0, "male": 140.0, "none": 0.0}  # Hz


def sound(genre: str, singer: str, seed: int) -> np.ndarray:
    """Clicks as often as the genre has them, and a buzzing voice as high as the singer's."""
    rng = generator(seed, "sound", genre, singer)
    time = np.arange(int(SECONDS * RATE)) / RATE
    out = 0.01 * rng.standard_normal(len(time))
    for start in np.arange(rng.uniform(0, 0.2), SECONDS - 0.1, 1 / GENRES[genre]):
        burst = rng.standard_normal(600) * np.exp(-np.arange(600) / 100)
        out[int(start * RATE) :][:600] += 0.5 * burst
    pitch = SINGERS[singer] * rng.uniform(0.9, 1.1)
    out += sum(0.1 * np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 9)) if pitch else 0
    return (out / np.abs(out).max()).astype(np.float32)


def songs(count: int) -> list[tuple[SongRecord, np.ndarray]]:
    out = []
    for number in range(count):
        genre, singer = list(GENRES)[number % 2], list(SINGERS)[number % 3]
        record = SongRecord(
            f"song-{number}", "test", "CC0-1.0", "train", SECONDS, audio=f"{number}.wav", genre=genre,
            singer=singer, tempo=60.0 * GENRES[genre] if genre == "抒情" else 120.0,
            instruments=("架子鼓", "合成器") if genre == "电子" else ("架子鼓",),
            mood="动感" if genre == "电子" else "伤感",
        )  # fmt: skip
        out.append((record, sound(genre, singer, number)))
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probes")
    made = songs(36)
    for record, samples in made:
        write_audio(path / str(record.audio), Audio(samples[None], RATE))
    manifest.write(path / "manifest.jsonl", [record for record, _ in made])
    return path


@pytest.fixture(scope="module")
def trained(folder: Path) -> Probes:
    settings = TrainConfig(
        str(folder / "manifest.jsonl"), str(folder / "out"), crops=1, epochs=40, held_out=0.34
    )
    return probes.train(settings)


def test_a_gain_changes_no_description_and_the_lengths_are_alike():
    samples = sound("电子", "female", 0)
    vector = descriptors.describe(samples)
    assert vector.shape == (descriptors.SIZE,) and np.isfinite(vector).all()
    np.testing.assert_allclose(descriptors.describe(samples * 0.3), vector, atol=0.02)
    assert descriptors.describe(samples[: RATE // 2]).shape == vector.shape
    assert np.isfinite(descriptors.describe(np.zeros(RATE, dtype=np.float32))).all()


def test_windows_cover_a_song():
    length = round(descriptors.WINDOW * RATE)
    for seconds in (3.0, 16.0, 16.1, 47.0):
        samples = np.arange(int(seconds * RATE), dtype=np.float32)
        pieces = descriptors.windows(samples)
        assert {len(piece) for piece in pieces} == {min(length, len(samples))}
        assert pieces[0][0] == 0 and pieces[-1][-1] == len(samples) - 1
        assert len(pieces) == -(-len(samples) // length)


def test_a_disturbance_keeps_the_length_and_follows_from_its_generator():
    samples = sound("电子", "male", 1)
    first, again = (descriptors.disturb(samples, generator(5, "disturb")) for _ in range(2))
    assert np.array_equal(first, again) and first.shape == samples.shape
    assert not np.allclose(first, samples, atol=0.01)


def test_probes_learn_plain_kinds_and_say_how_well(trained: Probes):
    for question in ("genre", "singer"):
        for kind in ("clean", "disturbed"):
            share = trained.accuracy[question][kind]
            assert share.value >= 0.8 and share.count == 12
            assert share.chance < 0.75  # the largest class
    assert "decoded" not in trained.accuracy["genre"]


def test_a_verdict_names_the_kind_and_its_probability(trained: Probes):
    verdict = trained.judge(Audio(sound("电子", "male", 99)[None], RATE))
    assert (verdict.genre, verdict.singer, verdict.pace) == ("电子", "male", "fast")
    assert set(verdict.shares["singer"]) == set(SINGERS)
    assert sum(verdict.shares["genre"].values()) == pytest.approx(1, abs=1e-5)


def test_instruments_are_learned_where_songs_differ_in_them(trained: Probes):
    assert trained.answers[probes.INSTRUMENTS] == ["合成器"]  # every song has drums
    for question in (probes.HEARD, probes.NOT_HEARD):
        assert trained.accuracy[question]["clean"].value >= 0.8
    heard = [trained.judge(Audio(sound(genre, "male", 97)[None], RATE)).instruments for genre in GENRES]
    assert heard == [{"合成器"}, frozenset()]


def test_whether_anybody_sings_has_its_own_accuracy(trained: Probes):
    """The share of all singers told right says little of instrumentals, which are rare."""
    silent, sung = (trained.accuracy[q]["clean"] for q in (probes.SILENT, probes.SUNG))
    assert silent.value >= 0.8 and sung.value >= 0.8
    assert 0 < silent.count < 12 and silent.count + sung.count == 12


def test_songs_are_parted_from_instrumentals_where_they_can_be():
    silent = np.array([True] * 5 + [False] * 20)
    shares = np.where(silent, 0.1, 0.5) + np.linspace(-0.05, 0.05, 25)
    found = singing.parting(shares, silent)
    assert found is not None and 0.15 < found < 0.4
    assert (singing.silence(shares, found) > 0.5).tolist() == silent.tolist()
    assert singing.parting(shares[::-1], silent) is None
    assert singing.parting(shares, np.zeros(25, bool)) is None
    assert singing.parting(np.full(25, 0.3), silent) is None
    assert singing.parting(shares / 100, silent) is None  # it hears nothing anywhere


def test_who_sings_is_heard_by_syllables(trained: Probes):
    """The buzzing voices of this file say no syllable, so the network decides; songs of the corpus do."""
    assert trained.parted is None
    audios = {who: song(5, duration=12.0, genre="流行", singer=who).audio for who in ("female", "none")}
    shares = {who: singing.sung_share(mono(audio)) for who, audio in audios.items()}
    assert shares["none"] < 0.15 < 0.3 < shares["female"]
    judge = replace(trained, parted=0.21)
    assert judge.judge(audios["none"]).singer == "none" != judge.judge(audios["female"]).singer
    for audio in audios.values():
        found = judge.judge(audio).shares["singer"]
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)


def test_rare_answers_count_as_much_as_common_ones():
    labels = torch.tensor([0] * 90 + [1] * 10 + [probes.UNKNOWN] * 7)
    weights = probes._evened(labels, 3)
    assert weights[0] * 90 == pytest.approx(weights[1] * 10) == pytest.approx(100 / 3)


def test_instruments_are_labelled_by_what_plays_in_the_window():
    """A lead instrument is in its song, but not in every window of it."""
    made = song(3, "train", duration=40.0, genre="抒情", singer="female")
    record, facts = made.record, Facts(made.sheet.plan, made.sheet.score)
    rate = made.audio.sample_rate
    config = TrainConfig("unused.jsonl", "unused", crops=3)
    for samples, kind, (start, stop) in probes._heard(made.audio, 0, config, None):
        assert stop - start == pytest.approx(16.0, abs=1e-3)
        if kind == 0:
            cut = Audio(made.audio.samples[:, round(start * rate) : round(stop * rate)], rate)
            np.testing.assert_allclose(samples, mono(cut), atol=1e-5)
    names = sorted(set(record.instruments or ()))
    silent = (facts.score.duration - 0.01, facts.score.duration)
    assert 0 in probes._presence(record, facts, silent, names)
    assert probes._presence(record, None, silent, names) == [1] * len(names)


def test_moods_are_asked_where_the_corpus_names_several(trained: Probes, folder: Path):
    assert trained.answers[probes.MOOD] == ["伤感", "动感"]
    assert trained.accuracy[probes.MOOD]["clean"].value >= 0.8
    heard = [trained.judge(Audio(sound(genre, "male", 95)[None], RATE)).mood for genre in ("电子", "抒情")]
    assert heard == ["动感", "伤感"]
    unnamed = [replace(r, mood=None) for r in manifest.read(folder / "manifest.jsonl")]
    assert probes.MOOD not in probes.known_answers(unnamed)


def test_further_manifests_are_songs_of_their_own_folders(folder: Path, tmp_path: Path):
    (tmp_path / "one").mkdir()
    record = replace(manifest.read(folder / "manifest.jsonl")[0], id="another", audio="b.wav")
    manifest.write(tmp_path / "one" / "more.jsonl", [record])
    config = TrainConfig(str(folder / "manifest.jsonl"), "", also=(str(tmp_path / "one" / "more.jsonl"),))
    paths = [r.audio for r in probes._records(config)]
    assert paths[0] == str(folder / "0.wav") and paths[-1] == str(tmp_path / "one" / "b.wav")
    assert len(probes._records(replace(config, songs=5))) == 5


def test_saved_probes_judge_alike(trained: Probes, folder: Path):
    loaded = Probes.load(folder / "out")
    audio = Audio(sound("抒情", "female", 98)[None], RATE)
    assert loaded.judge(audio) == trained.judge(audio)
    assert (loaded.accuracy, loaded.parted) == (trained.accuracy, trained.parted)
    with pytest.raises(CheckpointError, match="no probes"):
        Probes.load(folder / "nothing")


def test_unknown_labels_teach_nothing_and_break_nothing():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(24, descriptors.SIZE)).astype(np.float32)
    labels = {q: np.full(24, probes.UNKNOWN) for q in probes.QUESTIONS}
    labels["genre"] = np.arange(24) % 2
    vectors[:, 0] += 5 * labels["genre"]
    data = Examples(vectors, np.arange(24), np.zeros(24, dtype=int), labels, np.zeros(24))
    answers = {q: ["a", "b"] for q in probes.QUESTIONS}
    network = probes.fit(data, answers, TrainConfig("", "", epochs=30))
    table = probes.accuracy(Probes(network, answers, {}), data)
    assert table["genre"]["clean"].value > 0.9
    assert table["singer"] == {}


def test_a_corpus_that_teaches_nothing_is_refused(folder: Path, tmp_path: Path, caplog):
    records = manifest.read(folder / "manifest.jsonl")
    assert probes.known_answers([replace(r, genre="流行") for r in records])["genre"] == ["流行"]
    assert "will mean nothing" in caplog.text
    with pytest.raises(ManifestError, match="songs whose genre is known"):
        probes.known_answers([replace(r, genre=None) for r in records])
    manifest.write(tmp_path / "few.jsonl", records[:1])
    with pytest.raises(ManifestError, match="at least 2 songs"):
        probes.train(TrainConfig(str(tmp_path / "few.jsonl"), str(tmp_path)))


def test_the_commands(folder: Path, trained: Probes, capsys):
    audio = str(folder / "0.wav")
    assert probes.main(["judge", "--probes", str(folder / "out"), "--audio", f"[{audio}]"]) == 0
    assert "genre 电子" in capsys.readouterr().out
    assert probes.main(["judge", "--probes", str(folder / "none"), "--audio", f"[{audio}]"]) == 2
    assert "no probes" in capsys.readouterr().err
    assert probes.main([]) == 2
