"""Synthetic songs from seeds: sheets in milliseconds, audio with its ground truth, folders of both.

    python -m corpus.synth --songs 600 --seed 1 --split train --out data/songs --processes 2
    python -m corpus.synth --songs 2 --seed 1 --out /somewhere/tiny --duration 12 14 --stems

A folder has audio/<id>.flac, records/<id>.json, stems/<id>.<stem>.flac with --stems, and, once
all songs are there, manifest.jsonl. A run that was stopped goes on with the songs that are
missing; the same seed gives the same samples in any process.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.errors import ConfigError, SongError
from common.lyrics import Lyrics
from common.score import HOLD, NoteSpan, Score
from common.seeds import derive_seed, generator
from corpus import manifest
from corpus.arrange import STEMS as PLAYED
from corpus.arrange import arrange
from corpus.atmosphere import atmosphere, surround
from corpus.compose import compose, words
from corpus.describe import describe, prompt
from corpus.instruments import SAMPLE_RATE, Track, render
from corpus.manner import colour, placed, touch
from corpus.moods import feeling
from corpus.plan import SongPlan, plan
from corpus.record import SongRecord, Split, TimedLine, TimedSyllable

if TYPE_CHECKING:
    from corpus.mix import Mix, Stem
    from corpus.voice import Voice

log = logging.getLogger(__name__)

STEMS = ("vocals", *PLAYED)
WHOLE = "整体"  # the dimension of a description of the whole song, as a prompt
_PROMPTS = 3  # whole descriptions of each audience
LICENCE = "Apache-2.0 (synthetic)"
_COMPOSED = [
    "lyrics",
    "timing",
    "score",
    "descriptions",
    "genre",
    "mood",
    "theme",
    "tempo",
    "key",
    "instruments",
    "singer",
    "duration",
]


@dataclass(frozen=True)
class Sheet:
    """A song on paper."""

    plan: SongPlan
    score: Score
    lyrics: Lyrics
    descriptions: tuple[Description, ...]
    prompts: dict[Audience, tuple[str, ...]]  # whole descriptions as a user of each audience would type them
    held_out: tuple[str, ...]  # of "phrasing", "combination"


@dataclass(frozen=True)
class SyntheticSong:
    """A song in memory; `stems` is empty unless they were asked for."""

    record: SongRecord
    audio: Audio  # stereo, 44.1 kHz
    stems: dict[str, Audio]
    sheet: Sheet


def song_seed(seed: int, index: int, split: str = "train") -> int:
    """The seed of one song of a corpus; corpora of different seeds and splits share none."""
    return derive_seed(seed, "song", split, index)


def sheet(seed: int, split: Split = "train", **overrides: Any) -> Sheet:
    """Plan, score, words and descriptions of a song, without its audio.

    Args:
        overrides: of `corpus.plan.plan`.
    """
    planned = plan(seed, split, **overrides)
    lyrics = words(planned)
    score = compose(planned, lyrics)
    rare = split == "test" and generator(seed, "phrasing", split).random() < 0.5
    prompts = {audience: _prompts(planned, score, audience, rare) for audience in Audience}
    said = describe(planned, score, generator(seed, "describe", split), held_out=rare)
    whole = tuple(
        Description(text, audience, WHOLE, "sentence") for audience in Audience for text in prompts[audience]
    )
    kept = ("phrasing",) * rare + ("combination",) * planned.held_out
    return Sheet(planned, score, lyrics, said + whole, prompts, kept)


def _prompts(planned: SongPlan, score: Score, audience: Audience, rare: bool) -> tuple[str, ...]:
    """Whole descriptions in the words of one audience, different ones."""
    rng = generator(planned.seed, "prompt", planned.split, audience)
    return tuple(dict.fromkeys(prompt(planned, score, rng, audience, held_out=rare) for _ in range(_PROMPTS)))


def song(seed: int, split: Split = "train", stems: bool = False, **overrides: Any) -> SyntheticSong:
    """Compose, play, sing and master a song.

    Args:
        stems: keep vocals, drums, bass, harmony and lead, at the level they have in the mix.
        overrides: of `corpus.plan.plan`.
    Returns:
        The song with its complete record; the same arguments give the same samples anywhere.
    """
    written = sheet(seed, split, **overrides)
    timing: tuple[TimedLine, ...] = ()
    vocals = None
    if written.plan.singer != "none":
        sung, timing = _sing(written, written.score.duration)
        vocals = [sung].pop  # so that nobody but the mixer holds them
        del sung
    mixed = perform(written.plan, written.score, vocals, keep_stems=stems)
    record = _record(written, seed, split, mixed.audio.duration, timing)
    return SyntheticSong(record, mixed.audio, mixed.stems, written)


def perform(
    planned: SongPlan,
    score: Score,
    vocals: "Stem | None" = None,
    keep_stems: bool = False,
    take: Sequence[str] = (),
) -> "Mix":
    """Arrange a score for the plan's instruments, play it, and mix and master it with what was sung.

    Args:
        vocals: (time,) or (time, 2) at 44.1 kHz, as long as the score; or what returns them when asked.
        take: names of another performance: other chance in playing and mix.
    """
    from corpus.mix import MixSettings, mix  # heavy, as the voice is, and not needed for sheets

    chance = (planned.split, *take)
    tracks = arrange(planned, score, generator(planned.seed, "arrange", *chance))
    behind = touch(feeling(planned.mood)).pad

    def around(samples: np.ndarray) -> None:
        rng = generator(planned.seed, "atmosphere", *chance)
        surround(samples, atmosphere(planned.mood), score, rng)

    played = {
        stem: _Played(some, score.duration, behind, around if stem == "harmony" else None)
        for stem, some in tracks.items()
        if some[0].strokes
    }
    parts = _Stems(played)
    if vocals is not None:
        parts["vocals"] = vocals
    taste = placed(MixSettings(), feeling(planned.mood), planned.tempo)
    return mix(parts, generator(planned.seed, "mix", *chance), taste, keep_stems)


class _Played:
    """A stem that isn't rendered yet: its length is known."""

    def __init__(
        self,
        tracks: Sequence[Track],
        duration: float,
        pad: float,
        around: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self.tracks, self.duration, self.pad, self.around = tracks, duration, pad, around

    def __len__(self) -> int:
        return round(self.duration * SAMPLE_RATE)

    def render(self) -> np.ndarray:
        """The tracks together (time, 2): chords, behind them the pad, 9 dB softer times its weight, and
        what sounds around them."""
        chords, *pads = self.tracks
        total = render(chords, self.duration)
        for track in pads:
            pad = render(track, self.duration)
            level = float(np.sqrt(np.vdot(total, total) / max(1e-18 * total.size, float(np.vdot(pad, pad)))))
            pad *= np.float32(min(4.0, level * 0.35 * self.pad))
            total += pad
            del pad  # before what is around is made
        if self.around is not None:
            self.around(total)
        return total


class _Stems(dict[str, Any]):
    """Stems that are rendered when the mixer takes them: all of a long song at once fill the memory."""

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name, default)
        return found.render() if isinstance(found, _Played) else found

    def pop(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        found = super().pop(name, default)
        return found.render() if isinstance(found, _Played) else found


def voice_of(planned: SongPlan, rng: np.random.Generator) -> "Voice":
    """The singer of a plan, in its mood."""
    from corpus.voice import draw_voice

    return colour(draw_voice(planned.singer, rng), feeling(planned.mood))


def _sing(written: Sheet, duration: float) -> tuple[np.ndarray, tuple[TimedLine, ...]]:
    from corpus.voice import sing

    rng = generator(written.plan.seed, "voice", written.plan.split)
    notes = written.score.note_spans(sung=True)
    sung = sing(notes, voice_of(written.plan, rng), rng, duration)
    return sung.samples, _timing(notes, sung.onsets, written.lyrics)


def _timing(notes: Sequence[NoteSpan], onsets: Sequence[float], lyrics: Lyrics) -> tuple[TimedLine, ...]:
    """Lines and syllables as they were sung: from the vowel's onset to the next consonant."""
    texts, vowels, lines = iter(lyrics.lines), iter(onsets), []
    syllables: list[TimedSyllable] = []
    for note in notes:
        end = round(note.end, 4)
        if note.syllable == HOLD:
            syllables[-1] = replace(syllables[-1], end=end)
        else:
            onset = round(next(vowels), 4)
            syllables.append(TimedSyllable(note.syllable or "", onset, end, note.reading, note.pitch))
        if note.ends_line:
            lines.append(TimedLine(next(texts), syllables[0].start, syllables[-1].end, tuple(syllables)))
            syllables = []
    return tuple(lines)


def _record(
    written: Sheet, seed: int, split: Split, duration: float, timing: tuple[TimedLine, ...]
) -> SongRecord:
    planned = written.plan
    return SongRecord(
        id=f"{split}-{seed:019d}",
        source="synthetic",
        licence=LICENCE,
        split=split,
        duration=duration,
        seed=seed,
        lyrics=written.lyrics,
        timing=timing,
        score=written.score,
        descriptions=written.descriptions,
        genre=planned.genre,
        mood=planned.mood,
        theme=planned.theme if planned.singer != "none" else None,
        tempo=planned.tempo,
        key=str(planned.key),
        instruments=tuple(dict.fromkeys(i.name for i in planned.instruments.values())),
        singer=planned.singer,
        held_out=written.held_out,
        provenance=dict.fromkeys(_COMPOSED, "composed"),
    )


# ---- folders of songs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What the command line asked for."""

    songs: int
    out: Path
    seed: int = 1
    split: Split = "train"
    stems: bool = False
    processes: int = 1
    duration: tuple[float, float] | None = None  # seconds, shortest and longest
    format: str = "flac"
    descriptions: bool = False  # say anew what is said of the songs that are there

    def __post_init__(self) -> None:
        if self.songs < 1 or self.processes < 1:
            raise ConfigError(
                f"--songs and --processes are at least 1, but got {self.songs} and {self.processes}"
            )
        if self.duration and not 5 <= self.duration[0] <= self.duration[1] <= 240:
            raise ConfigError("--duration needs two numbers of seconds, 5 ≤ shortest ≤ longest ≤ 240")

    @property
    def overrides(self) -> dict[str, Any]:
        return {"durations": self.duration} if self.duration else {}

    def id(self, index: int) -> str:
        return f"s{self.seed}-{self.split}-{index:06d}"

    def record_path(self, index: int) -> Path:
        return self.out / "records" / f"{self.id(index)}.json"


def make(order: Order, index: int) -> float:
    """Make one song of a folder: stems, audio, then its record. Returns its seconds.

    Every file is written under another name and renamed, the record last, so that a song with a
    record is whole.
    """
    seed = song_seed(order.seed, index, order.split)
    made = song(seed, order.split, order.stems, **order.overrides)
    name = order.id(index)
    stems = {stem: f"stems/{name}.{stem}.{order.format}" for stem in made.stems}
    for stem, audio in made.stems.items():
        write_audio(order.out / stems[stem], audio)
    path = f"audio/{name}.{order.format}"
    write_audio(
        order.out / path, made.audio, {"title": made.sheet.score.title, "genre": made.record.genre or ""}
    )
    record = replace(made.record, id=name, audio=path, stems=stems)
    manifest.write(order.record_path(index), [record])
    return record.duration


def _quiet_worker() -> None:
    """Ctrl-C is the parent's to handle; a worker finishes the file that it is writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _made(order: Order, missing: Sequence[int]) -> Iterator[tuple[int, float | Exception]]:
    """Make the songs, in several processes if asked; each song or its fault as it is finished."""
    if order.processes == 1:
        for index in missing:
            yield index, _attempt(order, index)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(order.processes, mp_context=context, initializer=_quiet_worker)
    try:
        waiting = {pool.submit(_attempt, order, index): index for index in missing}
        for done in as_completed(waiting):
            yield waiting.pop(done), done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(order: Order, index: int) -> float | Exception:
    try:
        return make(order, index)
    except Exception as error:
        log.exception("song %d failed", index)
        return RuntimeError(f"{type(error).__name__}: {error}")


def render_folder(order: Order) -> list[str]:
    """Make the songs that a folder lacks, then its manifest.

    Returns:
        The names of the songs that failed, with why; empty when the folder is whole.
    """
    try:
        for folder in ("audio", "records", *(["stems"] if order.stems else [])):
            (order.out / folder).mkdir(parents=True, exist_ok=True)
        _check_same(order)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"--out {str(order.out)!r} can't be written to ({reason}): choose another folder"
        ) from error
    missing = [i for i in range(order.songs) if not order.record_path(i).exists()]
    if order.descriptions:
        _describe_again(order, sorted(set(range(order.songs)) - set(missing)))
    if len(missing) < order.songs:
        print(f"{order.songs - len(missing)} of {order.songs} songs are there already")
    failed, seconds, began = [], 0.0, time.monotonic()
    for count, (index, result) in enumerate(_made(order, missing), 1):
        if isinstance(result, Exception):
            failed.append(f"{order.id(index)} (index {index}): {result}")
        else:
            seconds += result
        _progress(count, len(missing), seconds, time.monotonic() - began)
    if not failed:
        _write_manifest(order)
    return failed


def _describe_again(order: Order, present: Sequence[int]) -> None:
    """Write the descriptions of songs that are there from their seeds, without their audio."""
    for index in present:
        (record,) = manifest.read(order.record_path(index))
        written = sheet(record.seed or 0, record.split, **order.overrides)
        planned = written.plan
        if (planned.genre, str(planned.key), planned.singer) != (record.genre, record.key, record.singer):
            raise ConfigError(f"{order.id(index)} was made by other rules of planning: make it anew")
        renewed = replace(record, descriptions=written.descriptions, held_out=written.held_out)
        manifest.write(order.record_path(index), [renewed])


def _check_same(order: Order) -> None:
    """A folder is made by one kind of order: another duration or format would mix two corpora."""
    kind = f"seed {order.seed}, split {order.split}, duration {order.duration}, "
    kind += f"format {order.format}, stems {order.stems}\n"
    path = order.out / "order.txt"
    if path.exists() and path.read_text() != kind:
        raise ConfigError(
            f"{order.out} was begun with {path.read_text().strip()}, but now {kind.strip()} is asked: "
            "use another folder"
        )
    path.write_text(kind)


def _progress(count: int, total: int, seconds: float, elapsed: float) -> None:
    left = elapsed / count * (total - count)
    rate = seconds / max(elapsed, 1e-6)
    end = "\n" if count == total or not sys.stdout.isatty() else "\r"
    print(
        f"{count}/{total} songs, {rate:.1f} s of song a second, {left / 60:.1f} min left", end=end, flush=True
    )


def _write_manifest(order: Order) -> None:
    records = (record for i in range(order.songs) for record in manifest.read(order.record_path(i)))
    manifest.write(order.out / "manifest.jsonl", records)


def _arguments(argv: Sequence[str] | None) -> Order:
    parser = argparse.ArgumentParser(prog="python -m corpus.synth", description="Make a folder of songs.")
    parser.add_argument("--songs", type=int, required=True, help="how many")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=("train", "valid", "test"), default="train")
    parser.add_argument("--stems", action="store_true", help="write the five stems too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--duration", type=float, nargs=2, metavar=("MIN", "MAX"), help="seconds")
    parser.add_argument("--format", choices=("flac", "ogg", "wav"), default="flac")
    parser.add_argument("--descriptions", action="store_true", help="renew those of the songs that are there")
    given = vars(parser.parse_args(argv))
    given["duration"] = tuple(given["duration"]) if given["duration"] else None
    return Order(**given)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0: the folder is whole, 1: songs failed, 2: a wrong setting, 130: Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        failed = render_folder(_arguments(argv))
    except SongError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    for fault in failed:
        print(f"failed: {fault}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
