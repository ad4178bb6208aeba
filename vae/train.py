"""Train a codec: the demo's `SpectralVAE`, or the ear-VAE with the objective and adversary of its paper.

accelerate launch -m vae.train --config vae/configs/demo.yaml \\
    --manifest data/corpus/train/manifest.jsonl --out runs/vae --max_minutes 20
accelerate launch -m vae.train --config vae/configs/paper.yaml \\
    --config vae/configs/ablations/no_phase.yaml --manifest music.jsonl --out runs/no_phase

One CPU core is enough for `demo` and `tiny`; add `--max_steps 3 --batch_size 1` for a look. The run folder
gets `metrics.jsonl`, `checkpoint/` (run the command again to resume), `model/`, the averaged
weights in bfloat16, loadable by `vae.load` at any time, and with `--excerpts 4`, as in `paper`,
`excerpts/` to hear and see: of `--excerpts_from`, else of the manifest's valid split, else of a few songs
that are kept from the training.

With a critic a step updates it, then the codec, on the same crops. Several processes, or several
batches an update, train on what one process with the larger batch would. Losses or gradients that aren't
finite end the training before they reach the weights: the crops are kept in `nan/`, the checkpoint stays.
"""

import copy
import json
import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from common.config import parse
from common.ema import EMA
from common.errors import ConfigError, ManifestError, SongError, run_command
from common.files import whole_folder
from common.frames import render
from common.pinyin import FINALS, INITIALS
from common.run import Run
from common.seeds import derive_seed
from common.training import warm_cosine
from vae import losses as terms
from vae import watch
from vae.config import EarWeights, Phase, SpectralWeights, TrainConfig, default_of
from vae.data import Crops, SongFile, hold_out, song_files, valid_songs
from vae.discriminator import Critic, Opinions, SpectrogramCritic
from vae.load import Codec, load
from vae.model import EarVAE
from vae.objective import EarObjective, Objective, Outcome, SpectralObjective
from vae.spectral import SpectralVAE

logger = logging.getLogger(__name__)

_CALIBRATED = 4.0  # seconds of a crop for the closed form
_EAR_SIZES = ("sample_rate", "channels", "multipliers", "strides", "latent_dim")

Listed = tuple[str, int]  # a manifest, list or folder, and the stage of its filter


class DivergedError(SongError):
    """A loss or a gradient isn't finite: the training can't go on from here."""


@dataclass
class State:
    """Everything that is alive in a training."""

    config: TrainConfig
    accelerator: Accelerator
    run: Run
    objective: Any  # the codec in its objective, prepared
    optimizer: Any
    ema: EMA
    critic: Any = None  # prepared; None without an adversary
    critic_optimizer: Any = None
    songs: dict[Listed, list[SongFile]] = field(default_factory=dict)
    crops: dict[Listed, Crops] = field(default_factory=dict)
    held_out: list[Tensor] = field(default_factory=list)  # excerpts, main process only

    @property
    def codec(self) -> Codec:
        return self.accelerator.unwrap_model(self.objective).codec


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    train(parse(TrainConfig, argv))


def train(config: TrainConfig) -> Path | None:
    """Train until steps or minutes are used up; the codec's folder (None beside the main process)."""
    state = prepare(config)
    run, objective = state.run, state.accelerator.unwrap_model(state.objective)
    if not run.restore():
        begin(objective, crops_of(state, None), config)
        if state.accelerator.is_main_process:
            export(objective, state.ema, run.folder / "model")

    def update() -> dict[str, Tensor]:
        values = step(state)
        state.ema.update(objective)
        return values

    return run.loop(
        update,
        lambda: export(objective, state.ema, run.folder / "model"),
        lambda values: log(state, values),
        log_every=config.log_every,
        save_minutes=config.save_minutes,
        regular=[("excerpts", config.excerpt_minutes, lambda: look(state))] if state.held_out else [],
    )


