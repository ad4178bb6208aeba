"""Train a learned listener on rated songs, or on planted faults.

    accelerate launch -m eval.mos.train --data lists --folder MusicEval-phase1 --mode paper --out runs/mos
    python -m eval.mos.train --data planted --folder runs/planted/train --test runs/planted/test \
        --mode strong --out runs/mos-planted --max_minutes 5

`paper` is Liu 2025 (L1, SGD 5e-4 with momentum 0.9, batches of 64, early stopping after 20 epochs), its
audio as its code has it: 16 kHz samples taken for 48 kHz, at most 30 s of them, one vector. `strong`
resamples properly, hears windows, learns grades with AdamW. Differs from the authors' code in both: what
stops training is never what is reported.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from common import config as configs
from common.audio import Audio, resample, to_channels
from common.errors import ConfigError, RequestError, run_command
from common.run import Run
from common.seeds import derive_seed
from common.statistics import Estimate
from eval import embeddings
from eval.mos import data, planted
from eval.mos.features import Heard
from eval.mos.metrics import agreement
from eval.mos.model import Batch, ModelConfig, Predictor, StrongHeads, build, collate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """Settings of a training."""

    data: Literal["lists", "parquet", "planted"]
    folder: str  # of the set; for parquet of its files
    out: str
    mode: Literal["paper", "strong"] = "paper"
    test: str | None = None  # another planted set for test
    split: Literal["random", "systems", "published"] = "random"  # published: train, dev and test lists
    encoder: str = "laion-clap"  # for lists and parquet
    weights: str | None = None  # of the encoder
    cache: str = "runs/embeddings"
    epochs: int = 1000
    patience: int = 20  # epochs without a better validation
    batch_size: int = 64
    lr: float | None = None  # 5e-4 of SGD in paper mode, 1e-3 of AdamW in strong mode
    weight_decay: float = 0.05  # strong mode
    faintest: float = 0.2  # planted faults that are weaker can't be told from none, and are left out
    max_minutes: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Rated:
    """Utterances as the heads get them, with ratings (N, 2) of impression and alignment."""

    heard: list[Heard]
    ratings: np.ndarray
    systems: list[str]
    hears: str
    reads: str
    learned_from: str

    def where(self, places: Sequence[int] | np.ndarray) -> "Rated":
        return Rated(
            [self.heard[i] for i in places], self.ratings[places], [self.systems[i] for i in places],
            self.hears, self.reads, self.learned_from,
        )  # fmt: skip


# ---- what is heard -------------------------------------------------------------------------


def as_the_paper_hears(audio: Audio) -> Audio:
    """16 kHz samples, at most 30 s and padded to 30 s, called 48 kHz: one window of CLAP's 10 s.

    The authors' data is 16 kHz and their code hands it on as it is; CLAP hears it three times as fast.
    """
    samples = resample(to_channels(audio, 1), 16000).samples[:, :480000]
    return Audio(np.pad(samples, ((0, 0), (0, 480000 - samples.shape[1]))), 48000)


def hear(
    utterances: Sequence[data.Utterance], encoder: embeddings.Encoder, mode: str, cache: Path
) -> list[Heard]:
    """Rows and words of rated clips, kept under the hash of the clip and the mode."""
    folder = cache / f"mos-{mode}-{encoder.name}-{encoder.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    texts = sorted({u.text for u in utterances})
    words = dict(zip(texts, encoder.embed_text(texts)))
    out = []
    for number, u in enumerate(utterances):
        if number % 100 == 0:
            logger.info("clip %d of %d", number + 1, len(utterances))
        audio = u.audio()
        kept = folder / f"{derive_seed(0, u.name, audio.samples.tobytes())}.npy"
        if not kept.exists():
            rows = encoder.embed(as_the_paper_hears(audio))[:1] if mode == "paper" else encoder.embed(audio)
            part = kept.with_suffix(".part.npy")
            np.save(part, rows.astype(np.float32))
            part.replace(kept)
        rows = np.load(kept)
        out.append(Heard(rows, rows, words[u.text]))
    return out


def rated(config: Config) -> tuple[Rated, data.Split]:
    """Everything rated, and which part is for what.

    Raises:
        SongError: the set or an encoder's weights can't be used.
    """
    if config.data == "planted":
        return _planted(config)
    utterances, parts = _utterances(config)
    encoder = embeddings.load(config.encoder, config.weights)
    heard = hear(utterances, encoder, config.mode, Path(config.cache))
    ratings = np.array([[u.impression, u.alignment] for u in utterances])
    systems = [u.system for u in utterances]
    full = Rated(heard, ratings, systems, encoder.name, encoder.name, "people's ratings")
    if parts is not None:
        return full, parts
    return full, data.split(systems, "systems" if config.split == "systems" else "random", seed=config.seed)


def _utterances(config: Config) -> tuple[list[data.Utterance], data.Split | None]:
    if config.data == "parquet":
        if config.split == "published":
            raise ConfigError("the published split is one of lists: --data lists, or --split random")
        files = sorted(Path(config.folder).glob("*.parquet"))
        if not files:
            raise RequestError(f"{config.folder} holds no *.parquet")
        return data.read_parquet(files), None
    names = ("train", "dev", "test") if config.split == "published" else ("train", "dev")
    lists = [data.read_lists(config.folder, name) for name in names]
    ends = np.cumsum([0, *map(len, lists)])
    parts = None
    if config.split == "published":
        parts = data.Split(*(np.arange(a, b) for a, b in zip(ends[:-1], ends[1:])))
    return [u for part in lists for u in part], parts


def _planted(config: Config) -> tuple[Rated, data.Split]:
    folders = [config.folder] + ([config.test] if config.test else [])
    sets = [_audible(*planted.load(folder), config.faintest) for folder in folders]
    every = [p for rows, _ in sets for p in rows]
    heard = [h for _, rows in sets for h in rows]
    ratings = np.array([[p.impression, p.alignment] for p in every])
    # There are no systems; songs are what must not be in two parts.
    full = Rated(heard, ratings, ["planted"] * len(every), "quality", "chinmu", "planted faults")
    first = len(sets[0][0])
    songs = [p.song for p in every]
    if config.test is None:
        return full, data.split(songs, "systems", seed=config.seed)
    inner = data.split(songs[:first], "systems", share=0.1, seed=config.seed)
    return full, data.Split(
        np.concatenate([inner.train, inner.test]), inner.valid, np.arange(first, len(every))
    )


def _audible(
    rows: list[planted.Planted], heard: list[Heard], faintest: float
) -> tuple[list[planted.Planted], list[Heard]]:
    places = [i for i, p in enumerate(rows) if p.fault == "none" or p.strength >= faintest]
    return [rows[i] for i in places], [heard[i] for i in places]


# ---- training ------------------------------------------------------------------------------


@dataclass
class Best:
    """The best weights so far by validation, and for how many epochs they have been."""

    loss: float = float("inf")
    age: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, object]:
        return {"loss": self.loss, "age": self.age, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.loss, self.age, self.weights = state["loss"], state["age"], state["weights"]


def train(config: Config, full: Rated, parts: data.Split) -> Predictor:
    """Train heads, stop early, and measure on the test part."""
    from accelerate import Accelerator

    torch.manual_seed(derive_seed(config.seed, "mos"))
    sizes = ModelConfig(
        config.mode,
        full.heard[0].impression.shape[1],
        full.heard[0].alignment.shape[1],
        0 if full.heard[0].text is None else len(full.heard[0].text),
        full.hears,
        full.reads,
        full.learned_from,
    )
    accelerator = Accelerator()
    heads = build(sizes)
    learning, checking = full.where(parts.train), full.where(parts.valid)
    if isinstance(heads, StrongHeads):
        heads.measure(collate(learning.heard, sizes.text))
    optimizer = _optimizer(heads, config)
    heads, optimizer = accelerator.prepare(heads, optimizer)
    best = Best()
    accelerator.register_for_checkpointing(best)
    run = Run(accelerator, config.out, config, config.max_minutes, config.epochs)
    run.restore()
    while not run.over() and best.age < config.patience:
        loss = _epoch(heads, optimizer, accelerator, learning, config, run.step, sizes.text)
        run.advance()
        _validate(accelerator.unwrap_model(heads), checking, best, sizes.text)
        run.log({"train/loss": loss, "valid/best": best.loss})
        if run.save_due(minutes=5):
            run.save()
    final = accelerator.unwrap_model(heads).cpu()
    if best.weights:
        final.load_state_dict(best.weights)
    predictor = Predictor(final.eval(), sizes, {})
    return Predictor(predictor.heads, sizes, measure(predictor, full.where(parts.test)))


def _optimizer(heads: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    if config.mode == "paper":
        return torch.optim.SGD(heads.parameters(), lr=config.lr or 5e-4, momentum=0.9)
    return torch.optim.AdamW(heads.parameters(), lr=config.lr or 1e-3, weight_decay=config.weight_decay)


def _epoch(heads, optimizer, accelerator, rows: Rated, config: Config, epoch: int, text: int) -> float:  # type: ignore[no-untyped-def]
    """One pass; every process takes its share of each batch. Returns the mean loss."""
    heads.train()
    losses = []
    place, count = accelerator.process_index, accelerator.num_processes
    for chosen in data.batches(len(rows.heard), config.batch_size, config.seed, epoch):
        mine = chosen[place::count] if len(chosen) >= count else chosen
        batch = collate([rows.heard[i] for i in mine], text).to(accelerator.device)
        wanted = torch.from_numpy(rows.ratings[mine]).float().to(accelerator.device)
        loss = accelerator.unwrap_model(heads).loss(batch, wanted[:, 0], wanted[:, 1])
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        _average(heads, accelerator)
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _average(heads: torch.nn.Module, accelerator) -> None:  # type: ignore[no-untyped-def]
    """Gradients of several processes; the loss isn't `forward`, so the wrapper doesn't do it."""
    if accelerator.num_processes == 1:
        return
    for parameter in heads.parameters():
        if parameter.grad is not None:
            parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")


@torch.inference_mode()
def _validate(heads, rows: Rated, best: Best, text: int) -> None:  # type: ignore[no-untyped-def]
    heads.eval()
    device = next(heads.parameters()).device
    batch: Batch = collate(rows.heard, text).to(device)
    wanted = torch.from_numpy(rows.ratings).float().to(device)
    overall, textual = heads(batch)
    loss = float((overall - wanted[:, 0]).abs().mean() + (textual - wanted[:, 1]).abs().mean())
    best.age += 1
    if loss < best.loss:
        best.loss, best.age = loss, 0
        best.weights = {k: v.detach().cpu().clone() for k, v in heads.state_dict().items()}


def measure(predictor: Predictor, rows: Rated) -> dict[str, dict[str, dict]]:
    """Target → metric → figure on rated utterances."""
    found = predictor.predict(rows.heard)
    out = {}
    for place, target in enumerate(("impression", "alignment")):
        figures = agreement(found[place], rows.ratings[:, place], rows.systems)
        out[target] = {name: asdict(value) for name, value in figures.items()}
    return out


def main() -> int:
    """Train, print the figures of the test part, and keep the predictor."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = configs.parse(Config)
    full, parts = rated(config)
    predictor = train(config, full, parts)
    predictor.save(Path(config.out) / "model")
    print(f"learned from {full.learned_from}: {len(parts.train)} utterances, tested on {len(parts.test)}")
    for target, figures in predictor.scores.items():
        for name, figure in figures.items():
            print(f"{target:10} {name:7} {Estimate(**figure)}")
    (Path(config.out) / "scores.json").write_text(json.dumps(predictor.scores, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main)
