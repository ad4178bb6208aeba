"""From nothing to the bundled models: corpus, VAE, ChinMu, lyric model, latents, MuSiT, figures.

    python -m recipes.demo                        # everything: hours on two cores, minutes on a GPU
    python -m recipes.demo --size tiny --work runs/tiny   # the same road in a few minutes, for a look
    python -m recipes.demo --stages '[dit, bundle]'       # some stages again
    python -m recipes.demo --minutes 0.1 --songs 0.1      # a tenth of each training, of a tenth of the songs
    python -m recipes.demo --init app/models/demo --seed 20000   # trained models learn further songs

Every stage is a command of its room, printed before it runs, so each can be run by hand. A stage
that has its minutes behind it ends at once when it is run again; one that was stopped goes on.
What each stage cost is added to `WORK/costs.jsonl`.
"""

import json
import logging
import math
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.config import parse
from common.errors import ConfigError, SongError

Stage = Literal["corpus", "vae", "chinmu", "lyrics", "latents", "dit", "probes", "bundle", "figures"]
STAGES: tuple[Stage, ...] = (
    "corpus",
    "vae",
    "chinmu",
    "lyrics",
    "latents",
    "dit",
    "probes",
    "bundle",
    "figures",
)
TRAINING, HELD_OUT = ("train", "short", "ears"), ("valid", "test", "pool")
# Sets that are more of a split of the corpus: that split, and how far their seeds are from its own.
KINDS = {"pool": ("test", 1_000_000), "short": ("train", 5_000_000), "ears": ("train", 5_001_600)}
HELD_OUT_SEED = 1  # whatever was trained is measured by the same songs
FEWEST = {"demo": 128, "tiny": 4}  # songs of a set for training: a batch of ChinMu's has as many
EARS = ["--only", "[audio_tower, audio_projection]", "--hints_batch", "0"]  # ChinMu's texts stay
# How a trained model goes on. The song model relies on ChinMu's text vectors.
GOING_ON = {
    "chinmu": [*EARS, "--label_weight", "3"],
    "lyrics": ["--lr", "1e-3"],
    "dit": ["--lr", "7e-4", "--warmup", "60", "--phones", "8", "--consonants", "5", "--tune", "5"],
}


@dataclass(frozen=True)
class Songs:
    """How many songs of which length (seconds) a split has."""

    songs: int
    shortest: float
    longest: float


@dataclass(frozen=True)
class Minutes:
    """The time box of each training, in minutes of wall time."""

    vae: float
    chinmu: float
    chinmu_audio: float
    lyrics: float
    dit: float


# `pool` holds the short held-out songs among which retrieval is measured (Wang 2025, table 3: 666),
# `short` and `ears` further songs for ChinMu's ears and the song model, the first for the probes, too.
CORPUS: dict[str, dict[str, Songs]] = {
    "demo": {
        "train": Songs(1000, 20, 45),
        "valid": Songs(24, 20, 45),
        "test": Songs(72, 20, 45),
        "pool": Songs(666, 12, 16),
        "short": Songs(1600, 12, 13),
        "ears": Songs(5000, 12, 13),
    },
    "tiny": {split: Songs(FEWEST["tiny"], 12, 14) for split in (*TRAINING, *HELD_OUT)},
}
MINUTES = {"demo": Minutes(45, 35, 75, 85, 160), "tiny": Minutes(0.2, 0.2, 0.2, 0.2, 0.2)}


