"""How fast words and lead sheets are written: seconds on the clock and of the processors.

    python -m benchmarks.lyrics                   # two minutes of song, five times, the bundled writer
    python -m benchmarks.lyrics --model Qwen/Qwen3-4B-Instruct-2507 --four-bit --songs 1

Loads once, and writes one song before counting, as what is read on first use (dictionaries, tables)
is read once a process; that first song is told by itself. Processor seconds are those of all threads,
so they stand for a free machine even where other programs keep this one busy.
"""

import argparse
import os
import statistics
import time

from app.doctor import cores
from benchmarks import positive
from common.errors import run_command

PROMPT = "一首下雨天想家的慢歌，女声，钢琴"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast lyrics and lead sheets are written.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--four-bit", action="store_true")
    parser.add_argument("--duration", type=float, default=120.0, help="seconds of song")
    parser.add_argument("--songs", type=positive, default=5)
    parser.add_argument("--compose", action="store_true", help="write the lead sheets, too")
    args = parser.parse_args()

    clock = Clock()
    import torch

    import lyrics_llm
    from common.pinyin import units
    from lyrics_llm import author

    print(f"{cores()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    print(f"imports: {clock.lap()}")
    writer = author.load(args.model, four_bit=args.four_bit)
    print(f"loading: {clock.lap()}")
    walls, processors = [], []
    for seed in range(args.songs + 1):
        words = lyrics_llm.write(PROMPT, seed=seed, duration=args.duration, model=writer)
        lap = clock.lap()
        size = f"{sum(len(units(line)) for line in words.lines)} syllables in {len(words.lines)} lines"
        print(f"{f'song {seed}' if seed else 'first song'}: {lap}, {size}")
        if seed:
            walls.append(lap.wall)
            processors.append(lap.processor)
        if args.compose:
            lyrics_llm.compose(words, PROMPT, seed, duration=args.duration, model=writer)
            print(f"  its lead sheet: {clock.lap()}")
    wall, processor = statistics.median(walls), statistics.median(processors)
    print(
        f"lyrics of a song of {args.duration:g} s: {wall:.1f} s on the clock, {processor:.1f} s of the "
        f"processors (median of {len(walls)})"
    )


class Lap:
    """Seconds between two moments."""

    def __init__(self, wall: float, processor: float) -> None:
        self.wall, self.processor = wall, processor

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.processor:.1f} s of the processors)"


class Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._at = time.perf_counter(), time.process_time()

    def lap(self) -> Lap:
        now = time.perf_counter(), time.process_time()
        before, self._at = self._at, now
        return Lap(now[0] - before[0], now[1] - before[1])


if __name__ == "__main__":
    run_command(main)
