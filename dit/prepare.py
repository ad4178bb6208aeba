"""Prepare songs for the song model: latents, fragment vectors, lyric tokens and scores, in shards.

python -m dit.prepare --manifest data/corpus/train/manifest.jsonl \\
    --vae runs/vae/model --chinmu runs/chinmu/model --out data/latents/train

Stopped, it goes on where it was. Without `--chinmu` only the latents are made and the descriptions
are left for a later call of the same command with it; `--part 0 --parts 2` makes every second shard.
A song that can't be read is skipped and named, also in its shard's `skipped-*.json`, and stays out.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.audio import Audio
from common.config import parse
from common.description import Audience
from common.errors import AudioError, ConfigError, ManifestError, run_command
from common.seeds import generator
from corpus.attributes import Attributes, tempo_class
from corpus.describe import prompt
from corpus.facts import Facts
from corpus.prompts import in_short
from corpus.record import SongRecord
from corpus.songs import song_audio
from dit import arrangement
from dit.lyrics import TimedTokens, encode, encode_score
from dit.store import (
    LatentFacts,
    StoredSong,
    fragment_key,
    fragments_path,
    groups,
    latents_path,
    read_songs,
    skipped_path,
    songs_path,
    write_arrays,
    write_songs,
    write_text,
)

logger = logging.getLogger(__name__)

_LONGEST = 160  # characters of a prompt made of several descriptions
_MOST = 8  # descriptions in one
_TOLD = 0.75  # chance that what is known of a song is said in short


@dataclass(frozen=True)
class PrepareConfig:
    """What to prepare, with which models, and where to put it."""

    manifest: str
    vae: str  # folder of a codec
    out: str
    also: tuple[str, ...] = ()  # manifests of further songs
    played: tuple[str, ...] = ()  # manifests of which only the instrumentals count: a corpus has few
    chinmu: str | None = None  # folder of a ChinMu; None: latents only, for now
    prompts: int = 9  # descriptions kept for each audience
    shard: int = 32  # songs in a shard
    part: int = 0  # of the shards, this process makes part, part + parts, …
    parts: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.part < self.parts:
            raise ConfigError(f"part counts from 0 to parts - 1, but got part {self.part} of {self.parts}")
        if self.prompts < 1 or self.shard < 1:
            raise ConfigError(f"prompts and shard are at least 1, but got {self.prompts} and {self.shard}")


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    prepare(parse(PrepareConfig, argv))


def prepare(config: PrepareConfig) -> None:
    """Fill the folder; what is there already stays.

    Raises:
        ManifestError: the folder holds another corpus, or no song can be read.
    """
    from corpus import manifest

    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    songs = [(r, Path(path).parent) for path in (config.manifest, *config.also) for r in manifest.read(path)]
    further = [(r, Path(path).parent) for path in config.played for r in manifest.read(path)]
    songs += [(record, root) for record, root in further if record.singer == "none"]
    if double := [name for name, count in Counter(r.id for r, _ in songs).items() if count > 1]:
        raise ManifestError(f"song {double[0]} is in two of the manifests, or twice in one")
    rows = groups(songs, config.shard)
    mine = [n for n in range(len(rows)) if n % config.parts == config.part]
    encode_missing(folder, rows, mine, config)
    if config.chinmu:
        embed_missing(folder, mine, config.chinmu)


_Placed = tuple[SongRecord, Path]  # a song and the folder that its audio's path starts from


# ---- latents ---------------------------------------------------------------------------------


def encode_missing(
    folder: Path, rows: Sequence[Sequence[_Placed]], mine: Sequence[int], config: PrepareConfig
) -> None:
    """Encode the shards that aren't there, then write what the latents are.

    Raises:
        ManifestError: the folder holds another corpus, or no song can be read.
    """
    for number in mine:
        _check_same(folder, number, [record for record, _ in rows[number]])
    missing = [n for n in mine if not songs_path(folder, n).is_file()]
    vae = _load_vae(config.vae)
    for done, number in enumerate(missing, 1):
        latents, unread = _heard(vae, rows[number])
        write_arrays(latents_path(folder, number), latents)
        _put_skipped(folder, number, unread)
        kept = [record for record, _ in rows[number] if record.id in latents]
        write_songs(folder, number, [stored(r, number, len(latents[r.id]), config) for r in kept])
        logger.info("%d of %d shards encoded", done, len(missing))
    skipped = [pair for number in mine for pair in _skipped(folder, number).items()]
    if skipped:
        count = sum(len(rows[number]) for number in mine)
        logger.warning("%d of %d songs skipped: %s", len(skipped), count, ", ".join(n for n, _ in skipped))
    if all(songs_path(folder, n).is_file() for n in range(len(rows))):
        if not any(songs_path(folder, n).stat().st_size for n in range(len(rows))):
            why = f"the last because {skipped[-1][1]}" if skipped else "the manifests name none"
            raise ManifestError(f"no song could be prepared, {why}: prepare others into another folder")
        _facts(folder, len(rows), vae).write(folder)


def _heard(vae: Any, songs: Sequence[_Placed]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The latents of songs by their id, and why there are none of those that can't be read."""
    latents: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    for record, root in songs:
        try:
            latents[record.id] = encode_song(vae, song_audio(record, root))
        except (AudioError, ManifestError) as error:
            logger.warning("skipped %s: %s", record.id, error)
            skipped[record.id] = str(error)
    return latents, skipped


def _put_skipped(folder: Path, number: int, skipped: dict[str, str]) -> None:
    """Note the songs of a shard that can't be read; where all can be, no file says so."""
    if skipped:
        write_text(skipped_path(folder, number), json.dumps(skipped, ensure_ascii=False, indent=2))
    else:
        skipped_path(folder, number).unlink(missing_ok=True)