def prepare(config: TrainConfig) -> State:
    """Build codec, critic, optimisers and run; everything random comes from the configuration's seed."""
    songs, to_hear = read_songs(config)  # what is missing is told before anything is built
    accelerator = Accelerator(mixed_precision=config.precision, cpu=not torch.cuda.is_available())
    set_seed(derive_seed(config.seed, "weights") % 2**32)
    objective = build(config)
    ema = EMA(objective, config.ema)
    critic = build_critic(config)
    models: list[nn.Module] = [objective] if critic is None else [objective, critic]
    optimizers = [_optimizer(model, config) for model in models]
    prepared = accelerator.prepare(*models, *optimizers)
    accelerator.register_for_checkpointing(ema)
    steps = config.max_steps
    if config.phases:
        whole = sum(phase.steps for phase in config.phases)
        steps = whole if steps is None else min(steps, whole)
    run = Run(accelerator, config.out, config, config.max_minutes, steps)
    state = State(config, accelerator, run, prepared[0], prepared[len(models)], ema)
    if critic is not None:
        state.critic, state.critic_optimizer = prepared[1], prepared[3]
    state.songs = songs
    if to_hear and accelerator.is_main_process:
        rate = state.codec.sample_rate
        state.held_out = watch.excerpts(to_hear, config.excerpts, config.excerpt_seconds, rate)
    return state


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def build(config: TrainConfig) -> Objective:
    """A fresh codec, or the one to go on from, inside its objective."""
    codec: Codec
    if config.start is not None:
        codec = load(config.start).train()
        _check_start(config, codec)
    elif config.kind == "ear":
        codec = EarVAE.named(config.ear, **({} if config.ear_transformer else {"transformer_depth": 0}))
    else:
        codec = SpectralVAE(**asdict(config.spectral))
    if config.kind == "ear" and isinstance(codec, EarVAE):
        if config.compile:
            codec.fuse()
        mid_side = config.phase_channels == "MSLR"
        return EarObjective(codec, config.ear_weights, config.ear_windows, config.weighting, mid_side)
    if config.kind == "spectral" and isinstance(codec, SpectralVAE):
        return SpectralObjective(codec, config.spectral_weights, config.weighting)
    raise AssertionError(f"kind is {config.kind}, but the codec a {type(codec).__name__}")


def _check_start(config: TrainConfig, codec: Codec) -> None:
    """Refuse sizes that were asked for and that the codec to go on from doesn't have.

    Raises:
        ConfigError: naming the first, or the other kind of codec.
    """
    if not isinstance(codec, EarVAE if config.kind == "ear" else SpectralVAE):
        raise ConfigError(f"kind is {config.kind}, but {config.start} holds a {type(codec).__name__}")
    rows: list[tuple[str, Any, Any]] = []  # setting, what was asked for, what there is
    if config.kind == "spectral":
        usual = default_of(config, "spectral")
        rows += [(f"spectral.{k}", v, codec.config[k]) for k, v in vars(config.spectral).items()
                 if v != getattr(usual, k)]  # fmt: skip
    if config.kind == "ear" and config.ear != default_of(config, "ear"):
        with torch.device("meta"):  # its sizes without its weights
            named = EarVAE.named(config.ear).config
        rows += [(f"ear ({config.ear}), in its {k},", named[k], codec.config[k]) for k in _EAR_SIZES]
    if config.kind == "ear" and not config.ear_transformer:
        rows.append(("ear_transformer, in its layers,", 0, codec.config["transformer_depth"]))
    for name, wanted, found in rows:
        wanted, found = (list(v) if isinstance(v, tuple) else v for v in (wanted, found))
        if wanted != found:
            raise ConfigError(
                f"{name} is {wanted}, but the codec in {config.start} has {found} and keeps it: leave the "
                "setting out, or train a fresh codec"
            )


def build_critic(config: TrainConfig) -> Critic | SpectrogramCritic | None:
    """The adversary, None when neither of its losses has a weight."""
    weights = weights_of(config)
    if not (weights.adversarial or weights.feature):
        return None
    if config.kind == "spectral":
        return SpectrogramCritic(**asdict(config.spectral_critic))
    return Critic(**asdict(config.critic))


def weights_of(config: TrainConfig) -> EarWeights | SpectralWeights:
    """Of the losses of the kind of codec that is trained."""
    return config.ear_weights if config.kind == "ear" else config.spectral_weights


def begin(objective: Objective, crops: Crops, config: TrainConfig) -> None:
    """What comes before the first step: the closed form of a spectral codec, the same in every process."""
    if not isinstance(objective, SpectralObjective) or not config.calibration:
        return
    rate = objective.codec.sample_rate
    long = Crops(crops.songs, round(_CALIBRATED * rate), rate, config.seed)
    of = (config.calibration, slice(0, config.calibration), "calibration")
    read = long.read(*of)
    wavs = [torch.from_numpy(crop.wav) for crop in read]
    places = [(crop.song, crop.start) for crop in read]
    told = scores_at(places, objective.codec, _CALIBRATED) if config.distil else []
    found = objective.codec.calibrate(wavs, config.smooth, told, config.distil)
    logger.info("calibrated: %s", {k: round(v, 4) for k, v in found.items()})


