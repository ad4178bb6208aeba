"""Train ChinMu on a corpus.

    accelerate launch -m chinmu.train --config chinmu/configs/demo.yaml \
        --manifest data/corpus/train/manifest.jsonl --out runs/chinmu --max_minutes 15

On two CPU cores in seconds: `--config chinmu/configs/tiny.yaml --max_steps 20`. Running the same
command again goes on from the last checkpoint. `runs/chinmu/model/` is the averaged model, in
bfloat16, ready for `ChinMu.from_pretrained`.

The paper's regimes: mini-batches are the default; large batches, of which only `chunk` songs are in
the towers at once, are `--data.batch_size 4096 --chunk 64`; trained on words alone is
`--data.tell.curriculum '["S"]'`, and so on for M, L, M-L and S-M-L, in stages with several.
"""

import copy
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from chinmu import losses
from chinmu.config import ModelConfig
from chinmu.data import Batch, DataConfig, Pairs, all_texts, batches, cache, pieces
from chinmu.hinting import Hinting
from chinmu.meaning import Meanings, WordVectors
from chinmu.meaning import read as read_words
from chinmu.model import ChinMu, build
from chinmu.prototypes import Prototypes
from chinmu.sung import spelling
from chinmu.telling import hide
from chinmu.text import character_tokenizer
from chinmu.validate import held_out, retrieval
from common import training
from common.config import check_least, check_training
from common.ema import EMA
from common.errors import CheckpointError, ConfigError, ManifestError, command
from common.files import whole_folder
from common.precision import precision
from common.run import Run
from common.seeds import derive_seed, generator
from common.training import decay_groups, train_only, warm_cosine
from corpus import manifest
from corpus.record import SongRecord
from corpus.sung import UNKNOWN

logger = logging.getLogger(__name__)

