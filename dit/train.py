"""Train MuSiT (or MuDiT) on prepared latents.

accelerate launch -m dit.train --config dit/configs/demo.yaml \\
    --data data/latents/train --valid data/latents/valid --out runs/dit --max_minutes 60

A look on one core: `python -m dit.train --config dit/configs/tiny.yaml --data … --out /somewhere
--max_steps 20`. The run folder gets `metrics.jsonl`, `checkpoint/` (run the command again to
resume), and from the averaged weights `model/` with its `scheduler/`, and `samples/` with --vae.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from common.config import parse
from common.ema import EMA
from common.errors import CheckpointError, run_command
from common.files import whole_folder
from common.precision import precision
from common.quiet import without_kernel_warning
from common.run import Run
from common.seeds import derive_seed, generator
from common.training import decay_groups, train_only, warm_cosine
from dit import arrangement, phones
from dit.conditions import ROLES
from dit.config import TrainConfig
from dit.data import Batch, Batches, LatentSongs
from dit.discriminants import Discriminants, fit
from dit.objective import Ear, Labels, Prediction, by_band, draw_times, held_out, make_flow, predict
from dit.scheduler import InterpolantScheduler, ddim

with without_kernel_warning():
    from dit.model import SongTransformer
    from dit.sample import sample

logger = logging.getLogger(__name__)

_VALID_TIMES = (0.5, 0.8, 0.98)


@dataclass
class State:
    """Everything alive in training."""

    accelerator: Accelerator
    model: nn.Module
    ema: EMA
    optimizer: torch.optim.Optimizer
    run: Run
    batches: Batches
    valid: list[Batch]
    ear: Ear  # directions along which errors count more

    @property
    def bare(self) -> SongTransformer:
        return self.accelerator.unwrap_model(self.model)


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    train(parse(TrainConfig, argv))


def train(config: TrainConfig) -> Path | None:
    """Train until steps or minutes are used up; the model's folder (None beside the main process)."""
    state = begin(config)
    run = state.run
    regular: list[tuple[str, float, Callable[[], object]]] = []
    if state.valid:
        regular.append(("valid", config.valid_minutes, lambda: run.log(measure(state, config))))
    if config.vae:
        regular.append(("listen", config.listen_minutes, lambda: listen(state, config)))
    return run.loop(
        lambda: step(state, config),
        lambda: export(state, config),
        lambda metrics: run.log(metrics()),
        log_every=config.log_every,
        save_minutes=config.save_minutes,
        regular=regular,
    )


def begin(config: TrainConfig) -> State:
    """Model, optimiser and data, as they were when the run was stopped, if it was.

    Raises:
        ManifestError: the data isn't prepared.
        CheckpointError: the checkpoint is of another configuration.
    """
    arithmetic = precision(config.precision)
    accelerator = Accelerator(mixed_precision=arithmetic, cpu=not torch.cuda.is_available())
    known = arrangement.names() if config.model.arrangement else {}
    songs = LatentSongs(config.data, config.window, known)
    set_seed(derive_seed(config.seed, "weights") % 2**32)
    overrides = config.model.overrides | {"latent_dim": songs.facts.latent_dim}
    overrides |= {"arrangement": {role: list(names) for role, names in known.items()}} if known else {}
    model = SongTransformer.named(config.model.size, **overrides)
    if config.init is not None:
        begin_from(model, config.init)
    train_only(model, config.only)
    ema = EMA(model, config.ema)
    optimizer = torch.optim.AdamW(
        decay_groups(model, config.weight_decay), lr=config.lr, betas=(0.9, 0.98), fused=True
    )
    count = sum(p.numel() for p in model.parameters())
    logger.info("%d songs, %.1fM parameters, precision %s", len(songs), count / 1e6, arithmetic)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, config.out, config, config.max_minutes, config.max_steps)
    run.restore()
    place = (accelerator.process_index, accelerator.num_processes)
    batches = Batches(songs, config.batch_size, config.seed, config.dropout, *place)
    valid = valid_batches(config, known, accelerator.device)
    ear = listening(songs, config, accelerator.device)
    return State(accelerator, prepared, ema, optimizer, run, batches, valid, ear)


