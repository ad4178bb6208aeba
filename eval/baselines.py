"""Rows that make a score mean something: what real songs, copies, strangers and noise get.

    python -m eval.baselines --prompts prompts.jsonl --references data/corpus/test/manifest.jsonl \
        --train data/corpus/train/manifest.jsonl --seconds 15 --out baselines
    python -m eval.run --songs baselines --prompts prompts.jsonl \
        --references data/corpus/test/manifest.jsonl --out scores

A folder for each system, a file for each prompt, called by its id, as `eval.run` pairs them:

    real        the held-out song that the words were said of: the ceiling
    vae         the same through the codec: what any song made of its latents loses at least
    retrieval   the training song that ChinMu finds nearest to the words
    random      any training song
    wrong       the held-out song of another prompt
    noise       white noise, as loud as a song: the floor
    musicgen, audioldm, audioldm2, stable-audio      published models, where their weights are here

Conventions: a song is its first `--seconds`, so that lengths are equal where songs are long enough. What
can't be made for lack of an input is said; a kind that was named is then an error. Files that are there
are kept when they were made for the same request, and refused otherwise. The same seed gives the same
samples.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio, read_tags, write_audio
from common.errors import CheckpointError, ConfigError, RequestError, SongError, command
from common.loudness import normalise
from common.seeds import derive_seed, generator
from eval import embeddings, generators, prompts
from eval.embeddings import Encoder
from eval.generators import PUBLISHED, System
from eval.probes import round_trip
from eval.prompts import Prompt
from eval.run import reference_files
from eval.similarity import unit
from vae.load import DEMO

logger = logging.getLogger(__name__)

NOISE_RATE = 44100


# ---- systems -------------------------------------------------------------------------------


class Chooser:
    """Answers with a song that exists.

    Args:
        songs: name → file.
        choose: which of them answers a prompt, by a seed.
    """

    def __init__(self, name: str, songs: dict[str, Path], choose: Callable[[Prompt, int], str]) -> None:
        self.name, self.songs, self.choose, self.made_by = name, songs, choose, "songs"

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """The beginning of the chosen song, as its file has it."""
        return beginning(read_audio(self.songs[self.choose(prompt, seed)]), seconds)


class Copied:
    """Another system's songs through a codec, at the codec's rate."""

    def __init__(self, name: str, inner: Chooser, codec: Path) -> None:
        self.name, self.inner, self._through = name, inner, round_trip(str(codec))
        self.made_by = embeddings.digest_of(codec, "round trip")

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """The copy of the beginning, within full scale."""
        copy = self._through(self.inner.generate(prompt, seconds, seed))
        return Audio(copy.samples / np.float32(max(1.0, copy.peak)), copy.sample_rate)


class Noise:
    """White noise in two channels, at the loudness of a song."""

    name, made_by = "noise", "white"

    def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
        """Samples (2, time) at 44.1 kHz."""
        samples = 0.1 * generator(seed, "white noise").standard_normal((2, round(seconds * NOISE_RATE)))
        return normalise(Audio(samples.clip(-1, 1).astype(np.float32), NOISE_RATE))


def beginning(audio: Audio, seconds: float) -> Audio:
    """The first seconds of a song; all of a shorter one."""
    return Audio(audio.samples[:, : max(1, round(seconds * audio.sample_rate))], audio.sample_rate)


# ---- choices -------------------------------------------------------------------------------


def own(asked: dict[str, Prompt], songs: dict[str, Path]) -> dict[str, str]:
    """Prompt's id → the song that it was said of.

    Raises:
        RequestError: a prompt has none among the songs.
    """
    found = {p.id: p.reference_in(songs) for p in asked.values()}
    lacking = [name for name, song in found.items() if song is None]
    if lacking:
        raise RequestError(
            f"{len(lacking)} of {len(found)} prompts, such as {lacking[0]!r}, have no song of their own "
            "among the references"
        )
    return {name: str(song) for name, song in found.items()}


def strangers(own_songs: dict[str, str], seed: int) -> dict[str, str]:
    """Prompt's id → the song of another prompt; prompts of one song get the same stranger.

    Raises:
        RequestError: all prompts were said of one song.
    """
    songs = sorted(set(own_songs.values()))
    if len(songs) < 2:
        raise RequestError("a wrong song needs prompts of at least two songs")
    order = generator(seed, "wrong songs").permutation(len(songs))
    following = {songs[a]: songs[b] for a, b in zip(order, np.roll(order, -1))}
    return {name: following[song] for name, song in own_songs.items()}


def nearest(
    encoder: Encoder, files: Sequence[Path], asked: dict[str, Prompt], cache: str | Path
) -> dict[str, str]:
    """Prompt's id → the song whose mean window is nearest to the words by an encoder's cosine."""
    heard = embeddings.embed_files(encoder, files, cache)
    songs = unit(np.stack([unit(rows).mean(0) for rows in heard]))
    told = unit(encoder.embed_text([p.text for p in asked.values()]))
    return {name: heard.names[i] for name, i in zip(asked, (told @ songs.T).argmax(1))}


# ---- what the inputs allow -----------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to make."""

    prompts: str  # .jsonl, .csv or .tsv; `english` is what models of English are told
    out: str
    references: str | None = None  # the prompts' own songs: a folder or a manifest
    train: str | None = None  # training songs: a folder or a manifest
    vae: str | None = None  # a codec's folder; the demo's when left out
    chinmu: str | None = None  # a ChinMu's folder; the demo's when left out
    kinds: list[str] = field(default_factory=list)  # all that the inputs allow when empty
    seconds: float = 30.0  # of each song, at most
    steps: int | None = None  # of diffusion models; their cards' when left out
    cache: str = "runs/embeddings"
    seed: int = 0
    weights: generators.Weights = field(default_factory=generators.Weights)


