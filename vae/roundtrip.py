"""Hear what a codec keeps: a sound file through encoder and decoder.

python -m vae.roundtrip --model runs/vae/model song.flac copy.flac
"""

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from common.audio import read_audio, write_audio
from common.errors import run_command
from common.loudness import limit
from vae.latents import decode_audio, encode_audio
from vae.load import load


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of a codec")
    parser.add_argument("input", type=Path, metavar="IN", help="FLAC, WAV, OGG or MP3")
    parser.add_argument("output", type=Path, metavar="OUT", help="FLAC, WAV or OGG")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    codec, audio = load(options.model), read_audio(options.input)
    began = time.perf_counter()
    latents = encode_audio(codec, audio)
    between = time.perf_counter()
    copy = decode_audio(codec, latents)
    ended = time.perf_counter()
    write_audio(options.output, limit(copy))
    speeds = (audio.duration / (between - began), audio.duration / (ended - between))
    print(f"{options.output}: encoded {speeds[0]:.1f} and decoded {speeds[1]:.1f} times as fast as it sounds")


if __name__ == "__main__":
    run_command(main)
