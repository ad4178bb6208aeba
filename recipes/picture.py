"""Draw a song: its mel spectrogram, with the sections, chords and melody of the lead sheet beside it.

python -m recipes.picture songs/song-1.flac docs/song.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.abc import from_abc
from common.audio import read_audio
from common.errors import SongError
from common.score import Score
from eval.hearing import log_mel, mono

BANDS = 96


def draw(song: Path, out: Path) -> None:
    """Write the picture. Raises AudioError or ScoreError when the song can't be read."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    audio = read_audio(song)
    sheet = song.with_suffix(".abc")
    score = from_abc(sheet.read_text(encoding="utf-8")) if sheet.is_file() else None
    mel = log_mel(mono(audio), bands=BANDS, n_fft=4096, hop=512)
    figure, axes = pyplot.subplots(figsize=(12, 3.6), layout="constrained")
    top = float(mel.values.max())
    span = (0, audio.duration, 0, BANDS)
    axes.imshow(mel.values, origin="lower", aspect="auto", extent=span, vmin=top - 70, vmax=top, cmap="magma")
    axes.set(xlabel="seconds", ylabel="mel band", yticks=[])
    if score is not None:
        _sections(axes, score)
    figure.savefig(out, dpi=90)
    pyplot.close(figure)


def _sections(axes: Any, score: Score) -> None:
    """Names of the sections above, a line at each border."""
    for section in score.section_spans():
        axes.axvline(section.start, color="white", linewidth=0.8)
        middle = (section.start + section.end) / 2
        axes.text(middle, BANDS + 2, section.label, ha="center", va="bottom", fontsize=9)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.picture", description="Draw a song.")
    parser.add_argument("song", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)
    try:
        draw(arguments.song, arguments.out)
    except SongError as error:
        print(f"recipes.picture: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