_PLACED = 4000  # texts by which a trained model's prototypes are found


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    manifest: str  # JSONL of the training songs
    out: str  # run folder
    also: tuple[str, ...] = ()  # JSONL files of further training songs
    valid: str | None = None  # JSONL of held-out songs for the validation loss
    init: str | None = None  # folder of a trained ChinMu to begin from, with its sizes and its tokenizer
    # Word vectors (word2vec) that teach the text tower words which no description says (chinmu.meaning).
    words: str | None = None
    only: tuple[str, ...] = ()  # parts that are trained, such as audio_tower; the rest stays as it is
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    clip: float = 1.0  # largest norm of the gradient
    label_weight: float = 1.0  # of the loss on labels that songs have and texts name (chinmu.prototypes)
    spread_weight: float = 5.0  # of the loss on vectors that are all alike (losses.spread)
    sung_weight: float = 1.0  # of the loss on phones that are sung, where model.audio.sung listens to them
    words_weight: float = 1.0  # of the loss on words' vectors
    words_most: int = 60_000  # of the most frequent words of the file
    words_batch: int = 192  # words in each process's step
    hints_batch: int = 0  # hints (chinmu.hinting) in each process's step; 0: they teach nothing
    hints_weight: float = 1.0  # of the loss on hints
    keep_weight: float = 0.0  # of the loss on text vectors that leave those of `init`, which others rely on
    # Other songs for which a text holds as well: they share the target, are left out, or count as wrong.
    others: Literal["soft", "masked", "wrong"] = "soft"
    share: float = 1.0  # soft: their weight beside the pair's 1 (losses.targets)
    chunk: int | None = None  # songs in the towers at once; fewer than a batch: gradients are cached
    ema_decay: float = 0.99
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"  # auto: bf16 where it is fast
    cpu: bool = False  # train on the CPU even where there is a GPU
    max_minutes: float | None = None
    max_steps: int | None = None
    log_steps: int = 20
    save_minutes: float = 3.0
    valid_minutes: float = 2.0
    valid_batches: int = 4
    valid_songs: int = 256  # of the pool that texts are ranked against in training

    def __post_init__(self) -> None:
        check_training(self, ema="ema_decay", warmup="warmup_steps", every="log_steps")
        check_least(self, 0, "valid_minutes")
        check_least(self, 1, "valid_batches")
        check_least(self, 0, "keep_weight", "words_weight", "hints_batch", "hints_weight")
        check_least(self, 1, "words_most", "words_batch")
        if self.keep_weight and self.init is None:
            raise ConfigError("keep_weight keeps text vectors near those of a model to begin from: name init")
        taught = "words" if self.words else "hints" if self.hints_batch else None
        if taught and self.only and not any(part.startswith("text") for part in self.only):
            off = "no words" if self.words else "hints_batch 0"
            raise ConfigError(
                f"{taught} teach the text tower, which isn't among the parts that are trained (only): "
                f"add it, or ask for {off}"
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share is between 0 and 1, but got {self.share}")
        if self.chunk is not None and self.chunk < 1:
            raise ConfigError(f"chunk is at least one song, but got {self.chunk}")


@dataclass
class State(training.State[TrainConfig, ChinMu]):
    """Everything alive in training."""

    prototypes: Prototypes  # wrapped as the model is
    before: ChinMu | None = None  # the model begun from, where its text vectors are to be kept
    meanings: Meanings | None = None  # wrapped as the model is
    hinting: Hinting | None = None


def prepare(
    config: TrainConfig, accelerator: Accelerator, pairs: Pairs, known: WordVectors | None = None
) -> State:
    """A model with its optimiser, average and run folder, brought to the last checkpoint.

    Args:
        known: words that the text tower learns the meaning of.

    Raises:
        CheckpointError: the model to begin from, or the checkpoint, can't be read.
        ConfigError: the model lacks a part that is to be trained.
    """
    hinting = Hinting(pairs.labels) if config.hints_batch else None
    if hinting is not None and not hinting.said:
        logger.warning(
            "the songs have no genre, mood, theme, singer or tempo that hints are of: they teach nothing"
        )
        hinting = None
    further = ("" if known is None else "".join(known.words)) + (hinting.characters if hinting else "")
    model = begun(config, pairs, further)
    meanings = None if known is None else Meanings(known, model.text_tower.config.hidden_size)
    train_only(model, config.only)
    prototypes = Prototypes(pairs.labels, config.model.dim)
    if config.init is not None:
        with torch.no_grad():
            texts, named = pairs.said(_PLACED)
            prototypes.place(model.embed_text(texts), named)
    groups = [
        *decay_groups(model, config.weight_decay),
        {"params": [prototypes.vectors], "weight_decay": 0.0},
    ]
    if meanings is not None:
        groups += decay_groups(meanings, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))
    ema = EMA(model, config.ema_decay)
    model, prototypes, optimizer = accelerator.prepare(model, prototypes, optimizer)
    meanings = None if meanings is None else accelerator.prepare(meanings)
    ema.weights = {k: v.to(accelerator.device) for k, v in ema.weights.items()}
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, config.out, config, max_minutes=config.max_minutes, max_steps=config.max_steps)
    run.restore()
    before = None
    if config.init is not None and config.keep_weight:
        before = ChinMu.from_pretrained(config.init).requires_grad_(False).to(accelerator.device)  # type: ignore[arg-type]
    return State(config, accelerator, run, model, optimizer, ema, prototypes, before, meanings, hinting)


def begun(config: TrainConfig, pairs: Pairs, characters: str = "") -> ChinMu:
    """The trained model to go on from, or a new one, its tower outputs standardised on the first batch.

    Its tokenizer knows the given characters too. A trained model that doesn't listen to what is sung, or to
    the levels of its bands, learns it where the configuration asks for it.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    if config.init is not None:
        model = ChinMu.from_pretrained(config.init)
        asked, compact = config.model.audio, model.audio_config.tower == "compact"
        if compact and asked.sung and not model.audio_config.sung:
            model = model.listening(asked.sung)
        if compact and asked.levels and not model.audio_config.levels:
            model = model.leveled(pairs.opening().windows)
        wanted = json.loads(json.dumps(asdict(config.model.audio)))
        heard = {name: value for name, value in model.config.audio.items() if name in wanted}
        if differs := [name for name, value in heard.items() if wanted[name] != value]:
            raise CheckpointError(
                f"the ChinMu in {config.init} has another model.audio.{differs[0]}: {heard[differs[0]]} "
                f"instead of {wanted[differs[0]]}"
            )
        return model.knowing(characters) if characters else model
    tokenizer = None
    if config.model.text.pretrained is None:
        texts = all_texts(pairs.teller, config.seed)
        tokenizer = character_tokenizer([*texts, characters], longest=config.model.text.longest)
    model = build(config.model, tokenizer)
    first = pairs.opening()
    model.calibrate(first.texts, first.windows)
    return model


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine over the budget down to a hundredth."""
    return config.lr * warm_cosine(step, progress, config.warmup_steps, 0.01)


