"""How well a recogniser and the verdicts on lines do, on songs whose words are known.

    python -m eval.syllables.measure --manifest data/corpus/test/manifest.jsonl --songs 24
    python -m eval.syllables.measure --manifest data/corpus/test/manifest.jsonl --decoded folder --keep true

Printed: the figures of `eval.lyrics` on the songs as they are (the ceiling of what a song generator can
get), on what a codec gives back of them (`--decoded`: a folder of <id>.flac, each from
`python -m vae.roundtrip`), and the verdicts on lines with planted faults. `--keep` writes the first two
into the recogniser's config.json, and `eval.lyrics` shows them beside its own.

Planted in each song of four lines or more, at lines drawn by its name: one line muted (its sound
replaced by the song's longest stretch without voice, looped), one sung twice (its sound comes again),
one replaced by a line of the next song. The other lines stay as they are.
"""

import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio, write_audio
from common.errors import ManifestError, command
from common.seeds import generator
from common.statistics import Estimate
from corpus import manifest
from corpus.record import SongRecord
from corpus.sung import LEAD
from eval.lyrics import VERDICTS, Judgement, judge, summary
from eval.recognisers import BUNDLED, Recogniser, Syllables, load
from eval.syllables import model

logger = logging.getLogger(__name__)

_FADE = 0.01  # seconds of every cut
FAULTS = {"muted": "missed", "twice": "repeated", "replaced": "garbled"}  # fault → right verdict


# ---- planted faults --------------------------------------------------------------------------


