"""Hear what a codec keeps: a sound file through encoder and decoder, in constant memory.

python -m vae.roundtrip song.flac copy.flac
"""

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import run_command
from vae.decode import decode_to
from vae.encode import COMPILE, compile_layers, watched
from vae.latents import encode_blocks
from vae.load import DEMO, load
from vae.stream import check_suffix, duration, read_blocks


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=DEMO, type=Path, help="folder of a codec (bundled)")
    parser.add_argument("--compile", action="store_true", help=COMPILE)
    parser.add_argument("input", type=Path, metavar="IN", help="FLAC, WAV, OGG, Opus or MP3")
    parser.add_argument("output", type=Path, metavar="OUT", help="FLAC, WAV or OGG")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_suffix(options.output)  # before the minutes that encoding may take
    codec, path = load(options.model), options.input
    if options.compile:
        compile_layers(codec)
    began = time.perf_counter()
    blocks = watched(read_blocks(path, codec.sample_rate), codec.sample_rate, duration(path), path.name)
    latents = encode_blocks(codec, blocks)
    between = time.perf_counter()
    decode_to(options.output, codec, latents)
    ended = time.perf_counter()
    seconds = latents.length / codec.sample_rate
    speeds = (seconds / (between - began), seconds / (ended - between))
    print(f"{options.output}: encoded {speeds[0]:.1f} and decoded {speeds[1]:.1f} times as fast as it sounds")


if __name__ == "__main__":
    run_command(main)