Vectors = tuple[Tensor, Tensor, Tensor]  # of texts, of songs, and the logit scale
Encoded = tuple[Tensor, Tensor, Tensor, Tensor | None]  # these, and the logits of what is sung


def encode(state: State, batch: Batch, model: torch.nn.Module, part: int = 0) -> Encoded:
    """What the towers say of this process's pairs."""
    # Dropout follows from the step alone, so that resuming equals not stopping.
    number = state.accelerator.process_index
    torch.manual_seed(derive_seed(state.config.seed, "step", state.run.step, number, part))
    device = state.accelerator.device
    ids, mask = state.bare.tokenize(batch.texts)
    with state.accelerator.autocast():
        return model(ids, mask, batch.windows.to(device), batch.owner.to(device))


def objective(state: State, batch: Batch, vectors: Vectors) -> tuple[Tensor, dict[str, float]]:
    """The loss over the songs of all processes, and its parts."""
    config, device = state.config, state.accelerator.device
    text, audio = losses.gather(vectors[0]), losses.gather(vectors[1])
    holds = losses.gather(batch.holds.to(device))
    parts = {"loss/contrastive": compared(config, text, audio, vectors[2], holds)}
    named, known = losses.gather(batch.named.to(device)), losses.gather(batch.known.to(device))
    # One call for both, as data-parallel training wants a module called once a step.
    parts["loss/labels"] = state.prototypes(torch.cat([text, audio]), torch.cat([named, known]))
    parts["loss/spread"] = losses.spread(text) + losses.spread(audio)
    if state.before is not None:
        old = state.before.text_vectors(*state.before.tokenize(batch.texts))
        parts["loss/kept"] = losses.kept(text, losses.gather(old))
    weights = {
        "loss/labels": config.label_weight,
        "loss/spread": config.spread_weight,
        "loss/kept": config.keep_weight,
    }
    total = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
    report = {name: float(part.detach()) for name, part in parts.items()}
    report["train/top1"] = float(losses.agreement(text.detach(), audio.detach(), holds))
    report["train/scale"] = float(vectors[2].detach())
    return total, report


def compared(config: TrainConfig, text: Tensor, audio: Tensor, scale: Tensor, holds: Tensor) -> Tensor:
    """The contrastive loss, with the other songs that a text holds for treated as configured."""
    share = 0.0 if config.others == "wrong" else config.share
    return losses.contrastive(text, audio, scale, holds, share, masked=config.others == "masked")


def spelled(state: State, batch: Batch, logits: Tensor | None, total: Tensor) -> Tensor | float:
    """This process's part of the loss on what is sung, whose mean over processes is that of all frames.

    Args:
        total: frames of all processes whose phone is known.
    """
    if logits is None:
        return 0.0
    error, _, _ = spelling(logits, batch.sung.to(logits.device))
    return state.config.sung_weight * error * state.accelerator.num_processes / total.clamp_min(1)


def known_frames(state: State, batch: Batch) -> Tensor:
    """Frames of all processes' songs whose phone is known."""
    count = (batch.sung != UNKNOWN).sum().to(state.accelerator.device)
    return state.accelerator.reduce(count, reduction="sum")  # type: ignore[no-any-return]


def meant(state: State) -> Tensor | float:
    """This process's part of the loss on words' vectors; its own words, a mean over processes."""
    if state.meanings is None:
        return 0.0
    config, number = state.config, state.accelerator.process_index
    drawn = state.accelerator.unwrap_model(state.meanings).drawn
    words, rows = drawn(config.words_batch, config.seed, state.run.step, number)
    torch.manual_seed(derive_seed(config.seed, "meant", state.run.step, number))
    with state.accelerator.autocast():
        states = state.bare.pooled(*state.bare.tokenize(list(words)))
    return config.words_weight * state.meanings(states, rows)