def listening(songs: LatentSongs, config: TrainConfig, device: torch.device) -> Ear:
    """From the same stretches of the training songs in every run of a seed."""

    def found(weight: float, labels: Labels, count: int, even: bool) -> Discriminants | None:
        if not weight:
            return None
        rng = generator(config.seed, "phones")
        order = rng.permutation(len(songs))
        drawn = (songs.item(int(index), *songs.stretch(int(index), rng), rng) for index in order)
        space = fit(drawn, labels, count, even=even)
        if space is None:
            logger.warning("%s: the songs say nothing of it, so no error counts more", labels.__name__)
        return None if space is None else space.to(device)

    return Ear(
        found(config.phones, phones.phones, phones.COUNT, even=False),
        found(config.tune, arrangement.tune, arrangement.players(), even=True),
    )


def begin_from(model: SongTransformer, folder: str) -> None:
    """Take over the weights of a trained song model, all of them.

    The trained one may lack the road of the sung phones or the arrangement, which change nothing at their
    start, or players and roles that have joined since: these are new, and the others keep what they learned.

    Raises:
        CheckpointError: no readable song model is there, or it has another shape or players unknown here.
    """
    try:
        source = SongTransformer.from_pretrained(folder, torch_dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no readable song model: {error}") from error
    trained = source.state_dict()
    if source.known and model.known:
        trained |= _by_name(source, model, folder)
    for part in ("voice.", "players."):
        if not any(name.startswith(part) for name in trained):
            trained |= {name: value for name, value in model.state_dict().items() if name.startswith(part)}
    shapes = [{name: value.shape for name, value in s.items()} for s in (model.state_dict(), trained)]
    if differs := sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()}):
        raise CheckpointError(f"the song model in {folder} has another shape, first at {differs[0]}")
    model.load_state_dict(trained)


def _by_name(source: SongTransformer, model: SongTransformer, folder: str) -> dict[str, torch.Tensor]:
    """The tables of players of a trained model, its rows at the numbers that their names have here."""
    own, trained = model.state_dict(), source.state_dict()
    found = {}
    for number, role in enumerate(ROLES):
        here, there = model.known.get(role, ()), source.known.get(role, ())
        if strange := [name for name in there if name not in here]:
            raise CheckpointError(f"the song model in {folder} has the {role} {strange[0]}, unknown here")
        rows = torch.tensor([0, *(1 + here.index(name) for name in there)])
        for table in (f"players.whole.{number}.weight", f"players.near.{number}.weight"):
            if (
                table in own and table not in trained
            ):  # a role that the trained one doesn't know: silent at first
                found[table] = torch.zeros_like(own[table])
            elif table in own and own[table].shape[1:] == trained[table].shape[1:]:
                found[table] = own[table].clone().index_copy_(0, rows, trained[table])
    return found


