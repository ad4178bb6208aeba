"""Training's regimes: several processes, cached gradients, curricula, fragments, false negatives."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import in_two
from tiny_encoder import encoder

from chinmu import data, train
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.data import DataConfig, Pairs
from chinmu.ranking import ranks
from chinmu.telling import TellConfig, Teller, shares_at
from common.description import Audience, Description
from common.errors import ConfigError
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord

MODEL = ModelConfig(
    audio=AudioConfig(window=1.0, channels=(4,), width=16, depth=1, heads=2),
    text=TextConfig(encoder=encoder(), longest=64, dropout=0.0),
)
GENRES = ("流行", "摇滚", "爵士", "民谣")


def record(number: int) -> SongRecord:
    genre = GENRES[number % 4]
    texts = {
        "word": (genre,),
        "phrase": (f"{genre}味道", f"第{number}首"),
        "sentence": (f"这是一首{genre},听着很舒服,编号{number},适合夜里听",),
    }
    said = tuple(
        Description(text, audience, dimension, length)  # type: ignore[arg-type]
        for audience in Audience
        for length, some in texts.items()
        for dimension, text in enumerate(some)
    )
    said = tuple(replace(d, dimension=f"{d.length}{d.dimension}") for d in said)
    return SongRecord(
        f"song-{number}",
        "test",
        "CC0-1.0",
        "train",
        3.0,
        genre=genre,
        audio=f"{number}.wav",
        descriptions=said,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of eight songs whose features lie in the run folder's cache already."""
    folder = tmp_path_factory.mktemp("songs")
    manifest.write(folder / "manifest.jsonl", [record(n) for n in range(8)])
    return folder / "manifest.jsonl"


def config(corpus: Path, out: Path, batch_size: int = 8, **changes) -> train.TrainConfig:
    tell = TellConfig(anew=False, hidden=0.0)
    values = train.TrainConfig(
        manifest=str(corpus),
        out=str(out),
        model=MODEL,
        data=DataConfig(batch_size=batch_size, crop=(1.0, 2.0), workers=0, tell=tell),
        warmup_steps=2,
        max_steps=3,
        log_steps=1,
        mixed_precision="no",
        cpu=True,
    )
    return replace(values, **changes)


