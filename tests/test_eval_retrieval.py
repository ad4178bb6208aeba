"""Ranks, pools, the oracle, and the whole evaluation with a model that knows nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chinmu import embed
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.model import build
from chinmu.text import character_tokenizer
from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.errors import CheckpointError, ManifestError, RequestError
from corpus import manifest
from corpus.record import SongRecord
from eval import retrieval
from eval.retrieval import Oracle, Query, draw_pools, fair_hits, layout, queries_of, ranks, table

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
    assert (whole.kind, whole.queries, whole.mrr.count) == ("S-M-L", 600, 60)
    for k, share in whole.top.items():
        assert share.chance == k / 20
        assert share.low - 0.01 <= k / 20 <= share.high + 0.01
        assert whole.oracle[k] == pytest.approx(k / 20, abs=0.07)
    silent = table(np.zeros((600, 60)), np.zeros((600, 60)), queries, [20])[0]
    assert [e.value for e in silent.top.values()] == [0, 0, 0, 0]
    assert (
        silent.oracle == pytest.approx({1: 0.05, 5: 0.25, 10: 0.5, 15: 0.75})
        and silent.heard == silent.oracle
    )


def test_the_oracle_knows_what_is_named_and_guesses_the_rest():
    records = [record(n) for n in range(6)]
    scores = Oracle(records).scores("流行，女声")
    assert scores.tolist() == [2, 0, 1, 1, 1, 0]
    hits = fair_hits(scores[None], np.array([2]), everyone(1, 6), 2)
    assert hits == pytest.approx([1 / 3])  # one song fits better, three alike share the second place
    several = [record(0, instruments=("钢琴", "贝斯")), record(1, instruments=("电吉他", "贝斯")), record(2)]
    assert Oracle(several).scores("钢琴和贝斯，不要鼓").tolist() == [3, 2, 1]


def test_the_theme_is_told_by_words_and_not_by_sound():
    records = [record(0, theme="下雨天"), record(1, theme="夏天"), record(2)]
    oracle = Oracle(records)
    assert oracle.scores("关于下雨天的流行歌").tolist() == [2, 0, 0]
    assert oracle.scores("关于下雨天的流行歌", without=("theme",)).tolist() == [1, 0, 0]


@given(st.integers(0, 99), st.sampled_from([1, 5, 10]))
@settings(max_examples=40, deadline=None)
def test_the_oracle_puts_equals_in_random_order(seed: int, k: int):
    """The chance that is computed is the share of hits over many random orders."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, size=(1, 20)).astype(float)
    exact = float(fair_hits(scores, np.array([0]), everyone(1, 20), k)[0])
    orders = scores + 0.5 * rng.random((2000, 20))
    drawn = ((orders > orders[:, :1]).sum(1) < k).mean()
    assert exact == pytest.approx(drawn, abs=0.05)


def test_every_kind_of_text_is_asked_by_both_audiences():
    queries = queries_of([record(n) for n in range(3)], each=1)
    assert len(queries) == 3 * 2 * 4
    assert {q.kind for q in queries} == set(retrieval.KINDS)
    assert all(GENRES[q.song] in q.text for q in queries)
    assert queries == queries_of([record(n) for n in range(3)], each=1)


def test_unseen_words_and_combinations_are_shown_apart():
    kept = {0: (), 1: ("phrasing",), 2: ("combination",), 3: ("phrasing", "combination")}
    records = [record(n, held_out=kept[n % 4]) for n in range(8)]
    queries = queries_of(records, each=1)
    rows = table(np.eye(8)[[q.song for q in queries]], np.zeros((len(queries), 8)), queries, [8])
    counts = {(row.kind, row.audience): row.mrr.count for row in rows}
    for kind in ("prompt", "S-M-L"):
        for what in ("words", "combination"):
            assert counts[kind, f"seen {what}"] == counts[kind, f"unseen {what}"] == 4
    assert len(rows) == 5 * 3 + 8
    assert all(row.top[1].value == 1 for row in rows)


def test_the_layout_is_that_of_the_papers_table():
    queries = queries_of([record(n) for n in range(20)], each=1)
    right = np.eye(20)[[q.song for q in queries]]
    wrong = -right
    systems = {name: table(x, right, queries, [20]) for name, x in (("good", right), ("bad", wrong))}
    lines = layout(systems, 20).splitlines()
    assert lines[0] == "| N = 20 | | good | bad | oracle | heard | chance |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {length}" for length in ("Short", "Medium", "Long", "S-M-L", "Prompt") for _ in range(3)
    ]
    assert lines[2] == "| Short | Top-5 | 100.0 [83.9, 100.0] | 0.0 [0.0, 16.1] | 100.0 | 100.0 | 25.0 |"
    assert systems["good"][0].of_oracle(5) == 1.0 and systems["bad"][0].of_oracle(5) == 0.0


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
    other = json.dumps({"again": str(files[0])})
    assert retrieval.main([*arguments, "--models", other, "--pools", "[3, 100]"]) == 0
    shown = capsys.readouterr().out
    assert "N=3" in shown and "N=100" not in shown and "chance 0.333" in shown
    assert "| N = 3 | | ChinMu | again | oracle | heard | chance |" in shown
    tables = json.loads((tmp_path / "table.json").read_text())
    assert tables["ChinMu"][0]["queries"] == 4 * 2 * 3 and tables["again"] == tables["ChinMu"]
    figures = retrieval.evaluate(files[0], files[1], pools=[4])
    assert len(figures) == 5 * 4 and figures["S-M-L, top-5 of 4"].value == 1.0
    assert retrieval.main([*arguments, "--pools", "[100]"]) == 2
    assert "smaller pools" in capsys.readouterr().err


def test_an_embedded_corpus_needs_no_hearing(files, tmp_path: Path, capsys):
    model, listed = files
    assert embed.main([str(listed), str(tmp_path / "vectors"), "--model", str(model), "--shard", "3"]) == 0
    heard = retrieval.system("x", model).songs(manifest.read(listed), listed.parent)
    kept = retrieval.system("x", model, tmp_path / "vectors")
    np.testing.assert_allclose(kept.songs(manifest.read(listed), Path("nowhere")), heard, atol=1e-6)
    with pytest.raises(RequestError, match=r"lacks 1 songs of the manifest, such as song-9"):
        kept.songs([record(9)], Path("nowhere"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="another model"):
        retrieval.system("x", model, tmp_path / "vectors").songs(manifest.read(listed), Path("nowhere"))


def blind(name: str) -> retrieval.System:
    return retrieval.System(
        name, lambda texts: np.ones((len(texts), 2)), lambda songs, _: np.ones((len(songs), 2))
    )


@pytest.mark.parametrize(("pools", "each"), [((0,), 2), ((-3, 5), 2), ((5,), 0)])
def test_pools_and_texts_that_are_none_are_refused(files, pools: tuple[int, ...], each: int):
    with pytest.raises(RequestError, match="at least one song"):
        retrieval.compare([blind("a")], files[1], pools, each)


def test_a_pool_is_measured_once_and_a_name_is_one_system(files):
    rows = retrieval.compare([blind("a"), blind("b")], files[1], (4, 4))
    assert list(rows) == ["a", "b"] and rows["a"] == retrieval.compare([blind("a")], files[1], (4,))["a"]
    with pytest.raises(RequestError, match="names that differ, but got a, a"):
        retrieval.compare([blind("a"), blind("a")], files[1], (4,))


@pytest.mark.parametrize("text", ["{oops", "[]"])
def test_a_folder_with_a_damaged_configuration_is_named(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is no configuration"):
        retrieval.system("a", tmp_path)
