"""Whether songs are what was asked for: each wish that a description names, heard by a judge that errs.

    python -m eval.requests --songs songs/ --out scores/requests
    python -m eval.requests --songs songs/ --probes runs/probes --prompts prompts.csv --out scores/requests

The songs are audio files, those of sub-folders too; what was asked for is read from the recipe inside them
(as `baihua sing` writes it) or, with `--prompts`, from a file that `eval.prompts` reads. A lead sheet beside
a song (`<name>.abc`) says which tempo and key it was to have where the description doesn't. Without
`--probes` the bundled ones judge, which learned on the synthetic corpus.

Wishes (`judge_song`), each by its judge:
    genre, singer, tempo class,
    mood                          a probe (`eval.probes`)
    instrumental                  the singer probe: nobody sings where nobody was asked to
    instruments, without          a probe for each instrument: those named are heard, those refused aren't
    tempo, key, mode              estimates from the audio: tempo within 4 %, octaves allowed
    form                          section borders of the lead sheet within 3 s of a heard border (`eval.form`)
    duration                      within half a second of what the recipe of these words sets, or else of what
                                  the words say

Conventions: `judged` is the share of wishes that the judge hears fulfilled; `judge` how often it is right
on held-out songs of the corpus, through a codec where the probes were trained with one; `corrected` the
share that the judge's own errors leave (Rogan & Gladen 1978), with both uncertainties in its interval. A
judge that errs as often as a coin gives no corrected share. Intervals are over requests: one has none.
"""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import config as configs
from common.abc import from_abc
from common.audio import Audio, read_audio
from common.errors import AudioError, ConfigError, ManifestError, SongError, command
from common.score import Score
from common.song import recipe_of
from common.statistics import Estimate, corrected, finite, share, wilson
from common.theory import Key
from corpus import manifest
from corpus.attributes import Attributes, attributes
from corpus.record import SongRecord
from eval import form, prompts, tempo
from eval.adherence import chroma, key_heard
from eval.embeddings import (
    BUNDLED,
    SUFFIXES,
    is_song,
    refuse_missing,
    say_missing,
    shortly,
    told_of,
)
from eval.probes import HEARD, INSTRUMENTS, MOOD, NOT_HEARD, SILENT, SUNG, Probes

logger = logging.getLogger(__name__)

_NEAR = 0.5  # seconds that a duration may miss
_CERTAIN = Estimate(1.0, 1.0, 1.0, 0)


@dataclass(frozen=True)
class Settings:
    """What to judge."""

    songs: str  # a folder of audio
    probes: str | None = None  # folder of trained probes; the bundled ones when None
    out: str | None = None  # folder for requests.json
    prompts: str | None = None  # what was asked for, where the files don't say it themselves
    references: str | None = None  # manifest of held-out songs: tries the judges of tempo, key and form
    reference_songs: int = 24
    allow_missing: bool = False  # leave out files that can't be heard

    def __post_init__(self) -> None:
        if self.reference_songs < 2:
            raise ConfigError(f"judges are tried on at least 2 songs, but got {self.reference_songs}")


@dataclass(frozen=True)
class Wish:
    """One thing that was asked for, and whether the judge hears it."""

    name: str
    fulfilled: bool


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    judged: Estimate
    judge: Estimate | None  # its accuracy on what is there; None where nobody tried it
    corrected: Estimate | None


# ---- one song --------------------------------------------------------------------------------


def judge_song(
    audio: Audio, asked: Attributes, probes: Probes, score: Score | None = None, duration: float | None = None
) -> list[Wish]:
    """Every wish that a description, its lead sheet or its duration names, judged.

    Args:
        asked: of `corpus.attributes.attributes`.
        duration: seconds.
    Raises:
        AudioError: less than a tenth of a second of audio.
    """
    verdict = probes.judge(audio)
    wishes = []
    if asked.get("genre") in probes.answers["genre"]:
        wishes.append(Wish("genre", verdict.genre == asked["genre"]))
    singer = asked.get("singer")
    if singer == "none":
        wishes.append(Wish("instrumental", verdict.singer == "none"))
    elif singer is not None:
        wishes.append(Wish("singer", verdict.singer == singer))
    if "tempo_class" in asked:
        wishes.append(Wish("tempo class", verdict.pace == asked["tempo_class"]))
    if asked.get("mood") in probes.answers.get(MOOD, []):
        wishes.append(Wish("mood", verdict.mood == asked["mood"]))
    known = probes.answers.get(INSTRUMENTS, [])
    wishes += [
        Wish("instruments", i in verdict.instruments) for i in asked.get("instruments", ()) if i in known
    ]
    wishes += [Wish("without", i not in verdict.instruments) for i in asked.get("without", ()) if i in known]
    wishes += measured(audio, asked, score, verdict.tempo)
    if duration is not None:
        wishes.append(Wish("duration", abs(audio.duration - duration) <= _NEAR))
    return wishes


