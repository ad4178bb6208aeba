"""Train the recogniser of sung syllables on a corpus.

    accelerate launch -m eval.syllables.train --config eval/syllables/configs/demo.yaml \
        --manifest data/corpus/train/manifest.jsonl --codec runs/vae/model --out runs/syllables

On one CPU core in seconds: `--config eval/syllables/configs/tiny.yaml --max_steps 20`. Running the
same command again goes on from the last checkpoint. `runs/syllables/model/` is the averaged model,
which `python -m eval.lyrics --model` reads; `--init` begins from such a folder, with all losses at once.

The loss is CTC's, which asks for the right tokens in the right order, plus a cross-entropy of frames
wherever the corpus knows when a syllable is sung. The second one teaches the first to break through
early and keeps tokens where they are sung, which alignment needs. Source: Graves et al. 2006 (CTC).
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from common import training
from common.ema import EMA
from common.errors import ConfigError, ManifestError, command
from common.files import whole_folder
from common.phones import BLANK
from common.run import Run
from common.seeds import derive_seed
from common.training import decay_groups, warm_cosine
from corpus import manifest
from corpus.sung import UNKNOWN
from eval.syllables.data import Batch, DataConfig, Songs, cache
from eval.syllables.model import About, ModelConfig, Network, frames, load, save

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    manifest: str  # JSONL of the training songs
    out: str  # run folder
    also: tuple[str, ...] = ()  # manifests of further songs
    init: str | None = None  # folder of a trained recogniser to begin from, with its sizes
    valid: str | None = None  # JSONL of held-out songs for the validation loss
    codec: str | None = None  # a codec's folder: train on its round trip too
    decoded_songs: int = 120  # so many songs have a piece sent through it
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    lr: float = 3e-3
    weight_decay: float = 0.02
    warmup_steps: int = 50
    clip: float = 1.0  # largest norm of the gradient
    frame_weight: float = 1.0  # of the cross-entropy of frames
    ctc_weight: float = 0.15
    ctc_from: float = 0.3  # share of the budget in which frames alone teach; then CTC's weight grows
    ema_decay: float = 0.99
    cpu: bool = False  # train on the CPU even where there is a GPU
    max_minutes: float | None = None
    max_steps: int | None = None
    log_steps: int = 20
    save_minutes: float = 3.0
    valid_minutes: float = 5.0
    valid_batches: int = 8

    def __post_init__(self) -> None:
        if min(self.frame_weight, self.ctc_weight) < 0 or self.frame_weight + self.ctc_weight == 0:
            raise ConfigError(
                "frame_weight and ctc_weight aren't negative, nor both 0, "
                f"but got {self.frame_weight} and {self.ctc_weight}"
            )


State = training.State[TrainConfig, Network]


def prepare(config: TrainConfig, accelerator: Accelerator) -> State:
    """A new model with its optimiser, average and run folder, brought to the last checkpoint."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = Network(config.model) if config.init is None else load(config.init)[0].train()
    optimizer = torch.optim.AdamW(decay_groups(model, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
    ema = EMA(model, config.ema_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    ema.weights = {k: v.to(accelerator.device) for k, v in ema.weights.items()}
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, config.out, config, max_minutes=config.max_minutes, max_steps=config.max_steps)
    run.restore()
    return State(config, accelerator, run, model, optimizer, ema)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine over the budget down to a hundredth."""
    return config.lr * warm_cosine(step, progress, config.warmup_steps, 0.01)


def ctc(log_probs: Tensor, batch: Batch) -> Tensor:
    """The mean over crops of CTC's loss by token; a crop without words counts as one token."""
    lengths = frames(batch.lengths)
    each = F.ctc_loss(
        log_probs.transpose(0, 1), batch.targets, lengths, batch.target_lengths,
        blank=BLANK, reduction="none", zero_infinity=True,
    )  # fmt: skip
    return (each / batch.target_lengths.clamp_min(1)).mean()


def losses(
    log_probs: Tensor, batch: Batch, config: TrainConfig, progress: float = 1.0
) -> tuple[Tensor, dict[str, float]]:
    """The weighted loss of (B, T, tokens), and its parts with the share of frames that are right."""
    flat, labels = log_probs.flatten(0, 1), batch.labels.flatten()
    known = labels != UNKNOWN
    frame = F.nll_loss(flat[known], labels[known]) if known.any() else flat.sum() * 0
    order = ctc(log_probs, batch)
    right = (flat[known].argmax(-1) == labels[known]) & (labels[known] != BLANK)
    sung = (labels[known] != BLANK).sum().clamp_min(1)
    report = {"loss/frame": float(frame.detach()), "loss/ctc": float(order.detach())}
    report["frames/sung_right"] = float(right.sum() / sung)
    # At first CTC wants nothing but blanks, which undoes what the frames teach: it joins them later.
    waits = config.frame_weight and config.init is None
    grown = min(1.0, max(0.0, (progress - config.ctc_from) / 0.1)) if waits else 1.0
    return config.frame_weight * frame + config.ctc_weight * grown * order, report


def step(state: State, batch: Batch) -> dict[str, float]:
    """One update of the weights and of their average."""
    config, run = state.config, state.run
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, run.step, run.progress)
    state.model.train()
    device = state.accelerator.device
    log_probs = state.model(batch.mel.to(device), batch.lengths.to(device))
    loss, report = losses(log_probs.cpu(), batch, config, run.progress)
    state.accelerator.backward(loss)
    norm = state.accelerator.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.ema.update(state.bare)
    return report | {"train/grad_norm": float(norm), "train/lr": state.optimizer.param_groups[0]["lr"]}


@torch.no_grad()
def validate(state: State, songs: Songs) -> dict[str, float]:
    """The losses on held-out songs, of the averaged model."""
    rows = []
    state.model.eval()
    with state.ema.swapped(state.bare):
        for number in range(state.config.valid_batches):
            batch, device = songs[number], state.accelerator.device
            log_probs = state.bare(batch.mel.to(device), batch.lengths.to(device)).cpu()
            rows.append(losses(log_probs, batch, state.config)[1])
    state.model.train()
    return {
        f"valid/{name.replace('/', '_')}": float(np.mean([row[name] for row in rows])) for name in rows[0]
    }


def export(state: State, songs: int) -> Path:
    """Write the averaged model to `model/` in the run folder, whole or not at all."""
    folder = state.run.folder / "model"
    with whole_folder(folder) as draft, state.ema.swapped(state.bare):
        save(state.bare, draft, About(state.bare.config, f"{songs} songs, {state.run.step} steps"))
    return folder


def _songs(
    paths: Sequence[str], config: TrainConfig, accelerator: Accelerator, held_out: bool = False
) -> Songs:
    """The songs of manifests, heard by the main process first."""
    placed = [(record, Path(path).parent) for path in paths for record in manifest.read(path)]
    if not placed:
        raise ManifestError(f"{', '.join(paths)} holds no song")
    # Audio is looked for beside its own manifest.
    records = [replace(r, audio=str(root / r.audio)) if r.audio else r for r, root in placed]
    with accelerator.main_process_first():
        number = 0 if held_out else config.decoded_songs
        heard = cache(records, Path(), Path(config.out) / "features", config.codec, number)
    if held_out:
        plain = replace(config.data, gain_db=0.0, tilt_db=0.0, mask_bands=0, mask_frames=0, silent=0.0)
        return Songs(heard, plain, config.seed)
    return Songs(heard, config.data, config.seed, (accelerator.process_index, accelerator.num_processes))


def train(config: TrainConfig) -> Path | None:
    """Run the whole training; the exported model's folder (None in other than the main process).

    Raises:
        SongError: the manifest, its audio, the codec, the configuration or a checkpoint can't be used.
    """
    accelerator = Accelerator(mixed_precision="no", cpu=config.cpu)
    songs = _songs((config.manifest, *config.also), config, accelerator)
    valid = _songs((config.valid,), config, accelerator, held_out=True) if config.valid else None
    state = prepare(config, accelerator)
    run, count = state.run, len(songs.all)
    parameters = sum(p.numel() for p in state.bare.parameters())
    logger.info("%d songs, %d of them sung, %.2f M parameters", count, len(songs.sung), parameters / 1e6)
    stream = songs.batches(run.step)
    return run.loop(
        lambda: step(state, next(stream)),
        lambda: export(state, count),
        run.log,
        log_every=config.log_steps,
        save_minutes=config.save_minutes,
        regular=[("valid", config.valid_minutes, lambda: run.log(validate(state, valid)))] if valid else [],
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence when something that the user gave is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("eval").setLevel(logging.INFO)
    logging.getLogger("common.run").setLevel(logging.INFO)
    return training.train_as_told(train, TrainConfig, argv)


if __name__ == "__main__":
    sys.exit(main())
