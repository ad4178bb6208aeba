"""How fast it sings: seconds per stage, and the ratio to real time.

    python -m benchmarks.sing                 # 30 s of song, three times, with the bundled models
    python -m benchmarks.sing --duration 60 --songs 1 --model runs/mine/bundle

Loads once; the first song is counted too, since a user's first song is.
"""

import argparse
import statistics
import time

from app.doctor import cores
from app.folder import DEMO, check
from app.request import STEPS, Request
from app.telling import Stopwatch
from benchmarks import positive
from common.errors import run_command

PROMPT = "一首下雨天想家的慢歌，女声，钢琴"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast it sings.")
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of song")
    parser.add_argument("--songs", type=positive, default=3)
    parser.add_argument("--steps", type=positive, default=STEPS)
    args = parser.parse_args()
    folder = check(args.model)

    began = time.perf_counter()
    import torch

    from app.pipeline import SongPipeline

    imported = time.perf_counter()
    pipeline = SongPipeline.from_pretrained(folder)
    loaded = time.perf_counter()
    print(
        f"{cores()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {args.steps} steps"
    )
    print(f"imports {imported - began:.1f} s, loading {loaded - imported:.1f} s")
    totals = []
    for seed in range(1, args.songs + 1):
        watch = Stopwatch()
        request = Request(PROMPT, duration=args.duration, seed=seed, num_inference_steps=args.steps)
        pipeline.sing(request, progress=watch)
        stages = watch.stop()
        totals.append(sum(stages.values()))
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
        print(f"song {seed}: {totals[-1]:.1f} s ({parts})")
    middle = statistics.median(totals)
    many = f"median of {len(totals)}"
    print(
        f"{args.duration:g} s of song in {middle:.1f} s ({many}): {middle / args.duration:.2f} of its length"
    )


if __name__ == "__main__":
    run_command(main)