def scores_at(places: Sequence[tuple[SongFile, float]], codec: SpectralVAE, seconds: float) -> list[Tensor]:
    """(frames, channels) of what the scores say of crops: chords, metre, melody, drums, syllables.

    Raises:
        ConfigError: a song's score isn't known.
    """
    told = []
    frames = codec.frames(round(seconds * codec.sample_rate))
    for song, start in places:
        if song.score is None:
            raise ConfigError(f"the score of {song.path} isn't known: set distil to 0, or take other songs")
        first = round(start * codec.frame_rate)
        whole = render(song.score, codec.frame_rate, first + frames)
        spoken = [torch.from_numpy(ids[first:]) for ids in (whole.initial, whole.final)]
        sung = [F.one_hot(ids, count) for ids, count in zip(spoken, (len(INITIALS), len(FINALS)))]
        told.append(torch.cat([torch.from_numpy(whole.channels[first:]), *sung], dim=1))
    return told


# ---- phases ----------------------------------------------------------------------------------


def phase_at(config: TrainConfig, step: int) -> tuple[Phase | None, int]:
    """The phase that a step belongs to, and the step's number in it; (None, step) without phases."""
    for phase in config.phases:
        if step < phase.steps:
            return phase, step
        step -= phase.steps
    return (config.phases[-1], config.phases[-1].steps - 1) if config.phases else (None, step)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Of a step: its phase's, or lr with a warm-up and a cosine fall where there are no phases."""
    phase, number = phase_at(config, step)
    if phase is None:
        return config.lr * schedule(step, progress, config)
    halved = sum(number >= at for at in phase.halve_at)
    return phase.lr * min(1.0, (number + 1) / max(1, phase.rise)) * 0.5**halved


def schedule(step: int, progress: float, config: TrainConfig) -> float:
    """Share of the learning rate: a linear rise over `warmup` steps, then a cosine fall to `final_lr`."""
    return warm_cosine(step, progress, config.warmup, config.final_lr)


def is_whole(config: TrainConfig, step: int, progress: float) -> bool:
    """Whether a step has all losses and the critic, not the warm-up's alone."""
    phase, _ = phase_at(config, step)
    return progress >= config.warmup_share if phase is None else phase.losses == "all"


def listed(config: TrainConfig, phase: Phase | None) -> Listed:
    """What a phase trains on; None for a run without phases."""
    songs = config.manifest if phase is None or phase.songs is None else phase.songs
    return songs, config.filter if phase is None or phase.filter is None else phase.filter


def read_songs(config: TrainConfig) -> tuple[dict[Listed, list[SongFile]], list[SongFile]]:
    """The songs of all phases, and songs to listen to: where none are named, some kept from every phase.

    Raises:
        ManifestError: a phase has no songs.
        ConfigError: there is nothing to listen to.
    """
    songs = {}
    for of in dict.fromkeys(listed(config, phase) for phase in (None, *config.phases)):
        songs[of] = song_files(of[0], config.split, of[1])
        minutes = sum(f.duration for f in songs[of]) / 60
        logger.info("%s: %d songs, %.0f minutes", of[0], len(songs[of]), minutes)
    if not config.excerpts:
        return songs, []
    try:
        if config.excerpts_from is not None:
            return songs, song_files(config.excerpts_from, "valid")
        if valid := valid_songs(config.manifest):
            return songs, valid
        heard = hold_out(songs[listed(config, None)], config.excerpts, config.seed)
        taken = {song.path.resolve() for song in heard}
        left = {of: [s for s in files if s.path.resolve() not in taken] for of, files in songs.items()}
        if not all(left.values()):
            raise ManifestError("nothing else is left to train on")
    except ManifestError as error:
        raise ConfigError(
            f"no held-out songs to listen to ({error}): name some with excerpts_from, or set excerpts to 0"
        ) from error
    names = ", ".join(song.path.name for song in heard)
    logger.info("%s has no valid split: kept from the training, to listen to: %s", config.manifest, names)
    return left, heard


