"""Distances and embeddings: how fast, how exact, in how much memory, and whether a kill costs anything.

    python -m benchmarks.evaluation                      # the Fréchet distance against scipy's sqrtm
    python -m benchmarks.evaluation --parts '[memory]'   # one long song, by windows
    python -m benchmarks.evaluation --parts '[resume]' --songs 1000

Goals: for fewer rows than dimensions at least 10 times as fast as sqrtm, with a smaller error; memory
that doesn't grow with a song's length but for its samples; a run that was killed computes only the rest.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# On one core: CPU seconds of threads that wait for each other are no work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.linalg import sqrtm

from common import config as configs
from common.audio import Audio, write_audio
from common.errors import run_command
from common.seeds import generator
from eval.fad import frechet_distance


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    parts: list[Literal["fad", "memory", "resume"]] = field(default_factory=lambda: ["fad"])
    dimensions: list[int] = field(default_factory=lambda: [512, 1024])
    rows: list[int] = field(default_factory=lambda: [50, 300, 1000, 5000])
    songs: int = 1000  # of resume


def by_root(x: np.ndarray, y: np.ndarray) -> float:
    """The distance as most programs have it: covariances, and the matrix root of their product."""
    first, second = np.cov(x.T), np.cov(y.T)
    root = np.real(sqrtm(first @ second))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def _timed(run: Callable[[], float]) -> tuple[float, float]:
    """CPU seconds, the least of three runs, and the value: the first also pays for its memory."""
    seconds, value = [], 0.0
    for _ in range(3):
        began = time.process_time()
        value = run()
        seconds.append(time.process_time() - began)
    return min(seconds), value


def fad(settings: Settings) -> None:
    """Seconds of CPU and the error on sets whose distance is known: a set and itself, shifted by 1."""
    for dimensions in settings.dimensions:
        for rows in settings.rows:
            rng = generator(0, "rows", dimensions, rows)
            x = rng.standard_normal((rows, dimensions)) @ rng.standard_normal((dimensions, dimensions)) / 30
            shift = np.full(dimensions, dimensions**-0.5)  # of length 1: the true distance is 1
            mine, value = _timed(lambda: frechet_distance(x, x + shift).value)  # noqa: B023
            theirs, root = _timed(lambda: by_root(x, x + shift))  # noqa: B023
            print(
                f"D {dimensions:5} N {rows:5}: {mine:7.3f} s, error {abs(value - 1):.1e}; "
                f"sqrtm {theirs:7.3f} s, error {abs(root - 1):.1e}; {theirs / mine:.0f} times as fast",
                flush=True,
            )


_MEMORY = """
import resource, sys
import numpy as np
from common.audio import Audio
from eval import embeddings
encoder = embeddings.load("corpus")
minutes = float(sys.argv[1])
samples = (0.1 * np.random.default_rng(0).standard_normal((1, int(22050 * 60 * minutes)))).astype(np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = encoder.embed(Audio(samples, 22050))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(rows), samples.nbytes / 2**20, (after - before) / 2**10)
"""


def memory(settings: Settings) -> None:
    """How much more memory an encoder takes for a song of ten minutes than for one of one."""
    for minutes in (1, 10):
        command = [sys.executable, "-c", _MEMORY, str(minutes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, song, more = map(float, done.stdout.split())
        print(f"{minutes:3} min: {rows:.0f} rows, samples {song:.0f} MiB, {more:.0f} MiB more at the peak")


def resume(settings: Settings) -> None:
    """Short songs by two encoders, killed on the way and run again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rate = 22050
        for number in range(settings.songs):
            noise = generator(number, "song").standard_normal((1, rate)).astype(np.float32)
            write_audio(root / f"songs/{number:05}.wav", Audio(0.1 * noise / np.abs(noise).max(), rate))
        command = [sys.executable, "-m", "eval.embeddings", "--songs", str(root / "songs")]
        command += ["--encoders", "[corpus, chinmu]", "--cache", str(root / "cache")]

        def made() -> int:
            return len(list(root.glob("cache/*/[!.]*.npy")))

        first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while made() < 1.2 * settings.songs:  # in the middle of the second encoder
            time.sleep(0.2)
        first.kill()
        first.wait()
        kept = made()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"killed after {kept} of {2 * settings.songs} embeddings; the second run made {made() - kept}")
        print(done.stdout.strip())


def main() -> int:
    """Print what each part measured."""
    settings = configs.parse(Settings)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for part in settings.parts:
        {"fad": fad, "memory": memory, "resume": resume}[part](settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory: {peak / (2**20 if platform.system() == 'Darwin' else 2**10):.0f} MiB at most")
    return 0


if __name__ == "__main__":
    run_command(main)