def hinted(state: State) -> Tensor | float:
    """This process's part of the loss on hints; its own hints, a mean over processes.

    Songs and descriptions place the prototypes; hints only go where these are.
    """
    if state.hinting is None:
        return 0.0
    config, number = state.config, state.accelerator.process_index
    texts, labels = state.hinting.drawn(config.hints_batch, config.seed, state.run.step, number)
    rng = generator(config.seed, "hidden in hints", state.run.step, number)
    shown = [hide(text, rng, config.data.tell.hidden) for text in texts]
    torch.manual_seed(derive_seed(config.seed, "hinted", state.run.step, number))
    with state.accelerator.autocast():
        vectors = state.bare.text_vectors(*state.bare.tokenize(shown))
    prototypes = state.accelerator.unwrap_model(state.prototypes)
    return config.hints_weight * prototypes(vectors, labels.to(vectors.device), fixed=True)


def gradients(state: State, batch: Batch) -> dict[str, float]:
    """Gradients of a batch that the towers take whole."""
    *vectors, logits = encode(state, batch, state.model)
    loss, report = objective(state, batch, (vectors[0], vectors[1], vectors[2]))
    sung, words = spelled(state, batch, logits, known_frames(state, batch)), meant(state)
    hints = hinted(state)
    state.accelerator.backward(loss + sung + words + hints)
    return (
        report
        | _reported("loss/sung", sung)
        | _reported("loss/words", words)
        | _reported("loss/hints", hints)
    )


def _reported(name: str, part: Tensor | float) -> dict[str, float]:
    return {name: float(part.detach())} if isinstance(part, Tensor) else {}


def cached_gradients(state: State, batch: Batch, songs: int) -> dict[str, float]:
    """The same gradients with at most so many songs in the towers at once, at the cost of hearing twice.

    First all vectors without a graph, then the loss's gradient at them, then the towers again part by
    part, which pass it on.

    Source: Gao 2021 (GradCache), section 3.2.
    """
    parts = pieces(batch, songs)
    with torch.no_grad():
        heard = [encode(state, part, state.bare, number) for number, part in enumerate(parts)]
    text, audio, scale = (
        value.detach().requires_grad_()
        for value in (torch.cat([h[0] for h in heard]), torch.cat([h[1] for h in heard]), heard[0][2])
    )
    loss, report = objective(state, batch, (text, audio, scale))
    total = known_frames(state, batch)
    heard_sung: Tensor | float = 0.0
    words: Tensor | float = 0.0
    hints: Tensor | float = 0.0
    state.accelerator.backward(loss)
    assert text.grad is not None and audio.grad is not None and scale.grad is not None, (
        "the loss has no graph"
    )
    rows = list(zip(text.grad.split(songs), audio.grad.split(songs)))
    for number, (part, (text_grad, audio_grad)) in enumerate(zip(parts, rows)):
        last = number == len(parts) - 1
        # Processes exchange gradients once, with the last part's.
        with nullcontext() if last else state.accelerator.no_sync(state.model):
            own = encode(state, part, state.model, number)
            passed = (own[0] * text_grad).sum() + (own[1] * audio_grad).sum()
            # The scale's whole gradient comes with the last part, and nothing of it with the others.
            sung = spelled(state, part, own[3], total)
            words, hints = (meant(state), hinted(state)) if last else (0.0, 0.0)
            (passed + own[2] * (scale.grad if last else 0.0) + sung + words + hints).backward()
            heard_sung = heard_sung + sung.detach() if isinstance(sung, Tensor) else heard_sung
    return (
        report
        | _reported("loss/sung", heard_sung)
        | _reported("loss/words", words)
        | _reported("loss/hints", hints)
    )


def step(state: State, batch: Batch) -> dict[str, float]:
    """One update of the weights and of their average."""
    config, run = state.config, state.run
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, run.step, run.progress)
    state.model.train()
    if config.chunk is None or config.chunk >= len(batch.texts):
        report = gradients(state, batch)
    else:
        report = cached_gradients(state, batch, config.chunk)
    norm = state.accelerator.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.ema.update(state.bare)
    return report | {"train/grad_norm": float(norm), "train/lr": state.optimizer.param_groups[0]["lr"]}