def crops_of(state: State, phase: Phase | None) -> Crops:
    """Crops of the songs of a phase."""
    config, of = state.config, listed(state.config, phase)
    if of not in state.crops:
        rate = state.codec.sample_rate
        length = int(config.seconds * rate)
        state.crops[of] = Crops(state.songs[of], length, rate, config.seed, config.readers)
    return state.crops[of]


# ---- a step ----------------------------------------------------------------------------------

Batch = tuple[Tensor, Tensor]  # waveforms (batch, 2, time) and noise (batch, latent_dim, frames)


def step(state: State) -> dict[str, Tensor]:
    """One update of the critic and one of the codec; data and noise depend on seed and step alone.

    Returns the means of the losses over the batches of this process.
    Raises:
        DivergedError: a loss or a gradient isn't finite; no weight has taken it.
    """
    config, run = state.config, state.run
    whole = is_whole(config, run.step, run.progress)
    rate = learning_rate(config, run.step, run.progress)
    batches = [batch(state, run.step, number) for number in range(config.accumulation)]
    ahead(state, run.step + 1)
    adversary = whole and state.critic is not None
    values: dict[str, Tensor] = {}
    outcome = None
    if adversary:
        # One batch keeps its graph for the codec's turn; several are made again, so that one fits at a time.
        outcome = state.objective(*batches[0], whole) if len(batches) == 1 else None
        values |= update_critic(state, batches, outcome, rate)
    return values | update_codec(state, batches, outcome, whole, adversary, rate)


def batch(state: State, number: int, micro: int) -> Batch:
    """This process's share of the crops and the noise of a step, one of `accumulation` parts."""
    config, accelerator = state.config, state.accelerator
    size, part = share(state, micro)
    crops = crops_of(state, phase_at(config, number)[0])
    wav = crops.batch(size, part, "step", number)
    shape = (size, state.codec.latent_dim, state.codec.frames(crops.length))
    noise = torch.Generator().manual_seed(derive_seed(config.seed, "noise", number))
    drawn = torch.randn(shape, generator=noise)[part]
    return wav.to(accelerator.device), drawn.to(accelerator.device)


def share(state: State, micro: int) -> tuple[int, slice]:
    """(crops of a whole update, those of this process and this part)."""
    one, processes = state.config.batch_size, state.accelerator.num_processes
    start = (micro * processes + state.accelerator.process_index) * one
    return one * processes * state.config.accumulation, slice(start, start + one)


def ahead(state: State, number: int) -> None:
    """Let the readers begin with the crops of a step."""
    crops = crops_of(state, phase_at(state.config, number)[0])
    for micro in range(state.config.accumulation):
        crops.prepare(*share(state, micro), "step", number)


def update_critic(
    state: State, batches: Sequence[Batch], outcome: Outcome | None, rate: float
) -> dict[str, Tensor]:
    """Let the critic tell originals from copies once; the codec isn't touched."""
    losses, values = [], {}
    for number, (wav, noise) in enumerate(batches):
        with torch.no_grad():
            made = outcome or state.objective(wav, noise, True)
        with _synced(state, state.critic, number == len(batches) - 1):
            # Both in one call: a data-parallel wrapper expects one forward for one backward.
            opinions = state.critic(torch.cat([made.original, made.copy.detach()]))
            real, copied = zip(*(score.split(len(wav)) for score in opinions.scores))
            loss = terms.critic_loss(real, copied)
            state.accelerator.backward(loss / len(batches))
        losses.append(loss.detach())
    values["critic/loss"] = torch.stack(losses).mean()
    values["critic/gradient"] = _move(state, state.critic, state.critic_optimizer, batches, values, rate)
    return values