def measured(audio: Audio, asked: Attributes, score: Score | None, heard: float | None = None) -> list[Wish]:
    """What is estimated rather than learned: tempo, key and form."""
    wishes = []
    wanted = asked.get("tempo", score.tempo if score else None)
    if wanted is not None:
        found = tempo.estimate(audio) if heard is None else heard
        wishes.append(Wish("tempo", tempo.compare(found, wanted).octave))
    keyed = "key" in asked or "mode" in asked or score is not None
    key = key_heard(chroma(audio)) if keyed else None
    if key is not None and ("key" in asked or score is not None):
        named = Key.parse(asked["key"]) if "key" in asked else score.key  # type: ignore[union-attr]
        wishes.append(Wish("key", key.tonic == named.tonic and key.family == named.family))
    if key is not None and "mode" in asked:
        wishes.append(Wish("mode", key.family == asked["mode"]))
    if score is not None and len(score.sections) > 1:
        wishes += [Wish("form", hit) for hit in form.borders_kept(audio, score)]
    return wishes


# ---- judges ----------------------------------------------------------------------------------


def judges(probes: Probes, settings: Settings) -> dict[str, tuple[Estimate, Estimate]]:
    """(share of true cases affirmed, share of false cases denied) of each wish's judge on held-out songs.

    A probe's errors are taken to fall on its other answers alike, and a song is a false case of each of them.
    """

    def of(question: str) -> Estimate | None:
        row = probes.accuracy.get(question, {})
        return next((row[kind] for kind in ("decoded", "clean") if kind in row), None)

    table: dict[str, tuple[Estimate, Estimate]] = {}
    for name, question in (("genre", "genre"), ("singer", "singer"), ("tempo class", "pace"), (MOOD, MOOD)):
        right = of(question)
        if right is not None:
            others = max(1, len(probes.answers[question]) - 1)
            table[name] = right, _share(1 - (1 - right.value) / others, right.count * others)
    silent, sung = of(SILENT), of(SUNG)
    if silent is not None and sung is not None:
        table["instrumental"] = silent, sung
    present, absent = of(HEARD), of(NOT_HEARD)
    if present is not None and absent is not None:
        table |= {"instruments": (present, absent), "without": (absent, present)}
    if settings.references is not None:
        table |= _tried(settings)
    return table | {"duration": (_CERTAIN, _CERTAIN)}


def _share(value: float, count: int) -> Estimate:
    return wilson(round(value * count), count)


def _tried(settings: Settings) -> dict[str, tuple[Estimate, Estimate]]:
    """The estimates of tempo, key and form on real songs: against their own sheet, and the next song's."""
    path = Path(str(settings.references))
    records = [r for r in manifest.read(path) if r.audio is not None and r.score is not None]
    records = records[: settings.reference_songs]
    if len(records) < 2:
        raise ManifestError(f"{path} has fewer than two songs with audio and a score to try the judges on")
    hits: dict[str, list[list[bool]]] = {}
    for record, other in zip(records, [*records[1:], records[0]]):
        audio = read_audio(path.parent / str(record.audio))
        for side, sheet in enumerate((record, other)):
            shared = _shared(record, other) if side else set()
            for wish in measured(audio, {"mode": _score(sheet).key.family}, sheet.score):
                if wish.name not in shared:
                    hits.setdefault(wish.name, [[], []])[side].append(wish.fulfilled)
    return {
        name: (wilson(sum(own), len(own)), wilson(len(wrong) - sum(wrong), len(wrong)))
        for name, (own, wrong) in hits.items()
        if own and wrong
    }


def _score(record: SongRecord) -> Score:
    assert record.score is not None, "filtered by the caller"
    return record.score


def _shared(record: SongRecord, other: SongRecord) -> set[str]:
    """What is true of both songs, so that the other's sheet isn't wrong there."""
    one, two = _score(record), _score(other)
    alike = {
        "tempo": tempo.compare(one.tempo, two.tempo).octave,
        "mode": one.key.family == two.key.family,
        "key": one.key.family == two.key.family and one.key.tonic == two.key.tonic,
    }
    return {name for name, same in alike.items() if same}


# ---- folders ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A song's file and what was asked for."""

    path: Path
    name: str  # of the request: songs of one request aren't independent
    description: str
    duration: float | None
    score: Score | None