def random_features(records: list[SongRecord], root: Path, audio: AudioConfig, folder: Path) -> list[Path]:
    """Stands in for `data.cache`: random features, the same for a song wherever it is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for r in records:
        values = generator(0, r.id).normal(size=(audio.n_bands, 130)) + generator(1, r.id).normal(
            size=(audio.n_bands, 1)
        )
        np.save(folder / f"{r.id}.npy", values.astype(np.float16))
    return [folder / f"{r.id}.npy" for r in records]


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "cache", random_features)


def begun(settings: train.TrainConfig) -> tuple[train.State, Pairs]:
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    pairs = train._pairs([settings.manifest], settings, accelerator)
    return train.prepare(settings, accelerator, pairs), pairs


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "checkpoint/model.safetensors") | {
        f"prototypes.{k}": v for k, v in load_file(folder / "checkpoint/model_1.safetensors").items()
    }


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# ---- large batches and several processes ---------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_cached_gradients_equal_those_of_the_whole_batch(corpus: Path, tmp_path: Path, chunk: int):
    state, pairs = begun(config(corpus, tmp_path))
    batch = pairs[0]
    state.model.train()
    plain = train.gradients(state, batch)
    expected = {k: p.grad.clone() for k, p in state.bare.named_parameters()}
    prototypes = state.prototypes.vectors.grad.clone()
    state.optimizer.zero_grad()
    cached = train.cached_gradients(state, batch, chunk)
    assert cached == pytest.approx(plain, rel=1e-4)
    for name, parameter in state.bare.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-3, msg=name)
    torch.testing.assert_close(state.prototypes.vectors.grad, prototypes, atol=1e-6, rtol=1e-3)
    assert float(expected["logit_scale"].abs()) > 1e-4


def test_dropout_is_the_same_when_a_part_is_heard_again(corpus: Path, tmp_path: Path):
    """Else the gradient would be that of vectors that were never compared."""
    dropped = replace(MODEL, audio=replace(MODEL.audio, dropout=0.5), text=replace(MODEL.text, dropout=0.5))
    state, pairs = begun(config(corpus, tmp_path, model=dropped))
    state.model.train()
    first, again = (train.encode(state, pairs[0], state.model, 1) for _ in range(2))
    other = train.encode(state, pairs[0], state.model, 2)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_batch_in_parts_is_the_batch(corpus: Path, tmp_path: Path):
    _, pairs = begun(config(corpus, tmp_path))
    batch = pairs[1]
    parts = data.pieces(batch, 3)
    assert [len(p.texts) for p in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([p.windows for p in parts]), batch.windows)
    assert torch.equal(torch.cat([p.owner + 3 * i for i, p in enumerate(parts)]), batch.owner)


def _train(settings: train.TrainConfig) -> None:
    train.train(settings)


@pytest.mark.parametrize("chunk", [None, 2])
def test_two_processes_equal_one_with_the_double_batch(corpus: Path, tmp_path: Path, chunk: int | None):
    train.train(config(corpus, tmp_path / "one"))
    in_two(_train, config(corpus, tmp_path / "two", batch_size=4, chunk=chunk))
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert b["loss/contrastive"] == pytest.approx(a["loss/contrastive"], rel=1e-4)
        assert b["train/grad_norm"] == pytest.approx(a["train/grad_norm"], rel=1e-3)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    second = {
        k.removeprefix("module.").replace("prototypes.module.", "prototypes."): v for k, v in second.items()
    }
    assert first.keys() == second.keys()
    # Adam's first steps are as large for a tiny gradient as for a large one: weights agree to a share of lr.
    worst = max(float((first[k] - second[k]).abs().max()) for k in first)
    assert worst < 2e-4


# ---- what is said --------------------------------------------------------------------------


def kinds_at(step: int, **changes) -> set[str]:
    teller = Teller([record(n) for n in range(4)], TellConfig(anew=False, fragment=0.0, **changes))
    return {teller.say(song, generator(i, "say"), step)[1] for song in range(4) for i in range(30)}


@pytest.mark.parametrize(
    ("stage", "kinds"),
    [
        ("S", {"word"}),
        ("M", {"phrase"}),
        ("L", {"sentence", "prompt"}),
        ("M-L", {"phrase", "sentence", "prompt"}),
        ("S-M-L", {"word", "phrase", "sentence", "prompt"}),
    ],
)
def test_each_of_the_papers_curricula_draws_its_lengths(stage: str, kinds: set[str]):
    assert kinds_at(0, curriculum=(stage,)) == kinds


def test_a_curriculum_goes_through_its_stages_by_steps():
    stages = {"curriculum": ("L", "M-L", "S"), "stage_steps": 10}
    assert kinds_at(9, **stages) == {"sentence", "prompt"}
    assert kinds_at(10, **stages) == {"phrase", "sentence", "prompt"}
    assert kinds_at(20, **stages) == kinds_at(1000, **stages) == {"word"}
    assert sum(shares_at(TellConfig(), 0).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("stage", ["", "X", "S-S", "SML"])
def test_stages_that_mean_nothing_are_refused(stage: str):
    with pytest.raises(ConfigError, match="joins S, M and L"):
        TellConfig(curriculum=(stage,))
    with pytest.raises(ConfigError, match="without a text"):
        TellConfig(word=0.0, curriculum=("S",))
    with pytest.raises(ConfigError, match="at least one stage"):
        TellConfig(curriculum=())


def test_fragments_are_neighbouring_parts_of_what_was_said():
    teller = Teller([record(3)], TellConfig(anew=False, fragment=1.0, word=0, phrase=0, prompt=0))
    whole = "这是一首民谣,听着很舒服,编号3,适合夜里听"
    said = [teller.say(0, generator(i, "say")) for i in range(60)]
    assert {kind for _, kind in said} == {"phrase"}
    assert all(text in whole and text != whole and text.strip(",") == text for text, _ in said)
    assert len({text for text, _ in said}) >= 7  # of nine runs of one, two or three neighbours


def test_others_that_fit_are_shared_masked_or_wrong(corpus: Path, tmp_path: Path):
    text = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    audio = text.roll(1, 0)
    holds = torch.eye(4, dtype=torch.bool) | torch.eye(4, dtype=torch.bool).roll(1, 1)
    scale = torch.tensor(10.0)
    cost = {
        others: float(train.compared(config(corpus, tmp_path, others=others), text, audio, scale, holds))
        for others in ("soft", "masked", "wrong")
    }
    assert cost["masked"] < cost["wrong"] and cost["soft"] < cost["wrong"]
    assert cost["masked"] != pytest.approx(cost["soft"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        config(corpus, tmp_path, share=2.0)
    with pytest.raises(ConfigError, match="at least one song"):
        config(corpus, tmp_path, chunk=0)


# ---- ranks ---------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_model_that_breaks_is_never_right(songs: int, seed: int):
    similarity = np.random.default_rng(seed).normal(size=(3, songs))
    similarity[0] = np.nan
    similarity[1, 0] = np.nan
    pools = np.tile(np.arange(songs), (3, 1))
    found = ranks(similarity, np.zeros(3, int), pools)
    assert found[0] == found[1] == songs and 1 <= found[2] <= songs