def _skipped(folder: Path, number: int) -> dict[str, str]:
    """Why songs of a shard are left out, by their id."""
    path = skipped_path(folder, number)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _load_vae(folder: str) -> Any:
    from vae.load import load

    vae = load(folder)
    return vae.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def encode_song(vae: Any, audio: Audio) -> np.ndarray:
    """The most probable latents (T, D) of a whole song, float16."""
    from vae.latents import encode_audio

    return np.ascontiguousarray(encode_audio(vae, audio).values.T, dtype=np.float16)


def stored(record: SongRecord, shard: int, frames: int, config: PrepareConfig) -> StoredSong:
    """Everything of a record but its latents."""
    told = {a.value: prompts(record, a, config.prompts, config.seed) for a in Audience}
    score = None if record.score is None else record.score.to_json()
    duration = float(record.duration)
    said = {audience: texts for audience, texts in told.items() if texts}
    tokens, players = lyric_tokens(record), arrangement.of_record(record)
    return StoredSong(record.id, shard, frames, duration, said, tokens, score, players)


def lyric_tokens(record: SongRecord) -> TimedTokens | None:
    """The words, timed where a score or the timing of lines tells when; None for an instrumental."""
    if record.score is not None and any(note.sung for s in record.score.sections for note in s.notes):
        return encode_score(record.score)
    if record.lyrics is None or not record.lyrics.lines:
        return None
    return TimedTokens(tuple(encode(record.lyrics)))


def _facts(folder: Path, shards: int, vae: Any) -> LatentFacts:
    """Mean and deviation over everything; a codec's latents should be near 0 and 1."""
    from safetensors.numpy import load_file

    count, total, squares = 0, 0.0, 0.0
    for number in range(shards):
        for values in load_file(str(latents_path(folder, number))).values():
            count += values.size
            total += float(values.sum(dtype=np.float64))
            squares += float(np.square(values, dtype=np.float32).sum(dtype=np.float64))
    mean = total / count
    std = float(np.sqrt(squares / count - mean**2))
    if not 0.5 < std < 2 or abs(mean) > 0.5:
        logger.warning(
            "the latents have mean %.3f and deviation %.3f; the song model expects 0 and 1", mean, std
        )
    return LatentFacts(float(vae.frame_rate), int(vae.latent_dim), type(vae).__name__, mean, std)


def _check_same(folder: Path, number: int, records: Sequence[SongRecord]) -> None:
    path = songs_path(folder, number)
    if not path.is_file():
        return
    there = [StoredSong.from_json(line).id for line in path.read_text(encoding="utf-8").splitlines()]
    skipped = _skipped(folder, number)
    wanted = [record.id for record in records]
    if there != [name for name in wanted if name not in skipped] or not skipped.keys() <= set(wanted):
        raise ManifestError(f"{path} holds other songs than the manifest: prepare into another folder")


# ---- descriptions ----------------------------------------------------------------------------


def prompts(record: SongRecord, audience: Audience, count: int, seed: int) -> list[str]:
    """Descriptions of a song as its audience would type them.

    Of a synthetic song half are whole ones, the others several said in a row; of another song all are.
    Every third has behind it what the song is in short: so the song model is told a song when its plan is
    known (`app.caption`).
    """
    own = [d for d in record.descriptions if d.audience == audience]
    if not own:
        return []
    facts = Facts.of_record(record)
    told = []
    for number in range(count):
        rng = generator(seed, "prompt", record.id, audience, number)
        if facts is not None and rng.random() < 0.5:
            text = prompt(facts.plan, facts.score, rng, audience)
        else:
            text = _several([own[i].text for i in rng.permutation(len(own))], int(rng.integers(1, _MOST + 1)))
        if number % 3 == 2 and (short := in_short(_some(record, facts, rng))):
            text = f"{text}，{short}"
        told.append(text)
    return told


def _several(texts: Sequence[str], most: int) -> str:
    text = texts[0][:_LONGEST]
    for piece in texts[1:most]:
        if len(text) + len(piece) < _LONGEST:
            text += "，" + piece
    return text


def _some(record: SongRecord, facts: Facts | None, rng: np.random.Generator) -> Attributes:
    """Most of what a record says of its sound: a plan doesn't know everything either."""
    pace = None if record.tempo is None else tempo_class(record.tempo)
    whole = {"genre": record.genre, "mood": record.mood, "tempo_class": pace, "singer": record.singer}
    known: Attributes = {}
    for name, value in whole.items():
        if value is not None and rng.random() < _TOLD:
            known[name] = value  # type: ignore[literal-required]
    heard = record.instruments or () if facts is None else facts.instruments.values()
    known["instruments"] = tuple(i for i in dict.fromkeys(heard) if rng.random() < _TOLD)
    return known


def embed_missing(folder: Path, mine: Sequence[int], chinmu: str) -> None:
    """Fragment vectors of the shards that have none."""
    missing = [n for n in mine if not fragments_path(folder, n).is_file()]
    if not missing:
        return
    from chinmu.model import ChinMu

    model: Any = ChinMu.from_pretrained(chinmu)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    songs = read_songs(folder)
    for done, number in enumerate(missing, 1):
        texts = {
            fragment_key(song.id, audience, k): text
            for song in songs
            if song.shard == number
            for audience, said in song.prompts.items()
            for k, text in enumerate(said)
        }
        vectors, mask = model.embed_fragments(list(texts.values()))
        rows = zip(texts, vectors.cpu(), mask.cpu())
        arrays = {key: row[keep].numpy().astype(np.float16) for key, row, keep in rows}
        write_arrays(fragments_path(folder, number), arrays)
        logger.info("%d of %d shards described", done, len(missing))


if __name__ == "__main__":
    run_command(main)