@dataclass(frozen=True)
class Settings:
    """What to make, and where."""

    size: Literal["demo", "tiny"] = "demo"
    work: str = "runs/demo"  # corpus, latents and run folders
    # The bundle; else app/models/demo for the size `demo` from nothing, and WORK/bundle for anything else.
    out: str | None = None
    # A bundle whose models are trained further, instead of new ones. Its codec stays: the song model
    # speaks in its latents.
    init: str | None = None
    songs: float = 1.0  # share of the training songs
    minutes: float = 1.0  # share of each training's time
    seed: int = 1  # of the training songs; those for evaluation are always the same
    stages: tuple[Stage, ...] = field(default=STAGES)
    processes: int = 2  # of the corpus generator

    def __post_init__(self) -> None:
        if not (0 < self.songs <= 1 and 0 < self.minutes < math.inf):
            raise ConfigError(
                "songs is a share, above 0 and at most 1, and minutes is above 0, "
                f"but got {self.songs} and {self.minutes}"
            )
        if self.init is not None and not (Path(self.init) / "model_index.json").is_file():
            raise ConfigError(
                f"init is a bundle such as app/models/demo, but {self.init} has no model_index.json"
            )


@dataclass(frozen=True)
class Recipe:
    """The commands of a setting, stage by stage."""

    settings: Settings

    def corpus_folder(self, split: str) -> Path:
        return Path(self.settings.work) / "corpus" / split

    def run_folder(self, room: str) -> Path:
        return Path(self.settings.work) / room

    @property
    def bundle_folder(self) -> Path:
        if self.settings.out:
            return Path(self.settings.out)
        packaged = Path(__file__).parents[1] / "app/models/demo"
        from_nothing = self.settings.size == "demo" and self.settings.init is None
        return packaged if from_nothing else Path(self.settings.work) / "bundle"

    @property
    def codec_folder(self) -> Path:
        return (
            self.run_folder("vae") / "model"
            if self.settings.init is None
            else Path(self.settings.init) / "vae"
        )

    @property
    def encoder_folder(self) -> Path:
        return self.run_folder("chinmu_audio" if self.settings.init is None else "chinmu") / "model"

    def commands(self, stage: Stage) -> list[list[str]]:
        """The command lines of a stage, each a module of a room with its arguments."""
        return getattr(self, f"_{stage}")()

    def _manifest(self, split: str) -> str:
        return str(self.corpus_folder(split) / "manifest.jsonl")

    def _corpus(self) -> list[list[str]]:
        return [self._rendering(split, songs) for split, songs in CORPUS[self.settings.size].items()]

    def _rendering(self, split: str, songs: Songs) -> list[str]:
        kind, far = KINDS.get(split, (split, 0))
        seed = far + (HELD_OUT_SEED if split in HELD_OUT else self.settings.seed)
        number = songs.songs if split in HELD_OUT else self._some(songs.songs)
        many = ["--songs", str(number), "--seed", str(seed), "--split", kind]
        length = ["--duration", str(songs.shortest), str(songs.longest)]
        where = ["--processes", str(self.settings.processes), "--out", str(self.corpus_folder(split))]
        return ["corpus.synth", *many, *length, *where]

    def _some(self, songs: int) -> int:
        return max(FEWEST[self.settings.size], round(self.settings.songs * songs))

    def _begun(self, name: str, part: str) -> list[str]:
        """Arguments by which a training begins from a part of the bundle, if it is to."""
        init = self.settings.init
        return [] if init is None else ["--init", str(Path(init) / part), *GOING_ON[name]]

    def _training(self, room: str, name: str, *data: str) -> list[str]:
        minutes = round(self.settings.minutes * getattr(MINUTES[self.settings.size], name), 3)
        config = f"{room}/configs/{self.settings.size}.yaml"
        out = str(self.run_folder(name))
        return [f"{room}.train", "--config", config, *data, "--out", out, "--max_minutes", str(minutes)]

    def _vae(self) -> list[list[str]]:
        if self.settings.init is not None:
            return []
        return [self._training("vae", "vae", "--manifest", self._manifest("train"))]

    def _chinmu(self) -> list[list[str]]:
        """Both towers on the songs of `train`; then, with more songs, the one that hears: it tires of few."""
        few = ["--manifest", self._manifest("train")]
        others = ", ".join(self._manifest(split) for split in TRAINING[1:])
        more = [*few, "--also", f"[{others}]"]
        if self.settings.init is not None:
            return [self._training("chinmu", "chinmu", *more, *self._begun("chinmu", "chinmu"))]
        going_on = ["--init", str(self.run_folder("chinmu") / "model"), *EARS]
        both = self._training("chinmu", "chinmu", *few)
        return [both, self._training("chinmu", "chinmu_audio", *more, *going_on)]

    def _lyrics(self) -> list[list[str]]:
        """Songs for the writer are composed on the fly: another seed, other songs."""
        begun = self._begun("lyrics", "writer")
        return [self._training("lyrics_llm", "lyrics", *begun, "--seed", str(self.settings.seed))]

    def _latents(self) -> list[list[str]]:
        models = ["--vae", str(self.codec_folder), "--chinmu", str(self.encoder_folder)]
        others = ", ".join(self._manifest(split) for split in TRAINING[1:])
        songs = {split: ["--manifest", self._manifest(split)] for split in ("train", "valid")}
        songs["train"] += ["--also", f"[{others}]"]
        return [
            ["dit.prepare", *of, *models, "--out", self._latents_of(split)] for split, of in songs.items()
        ]

    def _latents_of(self, split: str) -> str:
        return str(Path(self.settings.work) / "latents" / split)

    def _dit(self) -> list[list[str]]:
        data = ["--data", self._latents_of("train"), "--valid", self._latents_of("valid")]
        return [self._training("dit", "dit", *data, *self._begun("dit", "transformer"))]

    def _probes(self) -> list[list[str]]:
        vae = ["--vae", str(self.codec_folder)]
        data = ["--manifest", self._manifest("train"), "--also", self._manifest("short"), *vae]
        many = ["--songs", str(self._some(1600)), "--crops", "1"]  # moods are many
        return [["eval.probes", "train", *data, *many, "--out", str(self.run_folder("probes"))]]

    def _bundle(self) -> list[list[str]]:
        parts = {
            "vae": self.codec_folder,
            "chinmu": self.encoder_folder,
            "writer": self.run_folder("lyrics") / "model",
            "transformer": self.run_folder("dit") / "model",
        }
        arguments = [a for part, folder in parts.items() for a in (f"--{part}", str(folder))]
        return [["app.bundle", *arguments, "--out", str(self.bundle_folder)]]

    def _figures(self) -> list[list[str]]:
        small = [] if self.settings.size == "demo" else ["--size", "tiny"]
        where = ["--work", self.settings.work, "--model", str(self.bundle_folder)]
        return [["recipes.figures", *where, *small]]


