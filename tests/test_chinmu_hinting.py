"""Hints as a teacher of the text tower: what is drawn, and that it is learned."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import in_two
from test_chinmu_train import config, make

from chinmu import train
from chinmu.hinting import Hinting
from chinmu.model import ChinMu
from chinmu.prototypes import Prototypes, Vocabulary
from chinmu.text import canonical
from common.errors import ConfigError
from corpus import manifest
from corpus.record import SongRecord
from corpus.speech import held_out_forms, hints

LABELS = [("离别", "伤感", 70.0), ("海边", "欢快", 130.0)]


def songs(**changes) -> list[SongRecord]:
    common = {"source": "test", "licence": "CC0-1.0", "split": "train", "duration": 6.0, "singer": "female"}
    return [
        SongRecord(id=f"s{k}", theme=theme, mood=mood, tempo=tempo, **common | changes)
        for k, (theme, mood, tempo) in enumerate(LABELS)
    ]


def test_every_part_is_a_hint_or_a_name_of_its_label() -> None:
    vocabulary = Vocabulary(songs())
    hinting = Hinting(vocabulary)
    texts, rows = hinting.drawn(400, 0, "a")
    assert len(texts) == len(rows) == 400 and rows.shape[1] == len(vocabulary)
    columns = {column: key for key, column in vocabulary.columns.items()}
    own = {
        (kind, label): {canonical(text) for text in hints(kind)[label]}
        for kind in ("theme", "mood")
        for label in hints(kind)
        if (kind, label) in vocabulary.columns
    }
    counts = []
    for text, row in zip(texts, rows.tolist()):
        assert set(row) <= {0.0, 1.0} and canonical(text) == text
        labels = [columns[k] for k, value in enumerate(row) if value]
        assert len({kind for kind, _ in labels}) == len(labels), "one label of a kind"
        counts.append(len(labels))
        if len(labels) == 1 and labels[0] in own:
            assert text in own[labels[0]], "what is said alone is a hint"
    assert set(counts) == {1, 2, 3}
    found = {key for row in rows.tolist() for key in (columns[k] for k, value in enumerate(row) if value)}
    assert {("theme", "离别"), ("mood", "欢快"), ("tempo_class", "slow"), ("tempo_class", "fast")} <= found


def test_names_kept_for_evaluation_are_in_no_text() -> None:
    hinting = Hinting(Vocabulary(songs()))
    kept = held_out_forms()
    said = [t for rows in hinting.said.values() for own, names in rows.values() for t in (*own, *names)]
    assert len(said) > 1000
    assert not [text for text in said if any(name in text for name in kept)]
    assert set("".join(said)) == set(hinting.characters)


def test_what_is_drawn_follows_from_seed_and_step() -> None:
    hinting = Hinting(Vocabulary(songs()))
    first, again, other = (hinting.drawn(8, 3, step)[0] for step in (1, 1, 2))
    assert first == again != other


def test_songs_without_such_labels_are_learned_without_hints(tmp_path: Path, caplog) -> None:
    records = make(tmp_path)
    manifest.write(tmp_path / "manifest.jsonl", records)
    train.train(config((tmp_path, records), tmp_path / "run", max_steps=2, hints_batch=8))
    assert "they teach nothing" in caplog.text and losses(tmp_path / "run") == []


def test_fixed_prototypes_learn_nothing() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(songs())
    prototypes = Prototypes(vocabulary, 8)
    vectors = torch.nn.functional.normalize(torch.randn(2, 8), dim=-1).requires_grad_()
    targets = torch.tensor(
        [vocabulary.row({"theme": {"离别": 1.0}}), vocabulary.row({"mood": {"欢快": 1.0}})]
    )
    loss = prototypes(vectors, targets, fixed=True)
    assert float(loss.detach()) == pytest.approx(float(prototypes(vectors, targets).detach()))
    loss.backward()
    assert prototypes.vectors.grad is None and float(vectors.grad.abs().sum()) > 0


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SongRecord]]:
    """Ten tones, of which half are songs of parting and half of the sea."""
    folder = tmp_path_factory.mktemp("labelled")
    records = [
        replace(record, theme=LABELS[k % 2][0], mood=LABELS[k % 2][1], singer="female")
        for k, record in enumerate(make(folder))
    ]
    manifest.write(folder / "manifest.jsonl", records)
    return folder, records


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["loss/hints"] for row in rows if "loss/hints" in row]


def test_training_learns_hints_and_their_characters(labelled, tmp_path: Path) -> None:
    folder = train.train(
        config(labelled, tmp_path / "run", max_steps=40, hints_batch=24, hints_weight=3.0, lr=3e-3)
    )
    found = losses(tmp_path / "run")
    assert len(found) == 40 and np.mean(found[-5:]) < 0.8 * np.mean(found[:5])
    model = ChinMu.from_pretrained(folder)
    assert set("站台海浪") <= set(model.tokenizer.get_vocab())


def test_cached_gradients_learn_hints_too(labelled, tmp_path: Path) -> None:
    settings = {"hints_batch": 6, "max_steps": 2}
    train.train(config(labelled, tmp_path / "whole", **settings))
    train.train(config(labelled, tmp_path / "parts", chunk=2, **settings))
    assert losses(tmp_path / "parts")[0] == pytest.approx(losses(tmp_path / "whole")[0])


@pytest.mark.parametrize("chunk", [None, 2])
def test_two_processes_learn_hints(labelled, tmp_path: Path, chunk: int | None) -> None:
    settings = config(labelled, tmp_path / "two", hints_batch=6, max_steps=2, chunk=chunk)
    in_two(train.train, settings)
    assert len(losses(tmp_path / "two")) == 2


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="hints teach the text tower"):
        train.TrainConfig(manifest="a", out="b", hints_batch=8, only=("audio_tower",))
    with pytest.raises(ConfigError, match="hints_batch"):
        train.TrainConfig(manifest="a", out="b", hints_batch=-1)
