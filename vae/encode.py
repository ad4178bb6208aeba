"""Sound files to files of latents.

python -m vae.encode --model runs/vae/model song.flac other.wav latents/
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from common.audio import read_audio
from common.errors import run_command
from vae.latents import encode_audio, write_latents
from vae.load import load


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of a codec")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="FLAC, WAV, OGG or MP3")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="gets NAME.safetensors of each")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    codec = load(options.model)
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in options.inputs:
        latents = encode_audio(codec, read_audio(path))
        target = options.folder / f"{path.stem}.safetensors"
        write_latents(target, latents)
        print(f"{target}: {latents.values.shape[1]} frames of {latents.values.shape[0]}")


if __name__ == "__main__":
    run_command(main)
