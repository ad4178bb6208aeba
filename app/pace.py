"""How long a song will take, said before it is sung.

`app.bundle` measures seconds a stage on its machine and stores them in the model folder as
`pace.json`, with the time of a small fixed computation. The same computation, timed here,
scales them to this machine.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from app.request import Request
from common.errors import CheckpointError

FILE = "pace.json"


@dataclass(frozen=True)
class Pace:
    """Seconds of work for a second of song, and the speed of the machine they were measured on."""

    write: float  # lyrics and lead sheet
    step: float  # one step of the sampler, guidance included
    decode: float  # VAE and mastering
    probe: float  # seconds of `probe()` on that machine

    def __post_init__(self) -> None:
        if (
            not all(isinstance(v, int | float) and 0 <= v < 1e4 for v in asdict(self).values())
            or self.probe <= 0
        ):
            raise CheckpointError(f"the measured pace of the models isn't usable: {self}")

    def seconds(self, request: Request, probe: float) -> float:
        """Estimate for a request on a machine that takes `probe` seconds for the probe."""
        written = request.score is None and (request.use_score or request.lyrics is None)
        each = self.step * request.num_inference_steps + self.decode + self.write * written
        return each * request.seconds * probe / self.probe


def read(folder: Path) -> Pace | None:
    """The pace stored with the models; None when nobody measured it. Raises CheckpointError."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Pace(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"can't read {FILE} of the model folder {str(folder)!r}: {error}") from error


def write(folder: Path, pace: Pace) -> None:
    text = json.dumps({name: round(value, 6) for name, value in asdict(pace).items()}, indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def probe() -> float:
    """Seconds of a product of matrices as large as a small song model's, the median of five."""
    import torch

    a, b = torch.ones(2048, 384), torch.ones(384, 1536)
    times = []
    for _ in range(6):
        began = time.perf_counter()
        for _ in range(4):
            a @ b
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])  # the first one wakes the threads
