"""Sing held-out prompts and judge the songs: the asked genre, singer, tempo and mood, and the score kept.

Four systems are judged by the same probes: songs with a score, songs without one (the paper's
single-stage model), the codec's reconstruction of real held-out songs, and those songs themselves.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.audio import Audio, read_audio
from common.description import Audience
from common.errors import RequestError
from common.score import Score
from common.seeds import generator
from common.statistics import Estimate, bootstrap
from corpus.attributes import attributes, tempo_class
from corpus.plan import plan_of
from corpus.record import SongRecord
from eval import adherence, tempo
from eval.probes import MOOD, Probes

if TYPE_CHECKING:
    from app.pipeline import SongPipeline

logger = logging.getLogger(__name__)

_TRIES = 60  # phrasings of a song's description until one names all that is judged


@dataclass(frozen=True)
class Asked:
    """A held-out prompt and what it asks for."""

    record: SongRecord
    text: str
    audience: Audience
    genre: str
    singer: str
    tempo: float  # quarter notes a minute of the song that was described


@dataclass(frozen=True)
class Sung:
    """A song to judge, with the request and the score that it should have kept."""

    asked: Asked
    audio: Audio
    score: Score | None


def choose(records: Sequence[SongRecord], count: int) -> list[Asked]:
    """Prompts of held-out songs, audiences in turn, in held-out phrasings, that name genre, singer and tempo.

    Raises:
        RequestError: there aren't enough such songs.
    """
    found: list[Asked] = []
    for record in records:
        audience = list(Audience)[len(found) % 2]
        text = _phrase(record, audience)
        if text is not None and record.genre and record.singer and record.tempo:
            found.append(Asked(record, text, audience, record.genre, record.singer, record.tempo))
        if len(found) == count:
            return found
    raise RequestError(f"{count} prompts are needed, but the test songs yield {len(found)}: make more songs")


def _phrase(record: SongRecord, audience: Audience) -> str | None:
    """A description of the song that the lexicon reads back as its genre, singer and tempo."""
    from corpus.describe import prompt

    planned = plan_of(record)
    if planned is None or record.score is None or record.tempo is None or record.seed is None:
        return None
    for number in range(_TRIES):
        rng = generator(record.seed, "figures", number)
        text = prompt(planned, record.score, rng, audience, held_out=True)
        said = attributes(text)
        wanted = (record.genre, record.singer, tempo_class(record.tempo))
        if (said.get("genre"), said.get("singer"), said.get("tempo_class")) == wanted:
            return text
    return None


@dataclass(frozen=True)
class Study:
    """Which songs are sung, and where they are kept."""

    folder: Path
    model: str
    duration: float
    steps: int
    seeds: int
    bare_seeds: int

    @cached_property
    def pipeline(self) -> "SongPipeline":
        from app.pipeline import SongPipeline

        return SongPipeline.from_pretrained(self.model)

    def systems(self, asked: Sequence[Asked], root: Path) -> dict[str, list[Sung]]:
        """The songs of each system; what is missing is sung."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return {
            "with score": [self._song(a, seed) for a in asked for seed in range(1, self.seeds + 1)],
            "without score": [
                self._song(a, seed, bare=True) for a in asked for seed in range(1, self.bare_seeds + 1)
            ],
            "codec": [self._decoded(a, root) for a in asked],
            "real songs": [Sung(a, self._real(a, root), a.record.score) for a in asked],
        }

    def _song(self, asked: Asked, seed: int, bare: bool = False) -> Sung:
        """Sing with a score; or without it, and then judge against the score that it would have had."""
        from common.abc import from_abc

        name = f"{asked.record.id}-{seed}"
        folder = self.folder.with_name(f"{self.folder.name}-without-score") if bare else self.folder
        folder.mkdir(parents=True, exist_ok=True)
        path, sheet = folder / f"{name}.flac", self.folder / f"{name}.abc"
        if not (path.is_file() and sheet.is_file()):
            sung = self.pipeline(
                asked.text,
                duration=self.duration,
                audience=asked.audience,
                seed=seed,
                num_inference_steps=self.steps,
                use_score=not bare,
            )
            if sung.score is None and not sheet.is_file():
                raise RequestError(f"{sheet} is missing: sing with a score first")
            sung.save(path)
        return Sung(asked, read_audio(path), from_abc(sheet.read_text(encoding="utf-8")))

    def _decoded(self, asked: Asked, root: Path) -> Sung:
        import torch

        from common.loudness import normalise

        vae, audio = self.pipeline.vae, self._real(asked, root)
        wav = torch.from_numpy(audio.samples)[None]
        with torch.inference_mode():
            back = vae.decode(vae.encode(wav).mode(), wav.shape[-1])[0].float().numpy()
        return Sung(asked, normalise(Audio(back, audio.sample_rate)), asked.record.score)

    def _real(self, asked: Asked, root: Path) -> Audio:
        if asked.record.audio is None:
            raise RequestError(f"the held-out song {asked.record.id} has no audio file")
        return read_audio(root / asked.record.audio)


def judge(songs: Sequence[Sung], probes: Probes) -> dict[str, Estimate]:
    """Shares of songs that are what was asked for, and how well they keep their scores."""
    shares: dict[str, tuple[list[float], list[str]]] = {}  # not every prompt asks for everything
    for song in songs:
        for name, right in _verdicts(song, probes):
            values, names = shares.setdefault(name, ([], []))
            values.append(float(right))
            names.append(song.asked.record.id)
    chance = {"genre": 1 / len(probes.answers["genre"]), "singer": 1 / len(probes.answers["singer"])}
    chance |= {"tempo class": 1 / 3, "mood": 1 / max(1, len(probes.answers.get(MOOD, ())))}
    table = {
        name: bootstrap(values, songs=names, chance=chance.get(name))
        for name, (values, names) in shares.items()
    }
    kept = [adherence.measure(song.audio, song.score) for song in songs if song.score is not None]
    return table | {f"score: {name.replace('_', ' ')}": value for name, value in _kept(kept).items()}


def _verdicts(song: Sung, probes: Probes) -> Iterator[tuple[str, bool]]:
    verdict = probes.judge(song.audio)
    yield "genre", verdict.genre == song.asked.genre
    yield "singer", verdict.singer == song.asked.singer
    yield "tempo class", verdict.pace == tempo_class(song.asked.tempo)
    named = attributes(song.asked.text).get("mood")
    if named in probes.answers.get(MOOD, ()):
        yield "mood", verdict.mood == named
    wanted = song.score.tempo if song.score is not None else song.asked.tempo
    match = tempo.compare(verdict.tempo, wanted)
    yield "tempo within 4 % of the score, octaves allowed", match.octave


def _kept(songs: Sequence[adherence.Adherence]) -> dict[str, Estimate]:
    if not songs:
        return {}
    table = adherence.summary(songs)
    return {name: value for name, value in table.items() if np.isfinite(value.value)}
