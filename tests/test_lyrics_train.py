"""Training at tiny size: it learns, and stopping and resuming equals not stopping."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common import config as configs
from common.errors import CheckpointError, ConfigError
from lyrics_llm import data, model, tokens
from lyrics_llm.config import DataConfig, TrainConfig
from lyrics_llm.model import load
from lyrics_llm.tokens import PAD, PLAN_FIELDS, Vocabulary, build
from lyrics_llm.train import train

TINY = "lyrics_llm/configs/tiny.yaml"


def settings(out: Path, steps: int) -> TrainConfig:
    root = Path(__file__).parent.parent
    return configs.parse(
        TrainConfig,
        ["--config", str(root / TINY), "--out", str(out), "--max_steps", str(steps), "--lr", "0.01"],
    )


def constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that doesn't know how long the run will be."""
    monkeypatch.setattr("lyrics_llm.train.learning_rate", lambda config, step, progress: config.lr)


def test_resuming_equals_not_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constant(monkeypatch)
    train(settings(tmp_path / "whole", 4))
    train(settings(tmp_path / "parts", 2))
    train(settings(tmp_path / "parts", 4))
    whole, parts = (
        load_file(tmp_path / run / "checkpoint" / "model.safetensors") for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    exported = (load(tmp_path / run / "model")[0].state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in exported)))


def test_it_learns(tmp_path: Path) -> None:
    train(settings(tmp_path / "run", 30))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss/token"] for row in rows if "loss/token" in row]
    assert losses[-1] < 0.9 * losses[0]


def test_batches_are_functions_of_the_step() -> None:
    vocabulary = Vocabulary(build())
    config = DataConfig(songs=2, pool=2, seconds=(12.0, 16.0))
    first, again = (data.Songs(config, vocabulary, seed=1) for _ in range(2))
    (want,) = first[3]
    assert torch.equal(again[3][0][0], want[0])
    assert torch.equal(again[3][0][1], want[1])
    assert not torch.equal(first[2][0][0][0], want[0][0])
    many = data.Songs(DataConfig(songs=3, pool=4), vocabulary, seed=1)
    sizes = [len(many[step][0][0]) for step in range(4)]
    assert sum(sizes) == 12
    assert min(sizes) >= 1
    elsewhere = data.Songs(config, vocabulary, seed=1, process=1)
    assert not torch.equal(elsewhere[3][0][0][:, :20], want[0][:, :20])
    ids, labels = want
    assert ids.shape == labels.shape
    known = labels != data.IGNORED
    assert torch.equal(ids[known], labels[known])
    assert not known[:, 0].any()
    learned = {tuple(row): mask for batch in first._drawn(1)[0] for row, mask in batch}
    for row, mask in zip(ids.tolist(), known.tolist()):
        length = len([token for token in row if token != vocabulary.ids[PAD]])
        assert mask[:length] == learned[tuple(row[:length])] and not any(mask[length:])


def test_further_descriptions_teach_the_plan_alone() -> None:
    vocabulary = Vocabulary(build())
    songs = data.Songs(DataConfig(songs=2, pool=2, told=3, seconds=(12.0, 16.0)), vocabulary, seed=1)
    whole, told = songs[1]
    assert torch.equal(songs[1][1][0], told[0])
    ids, labels = told
    assert len(ids) == 6
    for row, learned in zip(ids, labels != data.IGNORED):
        assert [vocabulary.names[int(i)].split(":")[0] for i in row[learned]] == [
            f"<{f}" for f in PLAN_FIELDS
        ]
    assert ids.shape[1] < whole[0].shape[1]


def test_every_configuration_is_read() -> None:
    for name in ("demo", "tiny"):
        path = Path(__file__).parent.parent / "lyrics_llm" / "configs" / f"{name}.yaml"
        config = configs.parse(TrainConfig, ["--config", str(path), "--out", "x"])
        assert config.data.songs >= 1


def test_a_trained_writer_takes_a_grown_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word for word in tokens.words() if word not in ("<lead:钢琴>", "<lead:古筝>")]
    with monkeypatch.context() as before:
        before.setattr(tokens, "words", lambda: words)
        old = Vocabulary(build(["家", "想", "鱻"]))
    network = model.build(settings(tmp_path, 1).model, old, seed=1)
    model.save(network, old, tmp_path / "old")
    config = replace(settings(tmp_path / "run", 1), init=str(tmp_path / "old"), lr=0.0)
    folder = train(config)
    assert folder is not None
    grown, vocabulary = load(folder)
    assert set(vocabulary.names) == {*Vocabulary(build()).names, "鱻"}
    prompt = ["<genre:民谣>", "想", "鱻"]
    was = network(torch.tensor([old.encode(prompt)])).logits[0]
    now = grown(torch.tensor([vocabulary.encode(prompt)])).logits[0][:, vocabulary.encode(old.names)]
    torch.testing.assert_close(now, was, atol=0.02, rtol=0.02)  # kept in bfloat16
    leads = [i for name, i in vocabulary.ids.items() if name.startswith("<lead:")]
    vectors = grown.get_input_embeddings().weight
    new = vocabulary.ids["<lead:钢琴>"]
    rest = [i for i in leads if vocabulary.names[i] in old.ids]
    torch.testing.assert_close(vectors[new], vectors[rest].mean(0), atol=2e-3, rtol=0.02)
    assert grown.config.pad_token_id == vocabulary.ids[PAD]


def test_training_goes_on_from_a_trained_writer(tmp_path: Path) -> None:
    first = train(settings(tmp_path / "first", 2))
    second = train(replace(settings(tmp_path / "second", 1), init=str(first), lr=0.0))
    assert first is not None and second is not None
    a, b = load(first), load(second)
    assert a[1].ids == b[1].ids
    assert all(torch.equal(v, b[0].state_dict()[k]) for k, v in a[0].state_dict().items())
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        train(replace(settings(tmp_path / "third", 1), init=str(tmp_path)))


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--model.heads=0", "heads is at least 1, but got 0"),
        ("--model.kv_heads=0", "kv_heads is at least 1, but got 0"),
        ("--model.layers=-1", "layers is at least 1, but got -1"),
        ("--data.seconds=[16,12]", r"the shortest and the longest song, but got \(16.0, 12.0\)"),
        ("--chat.seconds=[16,12]", r"the shortest and the longest song, but got \(16.0, 12.0\)"),
    ],
)
def test_numbers_out_of_range_are_refused(argument: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configs.parse(TrainConfig, ["--out", "o", argument])
