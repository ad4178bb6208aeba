"""Files of latents to sound files, limited to −1 dBTP, in constant memory.

python -m vae.decode latents/song.safetensors sound/
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from common.errors import run_command
from vae.encode import COMPILE, check_names, compile_layers, watched
from vae.latents import Latents, decode_blocks, read_latents
from vae.load import DEMO, Codec, load
from vae.stream import limited, write_blocks


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=DEMO, type=Path, help="folder of their codec (bundled)")
    parser.add_argument("--compile", action="store_true", help=COMPILE)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="made by vae.encode")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="gets NAME.flac of each")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_names(options.inputs)
    codec = load(options.model)
    if options.compile:
        compile_layers(codec)
    for path in options.inputs:
        target = options.folder / f"{path.stem}.flac"
        written = decode_to(target, codec, read_latents(path))
        print(f"{target}: {written / codec.sample_rate:.1f} s")


def decode_to(path: Path, codec: Codec, latents: Latents) -> int:
    """Decode, limit and write piece by piece; returns the samples written."""
    rate = codec.sample_rate
    blocks = watched(decode_blocks(codec, latents), rate, latents.length / rate, path.name)
    return write_blocks(path, limited(blocks, rate), rate)


if __name__ == "__main__":
    run_command(main)
