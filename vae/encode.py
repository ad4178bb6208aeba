"""Sound files to files of latents, in constant memory.

python -m vae.encode song.flac other.mp3 latents/
"""

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from common.errors import AudioError, run_command
from vae.latents import encode_blocks, write_latents
from vae.load import DEMO, Codec, load
from vae.model import EarVAE
from vae.stream import duration, read_blocks

logger = logging.getLogger(__name__)

COMPILE = "compile what torch can: up to half a minute once, then faster (an ear-VAE of much sound)"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=DEMO, type=Path, help="folder of a codec (bundled)")
    parser.add_argument("--compile", action="store_true", help=COMPILE)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="FLAC, WAV, OGG, Opus or MP3")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="gets NAME.safetensors of each")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_names(options.inputs)
    codec = load(options.model)
    if options.compile:
        compile_layers(codec)
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in options.inputs:
        blocks = watched(read_blocks(path, codec.sample_rate), codec.sample_rate, duration(path), path.name)
        latents = encode_blocks(codec, blocks)
        target = options.folder / f"{path.stem}.safetensors"
        write_latents(target, latents)
        print(f"{target}: {latents.values.shape[1]} frames of {latents.values.shape[0]}")


def compile_layers(codec: Codec) -> None:
    """Compile what a codec has to be compiled."""
    if isinstance(codec, EarVAE):
        codec.fuse()
    else:
        logger.info("a %s has no layers that are compiled", type(codec).__name__)


def check_names(inputs: Sequence[Path]) -> None:
    """Raise AudioError when two inputs would write one output."""
    twice = [stem for stem, count in Counter(path.stem for path in inputs).items() if count > 1]
    if twice:
        raise AudioError(f"several inputs are named {twice[0]}: their outputs would overwrite each other")


def watched(blocks: Iterable[Tensor], sample_rate: int, seconds: float, name: str) -> Iterator[Tensor]:
    """The same blocks, with a bar of the seconds done where there is a terminal to see it."""
    with tqdm(total=round(seconds), desc=name, unit="s", leave=False, disable=None) as bar:
        done = 0
        for block in blocks:
            yield block
            done += block.shape[1]
            bar.update(done // sample_rate - bar.n)


if __name__ == "__main__":
    run_command(main)
