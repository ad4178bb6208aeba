"""Train a codec: the demo's `SpectralVAE`, or the ear-VAE without its adversary.

accelerate launch -m vae.train --config vae/configs/demo.yaml \\
    --manifest data/corpus/train/manifest.jsonl --out runs/vae --max_minutes 20

One CPU core is enough for `demo`; add `--max_steps 3 --batch_size 1` for a look. The run folder
gets `metrics.jsonl`, `checkpoint/` (run the command again to resume) and `model/`, the averaged
weights in bfloat16, loadable by `vae.load` at any time.
"""

import copy
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from common.config import parse
from common.ema import EMA
from common.errors import ConfigError, run_command
from common.run import Run
from common.seeds import derive_seed
from vae.config import TrainConfig
from vae.data import SongFile, batch, song_files
from vae.load import Codec, load
from vae.model import EarVAE
from vae.objective import EarObjective, Objective, SpectralObjective
from vae.spectral import SpectralVAE

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    train(parse(TrainConfig, argv))


def train(config: TrainConfig) -> Path:
    """Train until steps or minutes are used up; returns the folder of the exported codec."""
    accelerator = Accelerator(mixed_precision=config.precision, cpu=not torch.cuda.is_available())
    songs = song_files(config.manifest, config.split)
    logger.info("%d songs, %.0f minutes", len(songs), sum(s.duration for s in songs) / 60)
    set_seed(derive_seed(config.seed, "weights") % 2**32)
    objective = build(config)
    ema = EMA(objective, config.ema)
    optimizer = torch.optim.AdamW(
        [p for p in objective.parameters() if p.requires_grad],
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
    objective, optimizer = accelerator.prepare(objective, optimizer)
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, config.out, config, config.max_minutes, config.max_steps)
    if not run.restore():
        begin(accelerator.unwrap_model(objective), songs, config)
        if accelerator.is_main_process:
            export(accelerator.unwrap_model(objective), ema, run.folder / "model")
    while not run.over():
        losses = step(accelerator, objective, optimizer, run, songs, config)
        ema.update(accelerator.unwrap_model(objective))
        run.advance()
        if run.step % config.log_every == 0:
            run.log({f"loss/{name}": float(value) for name, value in losses.items()})
        if run.due("save", config.save_minutes):
            export(accelerator.unwrap_model(objective), ema, run.folder / "model")
            run.save()
    run.save()
    if accelerator.is_main_process:
        export(accelerator.unwrap_model(objective), ema, run.folder / "model")
    return run.folder / "model"


def build(config: TrainConfig) -> Objective:
    """A fresh codec, or the one to go on from, inside its objective."""
    codec: Codec
    if config.start is not None:
        codec = load(config.start).train()
    elif config.kind == "ear":
        codec = EarVAE.named(config.ear)
    else:
        codec = SpectralVAE(**asdict(config.spectral))
    if config.kind == "ear" and isinstance(codec, EarVAE):
        return EarObjective(codec, config.ear_weights, config.ear_windows)
    if config.kind == "spectral" and isinstance(codec, SpectralVAE):
        return SpectralObjective(codec, config.spectral_weights)
    raise ConfigError(f"kind is {config.kind}, but {config.start} holds a {type(codec).__name__}")


def begin(objective: Objective, songs: Sequence[SongFile], config: TrainConfig) -> None:
    """What comes before the first step: the closed form of a spectral codec, the same in every process."""
    if not isinstance(objective, SpectralObjective) or not config.calibration:
        return
    rate = objective.codec.sample_rate
    crops = batch(songs, config.calibration, 4 * rate, rate, config.seed, "calibration")
    found = objective.codec.calibrate(list(crops))
    logger.info("calibrated: %s", {k: round(v, 4) for k, v in found.items()})


def step(
    accelerator: Accelerator,
    objective: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    songs: Sequence[SongFile],
    config: TrainConfig,
) -> dict[str, Tensor]:
    """One update of the weights; its data and noise depend on nothing but seed, step and process."""
    rate = accelerator.unwrap_model(objective).codec.sample_rate
    place = ("step", run.step, accelerator.process_index)
    wav = batch(songs, config.batch_size, int(config.seconds * rate), rate, config.seed, *place)
    noise = torch.Generator().manual_seed(derive_seed(config.seed, "noise", *place))
    for group in optimizer.param_groups:
        group["lr"] = config.lr * schedule(run.step, run.progress, config)
    losses = objective(wav.to(accelerator.device), noise)
    accelerator.backward(losses["total"])
    accelerator.clip_grad_norm_(objective.parameters(), config.clip)
    optimizer.step()
    optimizer.zero_grad()
    return {name: value.detach() for name, value in losses.items()}


def schedule(step: int, progress: float, config: TrainConfig) -> float:
    """Share of the learning rate: a linear rise over `warmup` steps, then a cosine fall to `final_lr`."""
    cosine = 0.5 + 0.5 * float(torch.cos(torch.tensor(progress * torch.pi)))
    return min(1.0, (step + 1) / max(1, config.warmup)) * (config.final_lr + (1 - config.final_lr) * cosine)


def export(objective: Objective, ema: EMA, folder: Path) -> None:
    """Write the averaged weights; the export before stays until this one is whole."""
    with ema.swapped(objective):
        codec = copy.deepcopy(objective.codec)
    for parameter in codec.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    codec.save_pretrained(str(fresh))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


if __name__ == "__main__":
    run_command(main)