def requests(settings: Settings) -> Iterator[Asked]:
    """The songs of a folder with what was asked for; those of which nobody knows it are named and left out.

    Raises:
        ManifestError: the folder isn't there, or no song in it says what was asked for.
    """
    folder = Path(settings.songs)
    files = sorted(filter(is_song, folder.rglob("*"))) if folder.is_dir() else []
    if not files:
        raise ManifestError(f"{settings.songs} holds no songs ({', '.join(SUFFIXES)})")
    if len(places := sorted({str(f.parent.relative_to(folder)) for f in files})) > 1:
        logger.warning(
            "the songs of %d folders are taken together (%s): give --songs one of them to judge it alone",
            len(places),
            shortly(places),
        )
    told = prompts.read(settings.prompts) if settings.prompts else {}
    answers = prompts.answered([p.stem for p in files], told) if told else {}
    count = 0
    for path in files:
        asked = _asked(path, answers.get(path.stem))
        if asked is None:
            logger.warning("%s: nobody knows what was asked for; it is left out", path)
            continue
        count += 1
        yield asked
    if not count:
        raise ManifestError(f"no song in {settings.songs} says what was asked for: name it with --prompts")


def _asked(path: Path, prompt: prompts.Prompt | None) -> Asked | None:
    try:
        request: dict[str, Any] = recipe_of(path).get("request", {})
    except SongError:
        request = {}
    text = prompt.text if prompt else request.get("description")
    if not text:
        return None
    # Another prompt than the recipe's never asked for the recipe's duration.
    is_own = prompt is None or str(request.get("description", "")).strip() == prompt.text
    duration = request.get("duration") if is_own else attributes(str(text)).get("duration")
    name = prompt.id if prompt else str(text)
    return Asked(path, name, str(text), duration and float(duration), _lead_sheet(path.with_suffix(".abc")))


def _lead_sheet(path: Path) -> Score | None:
    """The score beside a song; None, with a warning, where it can't be read."""
    if not path.is_file():
        return None
    try:
        return from_abc(path.read_text(encoding="utf-8"))
    except (SongError, OSError, UnicodeDecodeError) as error:
        logger.warning("%s can't be read, and its song is judged without it: %s", path, error)
        return None


def judge_folder(settings: Settings) -> dict[str, Row]:
    """The table of a folder of songs.

    Raises:
        AudioError: songs can't be heard, all named; with `allow_missing` only where none can.
        SongError: songs, probes or references can't be read.
    """
    probes = Probes.load(settings.probes or BUNDLED["corpus"])
    tried = judges(probes, settings)
    verdicts: dict[str, list[tuple[bool, str]]] = {}
    missing, count = [], 0
    for asked in requests(settings):
        count += 1
        try:
            audio = read_audio(asked.path)
            wishes = judge_song(audio, attributes(asked.description), probes, asked.score, asked.duration)
        except AudioError as error:
            missing.append(told_of(asked.path, error))
            continue
        for wish in wishes:
            verdicts.setdefault(wish.name, []).append((wish.fulfilled, asked.name))
        logger.info("%s", asked.path)
    refuse_missing(missing, count, settings.allow_missing)
    say_missing(missing, set())
    rows = {}
    for name, found in verdicts.items():
        values, songs = [float(hit) for hit, _ in found], [song for _, song in found]
        right, wrong = tried.get(name, (None, None))
        sure = corrected(values, songs, right, wrong) if right is not None and wrong is not None else None
        rows[name] = Row(share(values, songs), right, sure)
    return rows


def table(rows: dict[str, Row]) -> str:
    """Markdown; intervals of 95 % in brackets."""
    lines = ["| wish | judged | its judge on real songs | corrected | requests |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        judge = "exact" if row.judge == _CERTAIN else _cell(row.judge)
        lines.append(
            f"| {name} | {_cell(row.judged)} | {judge} | {_cell(row.corrected)} | {row.judged.count} |"
        )
    return "\n".join(lines)


def _cell(value: Estimate | None) -> str:
    if value is None:
        return "–"
    return f"{value.value:.2f} ({f'{value.low:.2f} … {value.high:.2f}' if value.has_interval else '–'})"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of a folder: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    settings = configs.parse(Settings, argv)
    rows = judge_folder(settings)
    print(table(rows))
    if settings.out is not None:
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: finite(asdict(row)) for name, row in rows.items()}
        text = json.dumps(kept, ensure_ascii=False, indent=2, allow_nan=False)
        (folder / "requests.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
