"""The components of a pipeline, from their folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler

from chinmu.model import ChinMu
from common.errors import CheckpointError, SongError
from dit.model import SongTransformer
from dit.scheduler import InterpolantScheduler
from lyrics_llm.writer import Writer
from vae.load import load as load_vae


def load_part(name: str, folder: str | Path) -> Any:
    """One component in float32, whatever it was stored in.

    Raises:
        CheckpointError: anything that its loader complains of, in one sentence.
    """
    folder = Path(folder)
    try:
        return _LOADERS[name](folder)
    except SongError:
        raise
    except Exception as error:  # loaders of three libraries, each with its own exceptions
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"can't load the {name} from {str(folder)!r}: {reason}") from error


def _scheduler(folder: Path) -> Any:
    """The scheduler of a folder: ours (MuSiT) or one of diffusers' (MuDiT), by the class it names."""
    config = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
    kinds = {
        "InterpolantScheduler": InterpolantScheduler,
        "DDIMScheduler": DDIMScheduler,
        "DDPMScheduler": DDPMScheduler,
    }
    name = config.get("_class_name")
    if name not in kinds:
        raise CheckpointError(f"{folder} holds a {name}, but a scheduler is one of {', '.join(kinds)}")
    return kinds[name].from_pretrained(folder)


_LOADERS: dict[str, Callable[[Path], Any]] = {
    "vae": load_vae,
    "chinmu": ChinMu.from_pretrained,
    "writer": Writer.from_pretrained,
    "transformer": lambda folder: SongTransformer.from_pretrained(folder, torch_dtype=torch.float32),
    "scheduler": _scheduler,
}