def plant(
    record: SongRecord, audio: Audio, other: SongRecord, other_audio: Audio
) -> tuple[Audio, dict[int, str]]:
    """A song with three faults, and what was done to which line.

    Raises:
        ManifestError: the song has fewer than four timed lines, or the other none.
    """
    if len(record.timing) < 4 or not other.timing:
        raise ManifestError(f"faults are planted in songs of four timed lines, but {record.id} has fewer")
    lines = generator(0, "planted", record.id).permutation(len(record.timing))[: len(FAULTS)]
    done = dict(zip((int(i) for i in lines), FAULTS))
    rate = audio.sample_rate
    quiet = _between(audio, *_silence(record))
    pieces, at = [], 0.0
    for number, line in enumerate(record.timing):
        start, end = max(at, line.start - LEAD), line.end
        sound = _between(audio, start, end)
        pieces.append(_between(audio, at, start))
        if done.get(number) == "muted":
            sound = np.tile(quiet, -(-sound.shape[1] // quiet.shape[1]))[:, : sound.shape[1]]
        elif done.get(number) == "replaced":
            theirs = other.timing[number % len(other.timing)]
            sound = _between(other_audio, theirs.start - LEAD, theirs.end)
        pieces += [sound, sound] if done.get(number) == "twice" else [sound]
        at = end
    pieces.append(_between(audio, at, audio.duration))
    return Audio(_joined(pieces, round(_FADE * rate)), rate), done


def _silence(record: SongRecord) -> tuple[float, float]:
    """The longest stretch without voice, in seconds."""
    edges = [0.0, *(t for line in record.timing for t in (line.start - LEAD, line.end)), record.duration]
    return max(zip(edges[::2], edges[1::2]), key=lambda gap: gap[1] - gap[0])


def _between(audio: Audio, start: float, end: float) -> np.ndarray:
    return audio.samples[:, round(max(0.0, start) * audio.sample_rate) : round(end * audio.sample_rate)]


def _joined(pieces: Sequence[np.ndarray], fade: int) -> np.ndarray:
    """Pieces one after another, each faded in and out so that no cut clicks."""
    out = []
    for piece in pieces:
        if piece.shape[1] > 2 * fade:
            ramp = np.ones(piece.shape[1], dtype=np.float32)
            ramp[:fade] = np.linspace(0, 1, fade)
            ramp[-fade:] = np.linspace(1, 0, fade)
            piece = piece * ramp
        out.append(piece)
    return np.concatenate(out, axis=1)


# ---- measuring -------------------------------------------------------------------------------


def _judged(recogniser: Recogniser, path: Path, record: SongRecord) -> Judgement:
    return judge(recogniser.hear(path), recogniser, [line.text for line in record.timing])


def listen(recogniser: Recogniser, audio: Audio, lines: Sequence[str]) -> Judgement:
    """The judgement on audio in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.flac"
        loudest = max(1.0, audio.peak)
        write_audio(path, Audio(audio.samples / loudest, audio.sample_rate))
        return judge(recogniser.hear(path), recogniser, lines)


def confusion(recogniser: Recogniser, songs: Sequence[tuple[SongRecord, Audio]]) -> dict[str, Counter[str]]:
    """What was done to a line ("nothing" too) → how often it got which verdict.

    Raises:
        ManifestError: no song has four timed lines.
    """
    table: dict[str, Counter[str]] = {name: Counter() for name in ("nothing", *FAULTS)}
    able = [(r, a) for r, a in songs if len(r.timing) >= 4]
    if not able:
        raise ManifestError("faults are planted in songs of four timed lines, but there is none")
    for number, (record, audio) in enumerate(able):
        changed, done = plant(record, audio, *able[(number + 1) % len(able)])
        found = listen(recogniser, changed, [line.text for line in record.timing])
        for place, line in enumerate(found.lines):
            table[done.get(place, "nothing")][line.verdict] += 1
    return table


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    manifest: str  # held-out songs with timed words
    songs: int = 24  # the first so many that are sung
    model: str | None = None  # a folder of our recogniser; the bundled one when None
    decoded: str | None = None  # a folder of <id>.flac: the songs after a codec's round trip
    keep: bool = False  # write the figures into the recogniser's config.json


def measure(settings: Settings) -> dict[str, dict[str, Estimate]]:
    """Print the figures, and return those of the songs as they are and decoded.

    Raises:
        SongError: the manifest, its audio or the recogniser can't be used.
    """
    recogniser = load(settings.model)
    if not isinstance(recogniser, Syllables):
        raise ManifestError("eval.syllables.measure is for our recogniser: use eval.lyrics for others")
    root = Path(settings.manifest).parent
    records = [r for r in manifest.read(settings.manifest) if r.timing and r.audio][: settings.songs]
    if not records:
        raise ManifestError(f"{settings.manifest} has no sung song with audio and timing")
    songs = [(r, read_audio(root / (r.audio or ""))) for r in records]
    timings = [r.timing for r in records]
    files = {"as_they_are": [root / (r.audio or "") for r in records]}
    if settings.decoded:
        files["decoded"] = [Path(settings.decoded) / f"{r.id}.flac" for r in records]
    versions = {
        name: [_judged(recogniser, *pair) for pair in zip(paths, records)] for name, paths in files.items()
    }
    tables = {name: summary(judged, timings) for name, judged in versions.items()}
    for version, table in tables.items():
        for name, value in table.items():
            print(f"{version:12} {name:22} {value}")
    _print_confusion(confusion(recogniser, songs))
    if settings.keep:
        _keep(settings, tables)
    return tables


def _print_confusion(table: dict[str, Counter[str]]) -> None:
    print(f"{'planted':12} " + " ".join(f"{v:>9}" for v in VERDICTS))
    for fault, counts in table.items():
        print(f"{fault:12} " + " ".join(f"{counts[v]:9}" for v in VERDICTS))


def _keep(settings: Settings, tables: dict[str, dict[str, Estimate]]) -> None:
    folder = BUNDLED if settings.model is None else Path(settings.model)
    network, about = model.load(folder)
    rows = {name: asdict(value) for name, value in tables["as_they_are"].items()}
    if "decoded" in tables:
        rows |= {f"{name}_decoded": asdict(value) for name, value in tables["decoded"].items()}
    model.save(network, folder, replace(about, accuracy=rows))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence when something that the user gave is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    measure(configs.parse(Settings, argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
