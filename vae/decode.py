"""Files of latents to sound files, limited to −1 dBTP.

python -m vae.decode --model runs/vae/model latents/song.safetensors sound/
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from common.audio import write_audio
from common.errors import run_command
from common.loudness import limit
from vae.latents import decode_audio, read_latents
from vae.load import load


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of the codec that made the latents")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="made by vae.encode")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="gets NAME.flac of each")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    codec = load(options.model)
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in options.inputs:
        audio = decode_audio(codec, read_latents(path))
        target = options.folder / f"{path.stem}.flac"
        write_audio(target, limit(audio))
        print(f"{target}: {audio.duration:.1f} s")


if __name__ == "__main__":
    run_command(main)
