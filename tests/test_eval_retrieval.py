"""Ranks, pools, the oracle, and the whole evaluation with a model that knows nothing."""

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
from common.description import Audience, Description
from common.errors import ManifestError
from corpus import manifest
from corpus.record import SongRecord
from eval import retrieval
from eval.retrieval import Query, draw_pools, fair_hits, oracle_scores, queries_of, ranks, table

GENRES = ("流行", "摇滚", "爵士")


def record(number: int, **changes) -> SongRecord:
    genre = GENRES[number % 3]
    said = tuple(
        Description(text, audience, "风格", length)  # type: ignore[arg-type]
        for audience in Audience
        for text, length in (
            (genre, "word"),
            (f"{genre}歌曲", "phrase"),
            (f"这是第{number}首{genre}歌", "sentence"),
        )
    )
    values = {
        "genre": genre,
        "singer": ("female", "male")[number % 2],
        "tempo": 70.0 + 10 * number,
        "descriptions": said,
    }
    return SongRecord(f"song-{number}", "test", "CC0-1.0", "test", 1.0, **values | changes)


def everyone(queries: int, songs: int) -> np.ndarray:
    return np.tile(np.arange(songs), (queries, 1))


def test_ranks_count_equals_as_better():
    similarity = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.5], [0.1, 0.2, 0.0]])
    assert ranks(similarity, np.arange(3), everyone(3, 3)).tolist() == [1, 3, 3]


@given(st.integers(2, 30), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_ranks_agree_with_sorting_when_nothing_is_equal(songs: int, seed: int):
    similarity = np.random.default_rng(seed).permutation(songs * 4).reshape(4, songs).astype(float)
    truth = np.arange(4) % songs
    order = (-similarity).argsort(1)
    expected = [order[q].tolist().index(truth[q]) + 1 for q in range(4)]
    assert ranks(similarity, truth, everyone(4, songs)).tolist() == expected


def test_a_pool_has_its_own_song_and_no_other_twice():
    truth = np.array([0, 5, 5, 19])
    pools = draw_pools(truth, 20, 8)
    assert pools.shape == (4, 8)
    assert all(len(set(pool)) == 8 and song in pool for pool, song in zip(pools.tolist(), truth.tolist()))
    assert np.array_equal(pools[1], pools[2])
    with pytest.raises(ManifestError, match="needs as many songs"):
        draw_pools(truth, 20, 21)


def test_a_blind_model_is_at_chance():
    rng = np.random.default_rng(0)
    queries = [Query("流行", song, "word", "amateur", False) for song in range(60) for _ in range(10)]
    rows = table(rng.normal(size=(600, 60)), rng.normal(size=(600, 60)), queries, [20])
    whole = rows[0]
    assert (whole.kind, whole.queries, whole.mrr.count) == ("all", 600, 60)
    for k, share in whole.top.items():
        assert share.chance == k / 20
        assert share.low - 0.01 <= k / 20 <= share.high + 0.01
        assert whole.oracle[k] == pytest.approx(k / 20, abs=0.07)
    silent = table(np.zeros((600, 60)), np.zeros((600, 60)), queries, [20])[0]
    assert [e.value for e in silent.top.values()] == [0, 0, 0]
    assert silent.oracle == pytest.approx({1: 0.05, 5: 0.25, 10: 0.5})


def test_the_oracle_knows_what_is_named_and_guesses_the_rest():
    records = [record(n) for n in range(6)]
    query = Query("流行，女声", 0, "prompt", "amateur", False)
    scores = oracle_scores(query, records)
    assert scores.tolist() == [2, 0, 1, 1, 1, 0]
    hits = fair_hits(scores[None], np.array([2]), everyone(1, 6), 2)
    assert hits == pytest.approx([1 / 3])  # one song fits better, three alike share the second place


def test_every_kind_of_text_is_asked_by_both_audiences():
    queries = queries_of([record(n) for n in range(3)], each=1)
    assert len(queries) == 3 * 2 * 4
    assert {q.kind for q in queries} == set(retrieval.KINDS)
    assert all(GENRES[q.song] in q.text for q in queries)
    assert queries == queries_of([record(n) for n in range(3)], each=1)


def test_texts_in_unseen_words_are_shown_apart():
    records = [record(n, held_out=("phrasing",) if n % 2 else ()) for n in range(6)]
    queries = queries_of(records, each=1)
    rows = table(np.eye(6)[[q.song for q in queries]], np.zeros((len(queries), 6)), queries, [6])
    names = [(row.kind, row.audience) for row in rows]
    assert ("prompt", "unseen words") in names and len(names) == 1 + 4 * 3 + 2
    assert all(row.top[1].value == 1 for row in rows)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A manifest of four short songs, and an untrained model."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(4):
        samples = 0.1 * rng.standard_normal((2, 44100)).astype(np.float32)
        write_audio(tmp_path / f"{number}.wav", Audio(samples, 44100))
        records.append(record(number, audio=f"{number}.wav"))
    manifest.write(tmp_path / "manifest.jsonl", records)
    torch.manual_seed(0)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = build(
        ModelConfig(
            audio=AudioConfig(window=1.0, channels=(4,), width=16, depth=1, heads=2),
            text=TextConfig(encoder=encoder | {"intermediate_size": 16}, longest=64),
        ),
        character_tokenizer([d.text for r in records for d in r.descriptions]),
    )
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", tmp_path / "manifest.jsonl"


def test_the_command_prints_and_writes_its_table(files, tmp_path: Path, capsys):
    arguments = ["--model", str(files[0]), "--manifest", str(files[1]), "--out", str(tmp_path / "table.json")]
    assert retrieval.main([*arguments, "--pools", "[3, 100]"]) == 0
    shown = capsys.readouterr().out
    assert "N=3" in shown and "N=100" not in shown and "chance 0.333" in shown
    rows = json.loads((tmp_path / "table.json").read_text())
    assert rows[0]["queries"] == 4 * 2 * (1 + 1 + 1 + 2)
    figures = retrieval.evaluate(files[0], files[1], pools=[4])
    assert len(figures) == 5 * 3 and figures["all, top-5 of 4"].value == 1.0
    assert retrieval.main([*arguments, "--pools", "[100]"]) == 2
    assert "smaller pools" in capsys.readouterr().err
