"""Train the writer on the corpus's song sheets, or tune a Qwen3 (`chat` in the configuration).

    python -m lyrics_llm.train --config lyrics_llm/configs/demo.yaml --out runs/lyrics --max_minutes 15

In seconds: `--config lyrics_llm/configs/tiny.yaml --max_steps 20`. Running the same command again
goes on from the last checkpoint. `runs/lyrics/model/` is the averaged model in bfloat16, ready
for `Writer.from_pretrained`.
"""

import copy
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import Qwen3ForCausalLM

from common import training
from common.ema import EMA
from common.errors import command
from common.files import whole_folder
from common.precision import precision
from common.run import Run
from common.training import warm_cosine
from lyrics_llm import data, model
from lyrics_llm.config import TrainConfig
from lyrics_llm.tokens import Vocabulary, corpus_characters
from lyrics_llm.tokens import build as tokenizer

logger = logging.getLogger(__name__)

_BATCHES = ("token", "told")  # what the batches of a step are called in the metrics: songs, descriptions


@dataclass
class State(training.State[TrainConfig, Qwen3ForCausalLM]):
    """Everything alive in training."""

    vocabulary: Vocabulary


def prepare(config: TrainConfig, accelerator: Accelerator) -> State:
    """A new or trained model with its optimiser, average and run folder, brought to the last checkpoint.

    Raises:
        CheckpointError: the model to begin from, or the checkpoint, can't be read.
    """
    if config.init is None:
        vocabulary = _vocabulary(Path(config.out), accelerator)
        network = model.build(config.model, vocabulary, config.seed)
    else:
        network, known = model.load(config.init)
        vocabulary = _vocabulary(Path(config.out), accelerator, known)
        network = model.moved(network, known, vocabulary)
    optimizer = torch.optim.AdamW(_groups(network, config.weight_decay), lr=config.lr, betas=(0.9, 0.95))
    ema = EMA(network, config.ema_decay)
    network, optimizer = accelerator.prepare(network, optimizer)
    ema.weights = {k: v.to(accelerator.device) for k, v in ema.weights.items()}
    accelerator.register_for_checkpointing(ema)
    run = Run(accelerator, config.out, config, max_minutes=config.max_minutes, max_steps=config.max_steps)
    run.restore()
    return State(config, accelerator, run, network, optimizer, ema, vocabulary)


def _vocabulary(folder: Path, accelerator: Accelerator, known: Vocabulary | None = None) -> Vocabulary:
    """The vocabulary of the run: that of its first day, though the corpus may have grown since.

    On the first day it is the corpus's, with the characters of a `known` one that it goes on from.
    """
    kept = next(
        (folder / n for n in ("tokenizer", "model") if (folder / n / "tokenizer.json").is_file()), None
    )
    if kept is not None:
        return Vocabulary.load(kept)
    characters = set() if known is None else {name for name in known.names if len(name) == 1}
    vocabulary = Vocabulary(tokenizer(characters.union(corpus_characters())))
    if accelerator.is_main_process:
        vocabulary.tokenizer.save_pretrained(str(folder / "tokenizer"))
    accelerator.wait_for_everyone()
    return vocabulary


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Matrices decay; norms and the embedding don't."""
    decays = [p for n, p in network.named_parameters() if p.ndim >= 2 and "embed" not in n]
    rest = [p for n, p in network.named_parameters() if p.ndim < 2 or "embed" in n]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine over the budget down to a fiftieth."""
    return config.lr * warm_cosine(step, progress, config.warmup_steps, 0.02)


def losses(network: torch.nn.Module, ids: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Mean cross-entropy (nats) of the learned tokens, and their number.

    Rows are padded at the end, where a causal model needs no mask.
    """
    logits = network(input_ids=ids[:, :-1], use_cache=False).logits
    target = labels[:, 1:]
    learned = target != data.IGNORED
    return torch.nn.functional.cross_entropy(logits[learned].float(), target[learned]), int(learned.sum())


def step(state: State, batches: Sequence[data.Padded]) -> dict[str, float]:
    """One update of the weights and of their average; the losses of songs and of descriptions add up."""
    config, run = state.config, state.run
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, run.step, run.progress)
    state.model.train()
    report: dict[str, float] = {}
    for name, batch in zip(_BATCHES, batches):
        ids, labels = (tensor.to(state.accelerator.device) for tensor in batch)
        with state.accelerator.autocast():
            loss, count = losses(state.model, ids, labels)
        state.accelerator.backward(loss)
        report |= {f"loss/{name}": float(loss.detach()), f"train/{name}s": float(count)}
    norm = state.accelerator.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.ema.update(state.bare)
    return report | {"train/grad_norm": float(norm), "train/lr": state.optimizer.param_groups[0]["lr"]}


@torch.no_grad()
def validate(state: State) -> dict[str, float]:
    """Losses of the averaged model on songs of the split `valid`."""
    songs = data.Songs(state.config.data, state.vocabulary, state.config.seed, split="valid")
    found: dict[str, list[tuple[float, int]]] = {}
    state.model.eval()
    with state.ema.swapped(state.bare), state.accelerator.autocast():
        for index in range(state.config.valid_steps):
            for name, batch in zip(_BATCHES, songs[index]):
                ids, labels = (tensor.to(state.accelerator.device) for tensor in batch)
                loss, count = losses(state.bare, ids, labels)
                found.setdefault(name, []).append((float(loss) * count, count))
    state.model.train()
    return {
        f"valid/{name}": sum(s for s, _ in rows) / sum(n for _, n in rows) for name, rows in found.items()
    }


def export(state: State) -> Path:
    """Write the averaged model to `model/` in the run folder, whole or not at all."""
    folder = state.run.folder / "model"
    with state.ema.swapped(state.bare):
        small = copy.deepcopy(state.bare).to(device="cpu", dtype=torch.bfloat16)  # type: ignore[call-arg]
    with whole_folder(folder) as draft:
        model.save(small, state.vocabulary, draft)
    return folder


def train(config: TrainConfig) -> Path | None:
    """Run the whole training; the exported model's folder (None in other than the main process).

    Raises:
        SongError: the configuration or a checkpoint can't be used.
    """
    if config.chat is not None:
        from lyrics_llm import qlora  # needs peft and bitsandbytes, which take seconds to import

        return qlora.train(config, precision(config.mixed_precision, config.cpu))
    accelerator = Accelerator(mixed_precision=precision(config.mixed_precision, config.cpu), cpu=config.cpu)
    state = prepare(config, accelerator)
    run = state.run
    logger.info("%.2f M parameters", sum(p.numel() for p in state.bare.parameters()) / 1e6)
    songs = data.Songs(config.data, state.vocabulary, config.seed, accelerator.process_index)
    stream = data.batches(songs, run.step)
    return run.loop(
        lambda: step(state, next(stream)),
        lambda: export(state),
        run.log,
        log_every=config.log_steps,
        save_minutes=config.save_minutes,
        regular=[("valid", config.valid_minutes, lambda: run.log(validate(state)))],
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence when something that the user gave is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    return training.train_as_told(train, TrainConfig, argv)


if __name__ == "__main__":
    sys.exit(main())
