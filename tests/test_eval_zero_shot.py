"""Labels by the nearest prompt: closed forms, chance, confusions, and the command on a tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.model import build
from chinmu.text import character_tokenizer
from common.audio import Audio, write_audio
from common.description import Audience
from corpus import manifest
from corpus.record import SongRecord
from corpus.speech import forms, held_out_forms
from eval import zero_shot
from eval.zero_shot import Confusion, classify, confusion, heard, names, prompts, row

GENRES = ("流行", "摇滚", "爵士")


def record(number: int, **labels) -> SongRecord:
    return SongRecord(f"song-{number}", "test", "CC0-1.0", "test", 2.0, **labels)


def one_hot(texts) -> np.ndarray:
    """An encoder of words that knows which genre each name is of, and nothing else."""
    table = {name: i for i, genre in enumerate(GENRES) for a in Audience for name in forms("genre", genre, a)}
    out = np.full((len(texts), 4), 0.01)
    for row_, text in zip(out, texts):
        row_[table.get(text, 3)] = 1.0
    return out / np.linalg.norm(out, axis=1, keepdims=True)


RECORDS = [
    record(n, genre=GENRES[n % 3], held_out=("combination",) if n % 2 else (), instruments=("钢琴", "贝斯"))
    for n in range(12)
]
SONGS = np.eye(4)[[n % 3 for n in range(12)]]


def test_an_encoder_that_knows_is_right_and_a_blind_one_is_wrong():
    found = {(r.names, r.songs): r for r in classify("genre", one_hot, SONGS, RECORDS)}
    whole = found["seen names", "all"]
    assert (whole.accuracy.value, whole.accuracy.count, whole.values) == (1.0, 12, 3)
    assert whole.accuracy.chance == pytest.approx(1 / 3) and whole.largest == pytest.approx(1 / 3)
    assert found["seen names", "seen combination"].accuracy.count == 6
    assert found["seen names", "unseen combination"].accuracy.count == 6
    unseen = found["unseen names", "all"]
    assert unseen.accuracy.value == 1.0 and unseen.values == found["seen, same values", "all"].values
    blind = classify("genre", lambda texts: np.full((len(texts), 4), 0.5), SONGS, RECORDS)
    assert all(r.accuracy.value == 0.0 for r in blind)


@given(st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_random_vectors_are_at_chance(seed: int):
    rng = np.random.default_rng(seed)
    truth = np.eye(4, dtype=bool)[rng.integers(4, size=2000)]
    found = heard(rng.normal(size=(2000, 8)), rng.normal(size=(4, 8)))
    measured = row("x", "seen names", "all", found, truth)
    assert measured.accuracy.value == pytest.approx(0.25, abs=0.05)
    assert measured.accuracy.chance == pytest.approx(0.25)


def test_of_instruments_any_that_plays_is_right():
    truth = np.array([[True, True, False], [False, True, False]])
    measured = row("instrument", "seen names", "all", np.array([0, 0]), truth)
    assert measured.accuracy.value == 0.5 and measured.accuracy.chance == pytest.approx(0.5)
    assert measured.largest == 1.0  # the second instrument plays in both
    assert measured.balanced == pytest.approx((1.0 + 0.5) / 2)


def test_equals_and_nan_count_as_wrong():
    songs = np.array([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0]])
    prompt = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert heard(songs, prompt).tolist() == [-1, -1, 2]


def test_names_kept_for_evaluation_stand_apart():
    for kind, value in (("genre", "流行"), ("singer", "female"), ("instrument", "钢琴")):
        seen, unseen = names(kind, value)
        assert seen and not set(seen) & held_out_forms() and set(unseen) <= held_out_forms()
    assert names("genre", "某种新风格") == (["某种新风格"], [])


def test_a_prompt_is_the_mean_direction_of_its_names():
    made = prompts(
        lambda texts: np.array([[1.0, 0.0] if t == "a" else [0.0, 1.0] for t in texts]), [["a", "b"], ["b"]]
    )
    np.testing.assert_allclose(made, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]])


def test_confusions_count_what_was_taken_for_what(tmp_path: Path):
    swapped = SONGS[:, [1, 0, 2, 3]]
    found = confusion("genre", one_hot, swapped, RECORDS)
    place = {value: i for i, value in enumerate(found.values)}
    assert found.counts.sum() == 12 and found.counts[place["流行"], place["摇滚"]] == 4
    assert set(found.worst()) == {("流行", "摇滚", 1.0), ("摇滚", "流行", 1.0)}
    pytest.importorskip("matplotlib")
    zero_shot.draw([found, Confusion("singer", ("female", "male"), np.eye(2, dtype=int))], tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    records = []
    for number in range(4):
        write_audio(
            tmp_path / f"{number}.wav", Audio(0.1 * rng.standard_normal((1, 44100)).astype("f4"), 44100)
        )
        labels = {"genre": GENRES[number % 2], "singer": ("female", "male")[number % 2]}
        records.append(record(number, audio=f"{number}.wav", tempo=70.0 + 30 * number, **labels))
    manifest.write(tmp_path / "manifest.jsonl", records)
    torch.manual_seed(0)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    audio = AudioConfig(window=1.0, channels=(4,), width=16, depth=1, heads=2)
    text = TextConfig(encoder=encoder | {"intermediate_size": 16}, longest=64)
    build(ModelConfig(audio, text), character_tokenizer(["流行摇滚男女声快慢"])).save_pretrained(
        tmp_path / "model"
    )
    return tmp_path / "model", tmp_path / "manifest.jsonl"


def test_the_command_prints_and_writes_its_rows(files, tmp_path: Path, capsys):
    arguments = ["--model", str(files[0]), "--manifest", str(files[1]), "--out", str(tmp_path / "rows.json")]
    assert zero_shot.main(arguments) == 0
    shown = capsys.readouterr().out
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert {r["kind"] for r in kept["rows"]} == {"genre", "tempo", "singer"}  # no mood, no instruments known
    assert "chance 0.5" in shown
    manifest.write(tmp_path / "bare.jsonl", [record(0, audio="0.wav")])
    assert zero_shot.main(["--model", str(files[0]), "--manifest", str(tmp_path / "bare.jsonl")]) == 2
    assert "no labels" in capsys.readouterr().err