@torch.no_grad()
def validate(state: State, pairs: Pairs) -> dict[str, float]:
    """Loss, share of best matches and retrieval on held-out songs, of the averaged model."""
    sums = {"valid/contrastive": 0.0, "valid/top1": 0.0}
    phones = torch.zeros(2, dtype=torch.long, device=state.accelerator.device)
    state.model.eval()
    with state.ema.swapped(state.bare):
        for number in range(state.config.valid_batches):
            batch = pairs[number]
            text, audio, scale, logits = encode(state, batch, state.bare)
            holds = batch.holds.to(state.accelerator.device)
            sums["valid/contrastive"] += float(compared(state.config, text, audio, scale, holds))
            sums["valid/top1"] += float(losses.agreement(text, audio, holds))
            if logits is not None:
                phones = phones + spelling(logits, batch.sung.to(logits.device))[2]
        asked = held_out(pairs.records, pairs.files, state.config.seed, state.config.valid_songs)
        found = retrieval(state.bare, asked)
    state.model.train()
    means = {k: v / state.config.valid_batches for k, v in sums.items()}
    if phones[1]:
        means["valid/phones"] = float(phones[0] / phones[1])  # share of sung frames whose phone is heard
    return means | found


def export(state: State) -> Path:
    """Write the averaged model to `model/` in the run folder, whole or not at all."""
    folder = state.run.folder / "model"
    with state.ema.swapped(state.bare):
        tokenizer, state.bare.tokenizer = state.bare.tokenizer, None
        small = copy.deepcopy(state.bare).to(device="cpu")  # type: ignore[call-arg]
        state.bare.tokenizer = small.tokenizer = tokenizer
    for parameter in small.parameters():
        if parameter.ndim >= 2:  # vectors and buffers cost nothing in float32
            parameter.data = parameter.data.to(torch.bfloat16)
    with whole_folder(folder) as draft:
        small.save_pretrained(draft)
    return folder


def _pairs(
    paths: Sequence[str],
    config: TrainConfig,
    accelerator: Accelerator,
    held_out: bool = False,
    places: dict[str, str] | None = None,
) -> Pairs:
    """The songs of manifests, with their features cached by the main process first.

    Args:
        places: where each id's song is; those of the manifests are added.
    Raises:
        ManifestError: no song has a description, or an id stands for two songs: features are kept by id.
    """
    records: list[SongRecord] = []
    files: list[Path] = []
    places = {} if places is None else places
    for path in paths:
        own = [r for r in manifest.read(path) if r.descriptions]
        if not own:
            raise ManifestError(f"{path} has no song with a description")
        for record in own:
            song = (
                str((Path(path).parent / record.audio).resolve()) if record.audio else f"seed {record.seed}"
            )
            if places.setdefault(record.id, song) != song:
                raise ManifestError(f"{path}: {record.id} is already another song, {places[record.id]}")
        with accelerator.main_process_first():
            files += cache(own, Path(path).parent, config.model.audio, Path(config.out) / "features")
        records += own
    if len({record.id for record in records}) < len(records):
        raise ManifestError(f"a song is in two of the manifests {', '.join(paths)}, and would meet itself")
    longest = config.model.text.longest - 2  # its first and last token
    if held_out:  # a smaller set than a batch serves too
        data = replace(config.data, batch_size=min(config.data.batch_size, max(2, len(records))))
        return Pairs(records, files, config.model.audio, data, config.seed, augment=False, longest=longest)
    place = accelerator.process_index, accelerator.num_processes
    return Pairs(records, files, config.model.audio, config.data, config.seed, *place, longest=longest)


def train(config: TrainConfig) -> Path | None:
    """Run the whole training; the exported model's folder (None in other than the main process).

    Raises:
        SongError: the manifest, its audio, the configuration or a checkpoint can't be used.
    """
    accelerator = Accelerator(mixed_precision=precision(config.mixed_precision, config.cpu), cpu=config.cpu)
    # Before the songs, whose features take long.
    known = None if config.words is None else read_words(config.words, config.words_most)
    places: dict[str, str] = {}
    pairs = _pairs([config.manifest, *config.also], config, accelerator, places=places)
    valid = _pairs([config.valid], config, accelerator, True, places) if config.valid else None
    state = prepare(config, accelerator, pairs, known)
    run = state.run
    parameters = sum(p.numel() for p in state.bare.parameters())
    logger.info("%d songs, %.2f M parameters", len(pairs.records), parameters / 1e6)
    stream = batches(pairs, run.step)
    return run.loop(
        lambda: step(state, next(stream)),
        lambda: export(state),
        run.log,
        log_every=config.log_steps,
        save_minutes=config.save_minutes,
        regular=[("valid", config.valid_minutes, lambda: run.log(validate(state, valid)))] if valid else [],
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence when something that the user gave is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    return training.train_as_told(train, TrainConfig, argv)


if __name__ == "__main__":
    sys.exit(main())
