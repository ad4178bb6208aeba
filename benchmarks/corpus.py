"""How fast synthetic songs are made, and with how much memory.

    python -m benchmarks.corpus --songs 12

Goals: at least 15 seconds of song per CPU second, at most 700 MiB for a process.
"""

import argparse
import platform
import resource
import time

from benchmarks import positive
from common.errors import run_command
from corpus.synth import sheet, song, song_seed


def _memory() -> float:
    """The most memory that this process has held, MiB (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def measure_sheets(count: int, seed: int) -> float:
    """CPU milliseconds of one sheet, words and descriptions included, after the first."""
    sheet(song_seed(seed, 0, "valid"))
    began = time.process_time()
    for index in range(1, count + 1):
        sheet(song_seed(seed, index, "valid"))
    return (time.process_time() - began) / count * 1000


def measure_songs(count: int, seed: int) -> tuple[float, float]:
    """Seconds of song per CPU second, sheets included, and peak MiB.

    The first song is made before the clock starts: it loads the fonts and the lexicon. The
    syllables that a voice sings for the first time are within the time.
    """
    song(song_seed(seed, 0, "valid"), "valid")
    began, seconds = time.process_time(), 0.0
    for index in range(1, count + 1):
        seconds += song(song_seed(seed, index, "valid"), "valid").audio.duration
    return seconds / (time.process_time() - began), _memory()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus")
    parser.add_argument("--songs", type=positive, default=12)
    parser.add_argument("--sheets", type=positive, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"sheets: {measure_sheets(given.sheets, given.seed):.1f} ms of CPU each ({given.sheets} sheets)")
    rate, memory = measure_songs(given.songs, given.seed)
    print(f"songs: {rate:.1f} s of song per CPU second ({given.songs} songs; goal: at least 15)")
    print(f"memory: {memory:.0f} MiB at most")
    song(song_seed(given.seed, 0, "test"), "test", duration=240.0)
    print(f"memory with a song of 4 minutes: {_memory():.0f} MiB at most (goal: at most 700)")


if __name__ == "__main__":
    run_command(main)
