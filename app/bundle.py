"""From the folders of four trainings to one folder of models, checked and measured.

    python -m app.bundle --vae runs/demo/vae/model --chinmu runs/demo/chinmu/model \\
        --writer runs/demo/lyrics/model --transformer runs/demo/dit/model --out app/models/demo

Weights are stored in bf16 (matrices only: vectors and buffers cost nothing in float32), the
bundle is loaded again, sings a few seconds, and its pace on this machine is stored beside it.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import pace
from app.folder import check, weights
from app.request import Request
from app.telling import Stopwatch
from common.errors import CheckpointError, SongError
from common.files import whole_folder

if TYPE_CHECKING:
    from app.pipeline import SongPipeline

logger = logging.getLogger(__name__)

TRIAL = "一首下雨天想家的慢歌，女声，钢琴"
TRIAL_SECONDS, TRIAL_STEPS = 15.0, 8
MIB = 1 << 20


def bundle(
    vae: str | Path,
    chinmu: str | Path,
    writer: str | Path,
    transformer: str | Path,
    out: str | Path,
    scheduler: str | Path | None = None,
    bf16: bool = True,
) -> Path:
    """Assemble `out` from the folders of its parts; whole or not at all.

    Args:
        scheduler: its folder; None: the `scheduler/` in or beside that of the transformer, else the default.
        bf16: store matrices in half the space.
    Returns:
        The folder.
    Raises:
        CheckpointError: a part can't be read, or the whole doesn't sing.
    """
    from app.parts import load_part
    from app.pipeline import SongPipeline

    out = Path(out)
    try:
        folders = {"vae": vae, "chinmu": chinmu, "writer": writer, "transformer": transformer}
        parts = {name: load_part(name, folder) for name, folder in folders.items()}
        parts["scheduler"] = _scheduler(scheduler, Path(transformer))
        with whole_folder(out) as draft:
            SongPipeline(**parts).save_pretrained(draft)
            if bf16:
                _halve(draft)
            pipeline = SongPipeline.from_pretrained(draft)
            pace.write(draft, measure(pipeline))
            check(draft)
    except SongError as error:
        raise CheckpointError(f"the models can't be bundled: {error}") from error
    for name, path in weights(out).items():
        logger.info("%s: %.1f MiB", name, path.stat().st_size / MIB)
    return out


def _scheduler(folder: str | Path | None, transformer: Path) -> Any:
    from app.parts import load_part
    from dit.scheduler import InterpolantScheduler

    if folder is None:  # `dit.train` writes it next to the folder of the weights
        places = (transformer / "scheduler", transformer.parent / "scheduler")
        folder = next((place for place in places if place.is_dir()), None)
    return InterpolantScheduler() if folder is None else load_part("scheduler", folder)


def _halve(folder: Path) -> None:
    """Store the float32 matrices of all weight files in bf16."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    for path in weights(folder).values():
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        small = {
            name: t.to(torch.bfloat16) if t.dtype == torch.float32 and t.ndim >= 2 else t
            for name, t in tensors.items()
        }
        save_file(small, path, metadata)
        path.chmod(0o644)  # as any file of a package; safetensors writes for the owner alone


def measure(pipeline: "SongPipeline") -> pace.Pace:
    """Seconds of work a second of song, of a short song sung twice (the first wakes everything up).

    Raises:
        SongError: it doesn't sing.
    """
    request = Request(TRIAL, duration=TRIAL_SECONDS, num_inference_steps=TRIAL_STEPS)
    for _ in range(2):
        watch = Stopwatch()
        pipeline.sing(request, progress=watch)
        stages = watch.stop()

    def each(*names: str) -> float:
        return sum(stages.get(name, 0.0) for name in names) / TRIAL_SECONDS

    return pace.Pace(
        write=each("writing lyrics", "composing"),
        step=each("singing") / TRIAL_STEPS,
        decode=each("reading the description", "decoding", "mastering"),
        probe=pace.probe(),
    )


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m app.bundle", description="One folder of trained models.")
    for part in ("vae", "chinmu", "writer", "transformer", "out"):
        parser.add_argument(f"--{part}", required=True, metavar="FOLDER")
    parser.add_argument("--scheduler", metavar="FOLDER", help="default: beside the transformer")
    parser.add_argument("--float32", action="store_true", help="keep all weights in float32")
    args = parser.parse_args(argv)
    try:
        folders = {part: getattr(args, part) for part in ("vae", "chinmu", "writer", "transformer", "out")}
        bundle(**folders, scheduler=args.scheduler, bf16=not args.float32)
    except SongError as error:
        print(f"app.bundle: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