def run(recipe: Recipe, stage: Stage) -> None:
    """Run a stage's commands one after another and note what they cost.

    Raises:
        SongError: a command failed; what it printed says why.
    """
    for command in recipe.commands(stage):
        print(f"\n=== {stage}: python -m {' '.join(command)}", flush=True)
        start, before = time.monotonic(), _child_seconds()
        status = _finished(subprocess.Popen([sys.executable, "-m", *command]))
        cost = {
            "stage": stage,
            "command": " ".join(command),
            "wall_minutes": round((time.monotonic() - start) / 60, 2),
            "cpu_minutes": round((_child_seconds() - before) / 60, 2),
        }
        _note(Path(recipe.settings.work) / "costs.jsonl", cost)
        print(f"=== {stage}: {cost['wall_minutes']} minutes, {cost['cpu_minutes']} CPU minutes", flush=True)
        if status:
            raise SongError(f"stage {stage!r} failed (status {status}): see what it printed above")


def _finished(process: subprocess.Popen) -> int:
    """Its exit status. Ctrl-C, which it hears too, lets it save what it has learned; a second one ends it."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
        raise


def _child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _note(path: Path, row: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = parse(Settings, argv)
        recipe = Recipe(settings)
        for stage in settings.stages:
            run(recipe, stage)
    except SongError as error:
        print(f"recipes.demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
