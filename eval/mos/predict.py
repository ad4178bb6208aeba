"""Score songs with a learned listener, and put takes of a prompt in order.

    python -m eval.mos.predict --songs songs                       # by impression
    python -m eval.mos.predict --songs songs --prompts prompts.jsonl --model runs/mos/model

The predictor that comes with the project has learned planted faults (hiss, wavering pitch, an unsteady
beat, wrong words), not people's opinions: it tells which of two takes has more of these, on songs like
those of the corpus, and nothing about beauty. A model trained on MusicEval's ratings takes its place.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio
from common.errors import AudioError, run_command
from eval import embeddings, prompts
from eval.mos.features import Heard, Quality
from eval.mos.model import Predictor

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parents[1] / "models/mos-planted"


@dataclass(frozen=True)
class Opinion:
    """What a song is thought to deserve, 1 to 5; alignment is None without words."""

    name: str
    impression: float
    alignment: float | None

    @property
    def overall(self) -> float:
        """The mean of what there is."""
        return self.impression if self.alignment is None else (self.impression + self.alignment) / 2


class Ear:
    """A predictor with its encoders.

    Args:
        model: a predictor's folder; the bundled one when None.
        weights: paths of encoders that aren't where `eval.embeddings` looks.
    Raises:
        CheckpointError: the predictor or an encoder's weights can't be used.
    """

    def __init__(self, model: str | Path | None = None, weights: embeddings.Weights | None = None) -> None:
        self.predictor = Predictor.load(model or BUNDLED)
        given = weights or embeddings.Weights()
        names = {self.predictor.config.hears, self.predictor.config.reads}
        self.encoders: dict[str, embeddings.Encoder] = {
            name: Quality() if name == "quality" else embeddings.load(name, embeddings.of(given, name))
            for name in sorted(names)
        }

    def hear(self, audio: Audio, words: str | None = None) -> Heard:
        """The rows of a song and the vector of its words."""
        config = self.predictor.config
        rows = {name: encoder.embed(self._as_trained(audio)) for name, encoder in self.encoders.items()}
        text = None if words is None else self.encoders[config.reads].embed_text([words])[0]
        return Heard(rows[config.hears], rows[config.reads], text)

    def _as_trained(self, audio: Audio) -> Audio:
        """A predictor in the paper's mode hears as the paper's code does."""
        if self.predictor.config.mode == "strong":
            return audio
        from eval.mos.train import as_the_paper_hears

        return as_the_paper_hears(audio)

    def opinions(self, songs: Sequence[tuple[str, Audio, str | None]]) -> list[Opinion]:
        """Of songs (name, audio, words), in their order."""
        overall, textual = self.predictor.predict([self.hear(audio, words) for _, audio, words in songs])
        return [
            Opinion(name, float(first), None if np.isnan(second) else float(second))
            for (name, *_), first, second in zip(songs, overall, textual)
        ]


@dataclass(frozen=True)
class Settings:
    """What to score."""

    songs: str  # a folder of audio files
    prompts: str | None = None  # as eval.prompts reads them
    model: str | None = None  # a predictor's folder; the bundled one when left out
    allow_missing: bool = False  # leave out files that can't be heard


def main() -> int:
    """Print songs, the best first."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings)
    ear = Ear(settings.model)
    files = embeddings.audio_files(settings.songs)
    if words := embeddings.unread(settings.songs):
        logger.warning("%s", words)
    asked = prompts.read(settings.prompts) if settings.prompts else {}
    answers = prompts.answered([f.stem for f in files], asked)
    found, missing = [], []
    for file in files:
        words = answers[file.stem].text if file.stem in answers else None
        try:
            found += ear.opinions([(file.stem, read_audio(file), words)])
        except AudioError as error:
            missing.append(embeddings.told_of(file, error))
    embeddings.refuse_missing(missing, len(files), settings.allow_missing)
    embeddings.say_missing(missing, set())
    print(f"learned from {ear.predictor.config.learned_from}")
    for o in sorted(found, key=lambda o: -o.overall):
        aligned = "" if o.alignment is None else f"  alignment {o.alignment:.2f}"
        print(f"{o.name:40} impression {o.impression:.2f}{aligned}")
    return 0


if __name__ == "__main__":
    run_command(main)
