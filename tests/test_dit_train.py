"""Training: exact resume, learning from the score, what is exported."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import in_two

from common.config import parse
from common.errors import CheckpointError, ConfigError
from dit import arrangement
from dit.conditions import ROLES
from dit.config import FlowConfig, ModelConfig, TrainConfig
from dit.data import Batch, Batches, LatentSongs
from dit.flow import Bezier
from dit.model import SongTransformer
from dit.objective import by_band, draw_times, held_out, make_flow, predict
from dit.sample import sample
from dit.scheduler import InterpolantScheduler
from dit.store import StoredSong, songs_path, write_songs
from dit.train import train
from tests.dit_songs import DIM, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("latents"), songs=8)


def config(folder: Path, out: Path, steps: int) -> TrainConfig:
    return TrainConfig(
        data=str(folder),
        valid=str(folder),
        out=str(out),
        model=ModelConfig("tiny"),
        window=2.0,
        batch_size=4,
        max_steps=steps,
        lr=1e-3,
        warmup=2,
        final_lr=1.0,  # a rate that doesn't depend on the end of the run
        log_every=2,
        valid_songs=4,
        precision="no",
    )


def test_stopping_and_resuming_equals_not_stopping(folder: Path, tmp_path: Path) -> None:
    whole = train(config(folder, tmp_path / "whole", 6))
    train(config(folder, tmp_path / "parts", 3))
    parts = train(config(folder, tmp_path / "parts", 6))
    a, b = (SongTransformer.from_pretrained(str(f)).state_dict() for f in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)
    metrics = [json.loads(line) for line in (whole.parent / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/velocity", "grad/norm", "lr"} <= metrics[0].keys()
    assert {"valid/true_0.8", "valid/other_score_0.8", "valid/no_score_0.8"} <= metrics[-1].keys()
    assert metrics[0]["loss/velocity"] > 0


def test_what_is_exported_samples(folder: Path, tmp_path: Path) -> None:
    model = SongTransformer.from_pretrained(str(train(config(folder, tmp_path, 2))))
    scheduler = InterpolantScheduler.from_pretrained(str(tmp_path / "scheduler"))
    batch = Batches(LatentSongs(folder, 2.0), 2, 0).batch(0)
    out = sample(model, batch.conditions, batch.conditions.frames, scheduler, 2)
    assert out.shape == batch.latents.shape


def test_several_processes_save_together(folder: Path, tmp_path: Path) -> None:
    settings = replace(config(folder, tmp_path, 3), valid=None, batch_size=2, save_minutes=0.0)
    in_two(train, settings)
    assert (tmp_path / "checkpoint/complete").read_text() == "3"
    resumed = SongTransformer.from_pretrained(str(tmp_path / "model"))
    assert all(bool(p.isfinite().all()) for p in resumed.parameters())


def test_training_goes_on_from_trained_weights_of_the_same_shape_only(folder: Path, tmp_path: Path) -> None:
    first = train(config(folder, tmp_path / "first", 2))
    settings = replace(config(folder, tmp_path / "second", 1), init=str(first), lr=0.0)
    second = train(settings)
    a, b = (SongTransformer.from_pretrained(str(f)).state_dict() for f in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    model = SongTransformer.from_pretrained(str(first))
    turned = {role: list(reversed(names)) for role, names in model.known.items()}
    assert turned["lead"] != list(model.known["lead"])
    model.register_to_config(arrangement=turned)
    model.save_pretrained(str(tmp_path / "turned"))
    third = train(replace(settings, out=str(tmp_path / "back"), init=str(tmp_path / "turned")))
    back = SongTransformer.from_pretrained(str(third))
    assert back.known == SongTransformer.from_pretrained(str(first)).known
    lead = ROLES.index("lead")
    rows, was = (m.players.whole[lead].weight for m in (back, model))
    assert torch.equal(rows[0], was[0]) and torch.equal(rows[1:], was[1:].flip(0)), "numbers follow names"
    model.register_to_config(arrangement=turned | {"lead": ["尺八", *turned["lead"][1:]]})
    model.save_pretrained(str(tmp_path / "strange"))
    with pytest.raises(CheckpointError, match="has the lead 尺八, unknown here"):
        train(replace(settings, out=str(tmp_path / "fourth"), init=str(tmp_path / "strange")))
    with pytest.raises(CheckpointError, match="another shape"):
        train(replace(settings, out=str(tmp_path / "third"), model=ModelConfig("tiny", patch=4)))
    with pytest.raises(CheckpointError, match="no readable song model"):
        train(replace(settings, out=str(tmp_path / "fourth"), init=str(tmp_path)))


def test_players_who_joined_since_are_new_and_the_others_keep_what_they_learned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = arrangement.names()
    fewer = names | {"lead": names["lead"][1:]}
    with monkeypatch.context() as patched:
        patched.setattr(arrangement, "names", lambda: fewer)
        first = train(config(folder, tmp_path / "first", 2))
    second = train(replace(config(folder, tmp_path / "second", 1), init=str(first), lr=0.0))
    old, new = (SongTransformer.from_pretrained(str(f)) for f in (first, second))
    lead = ROLES.index("lead")
    assert new.known["lead"] == names["lead"] and len(old.known["lead"]) == len(names["lead"]) - 1
    for table in ("whole", "near"):
        was, now = (getattr(m.players, table)[lead].weight for m in (old, new))
        assert torch.equal(now[0], was[0]) and torch.equal(now[2:], was[1:])
    assert not new.players.whole[lead].weight[1].any()


def test_a_role_that_joined_since_is_silent_at_first_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, folder = arrangement.names(), prepare(tmp_path / "latents")
    rows = [json.loads(row) for row in songs_path(folder, 0).read_text(encoding="utf-8").splitlines()]
    write_songs(
        folder, 0, [StoredSong.from_json(json.dumps(r | {"arrangement": {"mood": "欢快"}})) for r in rows]
    )
    with monkeypatch.context() as patched:
        patched.setattr(arrangement, "names", lambda: {r: n for r, n in names.items() if r != "mood"})
        first = train(config(folder, tmp_path / "first", 2))
    old = SongTransformer.from_pretrained(str(first)).eval()
    begun = replace(config(folder, tmp_path / "second", 1), init=str(first))
    new = SongTransformer.from_pretrained(str(train(replace(begun, lr=0.0)))).eval()
    assert old.players is not None and new.players is not None
    assert len(new.players.whole) == len(old.players.whole) + 1 == len(ROLES)
    batch = Batches(LatentSongs(folder, 2.0, names), 2, 0).batch(0)
    assert batch.conditions.arrangement[:, ROLES.index("mood")].any()
    told = batch.latents, torch.full((2,), 0.5), batch.conditions
    assert torch.allclose(old(*told), new(*told), atol=1e-5)  # one takes no notice of it, the other not yet
    third = train(replace(begun, out=str(tmp_path / "third"), ema=0.0))
    learned = SongTransformer.from_pretrained(str(third))
    assert learned.players is not None and learned.players.whole[ROLES.index("mood")].weight.any()


def test_accumulated_batches_are_one_step(folder: Path, tmp_path: Path) -> None:
    settings = replace(config(folder, tmp_path, 2), accumulate=2, batch_size=2)
    assert train(settings).is_dir()


def test_mudit_trains_by_the_same_command(folder: Path, tmp_path: Path) -> None:
    train(replace(config(folder, tmp_path, 2), flow=FlowConfig(kind="mudit")))
    assert (tmp_path / "scheduler" / "scheduler_config.json").is_file()


def test_a_tiny_model_learns_to_follow_its_score(folder: Path) -> None:
    torch.manual_seed(0)
    batches = Batches(LatentSongs(folder, 3.0), 8, 0)
    model = SongTransformer.named("tiny", latent_dim=DIM, frame_width=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    flow, generator = make_flow(FlowConfig()), torch.Generator().manual_seed(0)
    for step in range(100):
        batch = batches.batch(step % 4)
        noise = torch.randn(batch.latents.shape, generator=generator)
        t = draw_times(8, FlowConfig(), generator)
        predict(model, flow, batch, batch.conditions, t, noise).losses.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    found = held_out(model.eval(), flow, [batches.batch(0)], (0.8,), seed=1)
    assert found["true_0.8"] < 0.6 * found["other_score_0.8"]
    assert found["true_0.8"] < 0.8 * found["no_score_0.8"]


# ---- objective -------------------------------------------------------------------------------


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_times_are_spread_over_their_distribution(uniform: float) -> None:
    flow = FlowConfig(time_mean=0.5, time_std=0.8, uniform=uniform, near_noise=0.0)
    t = draw_times(1000, flow, torch.Generator().manual_seed(0))
    assert bool(((t > 0) & (t < 1)).all())
    logits = torch.logit(t)
    expected = (0.0, 1.81) if uniform else (0.5, 0.8)
    assert (float(logits.mean()), float(logits.std())) == pytest.approx(expected, abs=0.05)


def test_some_times_lie_near_noise_where_only_conditions_tell() -> None:
    def drawn(flow: FlowConfig) -> torch.Tensor:
        return draw_times(1000, flow, torch.Generator().manual_seed(0))

    near = drawn(FlowConfig(uniform=0.0, near_noise=1.0))
    assert float(near.min()) >= 0.9 and float(near.max()) < 1
    assert float(near.mean()) == pytest.approx(0.95, abs=0.001)
    without = float((drawn(FlowConfig(near_noise=0.0)) > 0.95).float().mean())
    assert float((drawn(FlowConfig()) > 0.95).float().mean()) > without + 0.08
    with pytest.raises(ConfigError, match="at most 1 together"):
        FlowConfig(uniform=0.6, near_noise=0.5)


def test_the_loss_counts_no_padding(folder: Path) -> None:
    batch = Batches(LatentSongs(folder, 100.0), 8, 0).batch(0)
    assert not batch.mask.all()
    model = SongTransformer.named("tiny", latent_dim=DIM)
    model.requires_grad_(False)
    noise, t = torch.ones_like(batch.latents), torch.full((8,), 0.5)
    loud = Batch(torch.where(batch.mask[..., None], batch.latents, 99.0), batch.mask, batch.conditions)
    losses = [predict(model, Bezier(), b, b.conditions, t, noise).losses for b in (batch, loud)]
    assert torch.allclose(losses[0], losses[1])
    target = Bezier().velocity(batch.latents, noise, t)
    assert losses[0][0].item() == pytest.approx(float(target[0][batch.mask[0]].square().mean()), rel=1e-5)


def test_bands_are_means() -> None:
    bands = by_band(torch.tensor([0.1, 0.2, 0.8, 1.0]), torch.tensor([1.0, 3.0, 5.0, 7.0]))
    assert bands == {"band_0": 2.0, "band_0.75": 6.0}


# ---- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(Path("dit/configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_loads(path: Path) -> None:
    settings = parse(TrainConfig, ["--config", str(path), "--data", "d", "--out", "o", "--max_steps", "1"])
    assert settings.model.size == path.stem


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_minutes or max_steps"):
        TrainConfig(data="d", out="o")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--model.heads=0", "heads is at least 1, but got 0"),
        ("--model.dim=-4", "dim is at least 1, but got -4"),
        ("--batch_size=0", "batch_size is at least 1, but got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(argument: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(TrainConfig, ["--data", "d", "--out", "o", "--max_steps", "1", argument])