def valid_batches(
    config: TrainConfig, known: Mapping[str, Sequence[str]], device: torch.device
) -> list[Batch]:
    """The same stretches of held-out songs in every run of a seed; none without `valid`."""
    if config.valid is None:
        return []
    songs = LatentSongs(config.valid, config.window, known)
    size = min(config.batch_size, len(songs))
    batches = Batches(songs, size, config.seed)
    return [
        to_device(batches.batch(n), device)
        for n in range(max(1, min(config.valid_songs, len(songs)) // size))
    ]


def step(state: State, config: TrainConfig) -> Callable[[], dict[str, float]]:
    """One update, whose data and noise depend on seed, step and process alone; its metrics on demand."""
    run, accelerator = state.run, state.accelerator
    rate = config.lr * schedule(run.step, run.progress, config)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    times, losses, heard = [], [], []
    for part in range(config.accumulate):
        number = run.step * config.accumulate + part
        batch = to_device(state.batches.batch(number), accelerator.device)
        t, each, more = loss_of(state, batch, number, config)
        weighted = config.phones * more.get("phones", 0.0) + config.tune * more.get("tune", 0.0)
        accelerator.backward((each + weighted).mean() / config.accumulate)
        times.append(t)
        losses.append(each.detach())
        heard.append({name: value.detach() for name, value in more.items()})
    norm = accelerator.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.ema.update(state.bare)

    def metrics() -> dict[str, float]:
        all_losses, all_times = torch.cat(losses), torch.cat(times)
        bands = {f"loss/{k}": v for k, v in by_band(all_times, all_losses).items()}
        more = {f"loss/{name}": float(torch.cat([row[name] for row in heard]).mean()) for name in heard[0]}
        mean = float(all_losses.mean())
        return {"loss/velocity": mean, **bands, **more, "grad/norm": float(norm), "lr": rate}

    return metrics


def loss_of(
    state: State, batch: Batch, number: int, config: TrainConfig
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(times, losses, losses along directions by their name) of each song.

    Noise is drawn on the CPU, alike on every device.
    """
    seed = derive_seed(config.seed, "noise", number, state.accelerator.process_index)
    draws = torch.Generator().manual_seed(seed)
    t = draw_times(len(batch.latents), config.flow, draws).to(batch.latents.device)
    noise = torch.randn(batch.latents.shape, generator=draws).to(batch.latents.device)
    found = predict(state.model, make_flow(config.flow), batch, batch.conditions, t, noise)
    return t, found.losses, along(state.ear, found, batch, config)


def along(ear: Ear, found: Prediction, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """(B,) errors along the directions that the ear listens for."""
    losses = {}
    if ear.phones is not None:
        weights = phones.weights(batch.conditions, config.consonants)
        losses["phones"] = ear.phones.penalty(found.error, weights)
    if ear.tune is not None:
        losses["tune"] = ear.tune.penalty(found.error, arrangement.weights(batch.conditions, config.leads))
    return losses


def schedule(step: int, progress: float, config: TrainConfig) -> float:
    """Share of the learning rate: a linear rise over `warmup` steps, then a cosine fall to `final_lr`."""
    return warm_cosine(step, progress, config.warmup, config.final_lr)


def measure(state: State, config: TrainConfig) -> dict[str, float]:
    """Losses of the averaged weights on held-out songs, by what the model is told."""
    state.bare.eval()
    with state.ema.swapped(state.bare), state.accelerator.autocast():
        flow = make_flow(config.flow)
        found = held_out(state.bare, flow, state.valid, _VALID_TIMES, config.seed, state.ear)
    state.bare.train()
    return {f"valid/{name}": value for name, value in found.items()}


def listen(state: State, config: TrainConfig) -> None:
    """Sing the first held-out (else training) song with the averaged weights, to `samples/`."""
    from common.audio import Audio, write_audio
    from common.loudness import normalise
    from vae.load import load

    batch = state.valid[0] if state.valid else state.batches.batch(0)
    first = replace(batch.conditions, **{k: v[:1] for k, v in vars(batch.conditions).items()})
    draws = torch.Generator().manual_seed(derive_seed(config.seed, "listen"))
    with state.ema.swapped(state.bare), state.accelerator.autocast():
        latents = sample(state.bare, first, first.frames, scheduler_of(config), generator=draws)
    state.bare.train()
    vae = load(config.vae or "").to(latents.device)
    with torch.no_grad():
        wav = vae.decode(latents.mT.float())[0].cpu().numpy()
    folder = state.run.folder / "samples"
    folder.mkdir(exist_ok=True)
    write_audio(folder / f"step-{state.run.step:06d}.flac", normalise(Audio(wav, vae.sample_rate)))


def scheduler_of(config: TrainConfig) -> Any:
    """The scheduler that samples from what is trained."""
    if config.flow.kind == "mudit":
        return ddim()
    return InterpolantScheduler(path=config.flow.path, t_tilde=config.flow.t_tilde)


def export(state: State, config: TrainConfig) -> Path:
    """Write `model/` (averaged weights) and `scheduler/`; the export before stays until this one is whole."""
    folder = state.run.folder / "model"
    with whole_folder(folder) as draft, state.ema.swapped(state.bare):
        state.bare.save_pretrained(str(draft))
    scheduler_of(config).save_pretrained(str(state.run.folder / "scheduler"))
    return folder


def to_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(batch.latents.to(device), batch.mask.to(device), batch.conditions.to(device))


if __name__ == "__main__":
    run_command(main)