def _songs(given: str | None, option: str) -> dict[str, Path]:
    if given is None:
        raise RequestError(f"it needs {option}")
    return {path.stem: path for path in reference_files(given)}


def _real(settings: Settings, asked: dict[str, Prompt]) -> Chooser:
    songs = _songs(settings.references, "--references")
    found = own(asked, songs)
    return Chooser("real", songs, lambda prompt, seed: found[prompt.id])


def _vae(settings: Settings, asked: dict[str, Prompt]) -> Copied:
    folder = Path(settings.vae or DEMO)
    if not folder.is_dir():
        raise CheckpointError(f"there is no codec at {folder}: name one with --vae")
    return Copied("vae", _real(settings, asked), folder)


def _retrieval(settings: Settings, asked: dict[str, Prompt]) -> Chooser:
    songs = _songs(settings.train, "--train")
    encoder = embeddings.load("chinmu", settings.chinmu)
    found = nearest(encoder, list(songs.values()), asked, settings.cache)
    return Chooser("retrieval", songs, lambda prompt, seed: found[prompt.id])


def _random(settings: Settings, asked: dict[str, Prompt]) -> Chooser:
    songs = _songs(settings.train, "--train")
    names = sorted(songs)
    return Chooser(
        "random", songs, lambda _, seed: names[int(generator(seed, "any song").integers(len(names)))]
    )


def _wrong(settings: Settings, asked: dict[str, Prompt]) -> Chooser:
    songs = _songs(settings.references, "--references")
    found = strangers(own(asked, songs), settings.seed)
    return Chooser("wrong", songs, lambda prompt, seed: found[prompt.id])


def _noise(settings: Settings, asked: dict[str, Prompt]) -> Noise:
    return Noise()


def _published(name: str) -> Callable[[Settings, dict[str, Prompt]], System]:
    def make(settings: Settings, asked: dict[str, Prompt]) -> System:
        path = getattr(settings.weights, name.replace("-", "_"))
        return generators.load(name, path, steps=settings.steps)

    return make


MAKERS: dict[str, Callable[[Settings, dict[str, Prompt]], System]] = {
    "real": _real,
    "vae": _vae,
    "retrieval": _retrieval,
    "random": _random,
    "wrong": _wrong,
    "noise": _noise,
    **{name: _published(name) for name in PUBLISHED},
}


# ---- files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """What a run left in the folder of a system."""

    system: str
    songs: int
    fresh: int  # of them, made now


def answer(system: System, asked: dict[str, Prompt], settings: Settings) -> Made:
    """Write the songs of a system that its folder lacks, each whole or not at all.

    Raises:
        ConfigError: a file that is there was made for another request.
    """
    fresh = 0
    for prompt in asked.values():
        path = Path(settings.out) / system.name / f"{prompt.id}.flac"
        seed = derive_seed(settings.seed, system.name, prompt.id)
        song = system.choose(prompt, seed) if isinstance(system, Chooser) else ""
        request = _request(system, prompt, settings, song)
        if path.exists():
            if read_tags(path).get("request") != request:
                raise ConfigError(
                    f"{path} was made for another request (words, seconds, seed, weights or songs): remove "
                    "it or use another folder"
                )
            continue
        audio = beginning(system.generate(prompt, settings.seconds, seed), settings.seconds)
        tags = {"request": request, "system": system.name, "prompt": prompt.text, "song": song}
        write_audio(path, audio, {name: text for name, text in tags.items() if text})
        fresh += 1
        logger.info("%s: %s", system.name, prompt.id)
    return Made(system.name, len(asked), fresh)


def _request(system: System, prompt: Prompt, settings: Settings, song: str) -> str:
    """A hash of all that a song depends on."""
    told = generators.words(prompt) if system.name in PUBLISHED else prompt.text
    steps = settings.steps if system.name in PUBLISHED else None
    parts = (system.name, system.made_by, told, song, settings.seconds, settings.seed, steps)
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:24]


def make(settings: Settings) -> tuple[list[Made], list[str]]:
    """All systems that the inputs allow, and sentences of what was left out.

    Raises:
        SongError: an input can't be used, or a kind that was named can't be made.
    """
    unknown = sorted(set(settings.kinds) - set(MAKERS))
    if unknown:
        raise RequestError(f"there is no kind {unknown[0]!r}; known are {', '.join(MAKERS)}")
    if not settings.seconds > 0:
        raise RequestError(f"--seconds is above 0, but got {settings.seconds:g}")
    asked = prompts.read(settings.prompts)
    unsafe = [p.id for p in asked.values() if Path(p.id).name != p.id]
    if unsafe:
        raise RequestError(f"a prompt's id names a file, but {unsafe[0]!r} can't")
    done, left_out = [], []
    for kind in settings.kinds or MAKERS:
        try:
            system = MAKERS[kind](settings, asked)
        except SongError as error:
            if settings.kinds:
                raise RequestError(f"{kind} can't be made: {error}") from error
            left_out.append(f"{kind} is left out: {error}")
            continue
        done.append(answer(system, asked, settings))
    return done, left_out


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Make the songs and print what there is: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings, argv)
    done, left_out = make(settings)
    for made in done:
        print(f"{made.system}: {made.songs} songs, {made.fresh} of them new")
    print("\n".join(left_out), end="\n" if left_out else "")
    if not done:
        raise RequestError("nothing could be made of these inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