def update_codec(
    state: State,
    batches: Sequence[Batch],
    outcome: Outcome | None,
    whole: bool,
    adversary: bool,
    rate: float,
) -> dict[str, Tensor]:
    """Bring the codec down its losses once; the critic judges, but isn't touched."""
    rows: list[dict[str, Tensor]] = []
    for number, (wav, noise) in enumerate(batches):
        with _synced(state, state.objective, number == len(batches) - 1):
            made = outcome or state.objective(wav, noise, whole)
            losses = dict(made.losses)
            if adversary:
                losses |= judged(state, made)
                weights = weights_of(state.config)
                losses["total"] = (
                    losses["total"]
                    + weights.feature * losses["feature"]
                    + weights.adversarial * losses["adversarial"]
                )
            state.accelerator.backward(losses["total"] / len(batches))
        rows.append({name: value.detach() for name, value in losses.items()})
    values = {f"loss/{name}": torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
    gradient = _move(state, state.objective, state.optimizer, batches, values, rate)
    return values | {"codec/gradient": gradient, "codec/lr": torch.tensor(rate)}


def judged(state: State, made: Outcome) -> dict[str, Tensor]:
    """The critic's two terms of the codec's loss, with a gradient to the copy alone."""
    critic = state.accelerator.unwrap_model(state.critic)
    critic.requires_grad_(False)
    try:
        with state.accelerator.autocast():
            with torch.no_grad():
                real: Opinions = critic(made.original)
            found: Opinions = critic(made.copy)
        feature = terms.feature_matching(real.maps, found.maps)
        return {"feature": feature, "adversarial": terms.adversarial(found.scores)}
    finally:
        critic.requires_grad_(True)


def _synced(state: State, model: Any, last: bool) -> AbstractContextManager[Any]:
    """Gradients meet the other processes' in the last of several backward passes alone."""
    return nullcontext() if last else state.accelerator.no_sync(model)


def _move(
    state: State,
    model: Any,
    optimizer: Any,
    batches: Sequence[Batch],
    values: dict[str, Tensor],
    rate: float,
) -> Tensor:
    """Clip, check and take the optimiser's step; returns the norm of the gradient before clipping."""
    norm = torch.as_tensor(state.accelerator.clip_grad_norm_(model.parameters(), state.config.clip))
    fine = torch.isfinite(
        torch.stack([norm.to(v) for v in [norm]] + [v.float() for v in values.values()])
    ).all()
    if state.accelerator.num_processes > 1:  # one process's trouble ends all of them
        fine = state.accelerator.reduce(fine.float(), "mean") == 1
    if not fine:
        _diverged(state, batches, values | {"gradient": norm})
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return norm.detach()


def _diverged(state: State, batches: Sequence[Batch], values: dict[str, Tensor]) -> None:
    """Keep what the step was about, then raise."""
    run, process = state.run, state.accelerator.process_index
    folder = run.folder / "nan"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{run.step}-process-{process}.safetensors"
    tensors = {"wav": torch.cat([b[0] for b in batches]), "noise": torch.cat([b[1] for b in batches])}
    save_file({k: v.float().cpu().contiguous() for k, v in tensors.items()}, path)
    figures = {name: float(value) for name, value in values.items()}
    path.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    bad = (
        ", ".join(name for name, value in figures.items() if not math.isfinite(value)) or "another process's"
    )
    saved = [run.folder / name for name in ("checkpoint", "checkpoint.old")]
    last = next((c for c in saved if (c / "complete").is_file()), None)
    after = (
        f"the last checkpoint in {last}: go on from there"
        if last
        else "and there is no checkpoint: begin again"
    )
    raise DivergedError(
        f"step {run.step}: {bad} isn't finite, so the training ends; its crops are in {path}, {after} "
        "with a lower learning rate"
    )


# ---- what a run leaves -----------------------------------------------------------------------


def log(state: State, values: dict[str, Tensor]) -> None:
    """Means over all processes, to the run's metrics."""
    if state.accelerator.num_processes > 1:
        values = {
            k: state.accelerator.reduce(v.to(state.accelerator.device), "mean") for k, v in values.items()
        }
    skipped = sum(len(crops.skipped) for crops in state.crops.values())
    state.run.log({k: float(v) for k, v in values.items()} | ({"data/skipped": skipped} if skipped else {}))


def look(state: State) -> None:
    """Write the excerpts as the averaged weights copy them, and the curves of the losses."""
    objective, run = state.accelerator.unwrap_model(state.objective), state.run
    with state.ema.swapped(objective):
        watch.show(objective.codec, state.held_out, run.folder / "excerpts", run.step)
    metrics = run.folder / "metrics.jsonl"
    if metrics.is_file() and not watch.curves(metrics, run.folder / "curves.png"):
        logger.info("no curves.png: matplotlib isn't installed")


def export(objective: Objective, ema: EMA, folder: Path) -> Path:
    """Write the averaged weights to `folder`; the export before stays until this one is whole."""
    with ema.swapped(objective):
        codec = copy.deepcopy(objective.codec)
    for parameter in codec.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    with whole_folder(folder) as draft:
        codec.save_pretrained(str(draft))
    return folder


if __name__ == "__main__":
    run_command(main)
