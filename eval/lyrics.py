"""Are the words sung? Every line: sung, missed, repeated or garbled, when, and how sure that is.

    python -m eval.lyrics --songs songs --out scores/words
    python -m eval.lyrics --songs data/corpus/test/manifest.jsonl --count 24 --out /somewhere/words
    python -m eval.lyrics --songs mine.flac --lyrics mine.txt --model whisper-folder --out words

`--songs` is a manifest, a folder of audio or one file. Words come from `--lyrics` (a file, or a folder
of files called like the songs), the manifest, the song's own tag, or a .txt or .lrc beside it. `--model`
is a folder that `eval.recognisers` reads; without it the bundled recogniser listens, which learned on
the synthetic corpus: for real singing give a CTC model or Whisper of transformers.

Written to `--out`: lyrics.json (name → value, low, high, count), lines.json (the verdict on each line)
and lrc/<song>.lrc, the words at the times at which they are heard.

Verdicts (`judge`). A recogniser says how likely each syllable is at each moment; the best walk through
the lines (`eval.ctc.walk`) may skip lines, come back to them and pass over anything else that is sung.
    sung      the line is visited, and its confidence is `SUNG` or more
    repeated  two or more visits are so sure
    garbled   no visit is so sure, but something is sung there
    missed    the line isn't visited, and less than half as many syllables as it has are heard in its place
The walk passes over a whole line for a swallowed syllable, whose frames cost more than all others gain. So
a line that it passes over, but where at least half as many syllables as it has are heard between its
neighbours, is looked for among these alone, and that is its visit.
A syllable's confidence is its probability against the most likely token's, the geometric mean over its
frames: 1 where nothing else is more likely. A line's is the mean over its syllables.

Figures of a set of songs, with intervals over songs (null of one song); tones are never judged:
    syllable_error_rate   edits (insertions too) from what is heard to what is written, by written
                          syllable; its floor (`chance`): the words of another song
    syllables_heard       share of written syllables that the fewest edits keep
    lines_*               share of lines by verdict
    confidence            mean over lines; a line that isn't visited has 0
    syllable_error_rate_of_corpus, …_decoded   the recogniser's own on held-out songs of the corpus, and on
                          what a codec gives back of them: the ceiling
    onset_error_ms        median distance of vowel onsets from the manifest's, of visited lines
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common import config as configs
from common.audio import FORMATS, read_tags
from common.errors import AudioError, LyricsError, ManifestError, RequestError, command
from common.lyrics import Lyrics, LyricSection
from common.pinyin import plain, read
from common.statistics import Estimate, bootstrap, finite, share
from corpus import manifest
from corpus.record import TimedLine
from eval import ctc
from eval.ctc import Recognised
from eval.embeddings import SUFFIXES, is_song, refuse_missing, say_missing, told_of
from eval.prompts import text_of
from eval.recognisers import Heard, Recogniser, load, syllable

logger = logging.getLogger(__name__)

Verdict = Literal["sung", "missed", "repeated", "garbled"]
VERDICTS: tuple[Verdict, ...] = ("sung", "missed", "repeated", "garbled")
SUNG = 0.5  # the least confidence of a line that counts as sung
_HALF = 0.5  # share of a line's syllables that have to be heard where it isn't recognised


# ---- one song --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One time that a line is sung; seconds are None where the recogniser knows no times."""

    start: float | None
    end: float | None
    confidence: float
    onsets: tuple[float, ...] = ()  # seconds of the vowels


@dataclass(frozen=True)
class Line:
    """What became of a line."""

    text: str
    verdict: Verdict
    confidence: float  # of its surest visit
    heard: str  # pinyin of what the recogniser writes there
    visits: tuple[Visit, ...]


@dataclass(frozen=True)
class Judgement:
    """A song's lines, and its syllables written, heard and matched."""

    lines: tuple[Line, ...]
    written: tuple[str, ...]
    heard: tuple[str, ...]
    edits: int
    matched: int

    @property
    def error_rate(self) -> float:
        return self.edits / len(self.written)

    def lrc(self, title: str = "") -> str:
        """The lines at every time they are sung, as players read them; those that aren't are left out.

        Raises:
            LyricsError: no line has a time.
        """
        timed = sorted(
            (max(0.0, v.start), plain(line.text))
            for line in self.lines
            for v in line.visits
            if v.start is not None
        )
        if not timed:
            raise LyricsError("no line is heard at a known time, so there is nothing to write as LRC")
        section = LyricSection("verse", tuple(t for _, t in timed), tuple(s for s, _ in timed))
        return Lyrics((section,)).lrc(title)


def written(line: str) -> list[str]:
    """The toneless syllables of a line."""
    return [syllable(reading) for reading in read(line)]


def judge(heard: Heard, recogniser: Recogniser, lines: Sequence[str]) -> Judgement:
    """The verdict on every line of a song.

    Args:
        heard: of `recogniser.hear`.
        lines: the words, such as `Lyrics.lines`.
    Raises:
        LyricsError: there are no words, or one has an unreadable character.
    """
    words = [written(line) for line in lines]
    flat = [s for line in words for s in line]
    if not flat:
        raise LyricsError("there are no words to listen for: write at least one line")
    spoken = recogniser.syllables(heard)
    pairs, edits = ctc.matches([s.syllable for s in spoken], flat)
    tokens = [[t for s in line for t in recogniser.spellings[s]] for line in words]
    walked = ctc.walk(heard.log_probs, tokens, recogniser.costs)
    visits: list[list[tuple[ctc.Visit, Visit]]] = [[] for _ in lines]
    for visit in walked:
        visits[visit.line].append(
            (visit, _visit(visit, heard, [recogniser.spellings[s] for s in words[visit.line]]))
        )
    places = _look_again(words, visits, spoken, heard, recogniser)
    told = _verdicts(lines, words, visits, spoken, places)
    return Judgement(told, tuple(flat), tuple(s.syllable for s in spoken), edits, len(pairs))


def _visit(visit: ctc.Visit, heard: Heard, spelt: Sequence[tuple[int, ...]]) -> Visit:
    """Times and confidence of a visit, from the alignment of its own frames."""
    rows = heard.log_probs[visit.first : visit.last]
    flat = [t for tokens in spelt for t in tokens]
    spans, _ = ctc.align(rows, flat)
    below = [rows[a:b, t] - rows[a:b].max(1) for (a, b), t in zip(spans, flat)]
    ends = np.cumsum([len(tokens) for tokens in spelt])
    sure, vowels = [], []
    for end, tokens in zip(ends, spelt):
        sure.append(np.exp(np.concatenate(below[end - len(tokens) : end]).mean()))
        vowels.append(visit.first + spans[end - 1][0])
    confidence = float(np.mean(sure))
    if heard.rate is None:
        return Visit(None, None, confidence)
    start, stop, *onsets = (round(f / heard.rate, 3) for f in (visit.first, visit.last, *vowels))
    return Visit(start, stop, confidence, tuple(onsets))


def _look_again(
    words: Sequence[Sequence[str]],
    visits: Sequence[list[tuple[ctc.Visit, Visit]]],
    spoken: Sequence[Recognised],
    heard: Heard,
    recogniser: Recogniser,
) -> dict[int, list[Recognised]]:
    """Add a visit to each line that the walk passed over, where enough is sung in its place.

    Returns:
        The number of every line that was passed over → what is sung in its place.
    """
    taken = [place for found in visits for place, _ in found]
    stray = [s for s in spoken if not any(v.first <= (s.first + s.last) / 2 < v.last for v in taken)]
    # All are looked for before any is added: those between the same neighbours share the time there.
    places = {
        number: _between(number, words, visits, stray)
        for number, line in enumerate(words)
        if line and not visits[number]
    }
    for number, inside in places.items():
        if len(inside) < _HALF * len(words[number]):
            continue
        place = ctc.Visit(number, inside[0].first, inside[-1].last)
        with suppress(LyricsError):  # fewer frames than the line has tokens
            spelt = [recogniser.spellings[s] for s in words[number]]
            visits[number].append((place, _visit(place, heard, spelt)))
    return places


def _verdicts(
    lines: Sequence[str],
    words: Sequence[Sequence[str]],
    visits: Sequence[Sequence[tuple[ctc.Visit, Visit]]],
    spoken: Sequence[Recognised],
    places: Mapping[int, Sequence[Recognised]],
) -> tuple[Line, ...]:
    out = []
    for number, (text, found) in enumerate(zip(lines, visits)):
        if not words[number]:  # nothing but signs, which nobody sings
            continue
        confidence = max((v.confidence for _, v in found), default=0.0)
        sure = sum(v.confidence >= SUNG for _, v in found)
        if found:
            inside = [s for s in spoken if any(p.first <= (s.first + s.last) / 2 < p.last for p, _ in found)]
            verdict: Verdict = "repeated" if sure > 1 else "sung" if sure else "garbled"
        else:
            inside = list(places[number])
            verdict = "garbled" if len(inside) >= _HALF * len(words[number]) else "missed"
        kept = [v for _, v in found if v.confidence >= SUNG] or [v for _, v in found]
        out.append(Line(text, verdict, confidence, " ".join(s.syllable for s in inside), tuple(kept)))
    return tuple(out)


def _between(
    number: int,
    words: Sequence[Sequence[str]],
    visits: Sequence[Sequence[tuple[ctc.Visit, Visit]]],
    stray: Sequence[Recognised],
) -> list[Recognised]:
    """What is sung where a line that isn't visited would be.

    The time between its neighbours is shared by the lines that are missing there, by their syllables.
    """
    before = next((k for k in range(number - 1, -1, -1) if visits[k]), None)
    after = next((k for k in range(number + 1, len(words)) if visits[k]), None)
    begin = -1 if before is None else max(v.last for v, _ in visits[before])
    end = np.inf if after is None else min(v.first for v, _ in visits[after])
    inside = [s for s in stray if begin <= s.first and s.last <= end]
    if not inside:
        return []
    # At the edges of the song, what is sung there tells where the words begin and end.
    begin, end = (inside[0].first if before is None else begin), (inside[-1].last if after is None else end)
    first, last = 0 if before is None else before + 1, len(words) if after is None else after
    ends = begin + (end - begin) * np.cumsum([0, *map(len, words[first:last])]) / sum(
        map(len, words[first:last])
    )
    return [s for s in inside if ends[number - first] <= (s.first + s.last) / 2 < ends[number - first + 1]]


# ---- many songs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sung:
    """A song to listen to."""

    name: str
    audio: Path
    lyrics: Lyrics
    timing: tuple[TimedLine, ...] = ()


def songs_of(place: str, lyrics: str | None = None, count: int | None = None) -> Iterator[Sung]:
    """The songs of a manifest, a folder or a file that have words; the others are named in a warning.

    Raises:
        SongError: the place, or what it holds, can't be read.
    """
    path = Path(place)
    if lyrics is not None and not Path(lyrics).exists():
        raise LyricsError(f"there are no lyrics at {lyrics}")
    found = _of_manifest(path, lyrics) if path.suffix == ".jsonl" else _of_folder(path, lyrics)
    for number, song in enumerate(found):
        if count is not None and number >= count:
            return
        yield song


def _of_manifest(path: Path, lyrics: str | None) -> Iterator[Sung]:
    for record in manifest.read(path):
        words = _given(record.id, lyrics) if lyrics else record.lyrics
        if words is None or not words.lines:
            continue  # nobody sings
        if record.audio is None:
            logger.warning("song %s has no audio file and is left out", record.id)
            continue
        yield Sung(record.id, path.parent / record.audio, words, record.timing)


def _of_folder(path: Path, lyrics: str | None) -> Iterator[Sung]:
    files = sorted(filter(is_song, path.iterdir())) if path.is_dir() else [path]
    stems = [f.stem for f in files]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise AudioError(f"{path} holds {twice[0]!r} twice, in two formats: keep one")
    if not files or (not path.is_dir() and path.suffix.lower() not in SUFFIXES):
        raise AudioError(f"songs are a manifest (.jsonl), a folder of audio or a file, but got {path}")
    for file in files:
        words = _given(file.stem, lyrics) if lyrics else _beside(file)
        if words is None or not words.lines:
            logger.warning("%s has no words and is left out", file.name)
            continue
        yield Sung(file.stem, file, words)


def _given(name: str, lyrics: str) -> Lyrics | None:
    """The words of a song in a file or a folder that the user named."""
    path = Path(lyrics)
    files = [path] if path.is_file() else [path / f"{name}{suffix}" for suffix in (".txt", ".lrc")]
    return next((_read_lyrics(f) for f in files if f.is_file()), None)


def _beside(file: Path) -> Lyrics | None:
    """The words that a song carries in its tag, or that lie beside it."""
    words = _given(file.stem, str(file.parent))
    try:
        tagged = read_tags(file).get("lyrics") if file.suffix.lower() in FORMATS else None
    except AudioError:
        if words is None:
            raise
        return words  # that the song can't be heard is told when its turn comes
    return _parsed(tagged, f"the words in {file}") if tagged else words


def _read_lyrics(path: Path) -> Lyrics:
    try:
        text = text_of(path)
    except ManifestError as error:
        raise LyricsError(f"the lyrics can't be read: {error}") from error
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> Lyrics:
    try:
        return Lyrics.parse(text)
    except LyricsError as error:
        raise LyricsError(f"{where}: {error}") from error


def onset_errors(judged: Judgement, timing: Sequence[TimedLine]) -> list[float]:
    """Milliseconds between the vowels' onsets and the manifest's, of lines that are sung once."""
    if len(timing) != len(judged.lines):
        return []
    errors = []
    for line, truth in zip(judged.lines, timing):
        if len(line.visits) == 1 and len(line.visits[0].onsets) == len(truth.syllables):
            errors += [1000 * abs(a - s.start) for a, s in zip(line.visits[0].onsets, truth.syllables)]
    return errors


def summary(judged: Sequence[Judgement], timings: Sequence[Sequence[TimedLine]] = ()) -> dict[str, Estimate]:
    """The figures of a set of songs, with intervals over songs.

    Raises:
        RequestError: no song came.
    """
    sizes = [len(j.written) for j in judged]
    floor = _floor(judged)
    rate = _ratio([j.edits for j in judged], sizes)
    table = {"syllable_error_rate": replace(rate, chance=floor)}
    table["syllables_heard"] = _ratio([j.matched for j in judged], sizes)
    lines = [(number, line) for number, j in enumerate(judged) for line in j.lines]
    songs = [number for number, _ in lines]
    for verdict in VERDICTS:
        table[f"lines_{verdict}"] = share([line.verdict == verdict for _, line in lines], songs)
    table["confidence"] = bootstrap([line.confidence for _, line in lines], songs)
    errors = [onset_errors(j, timing) for j, timing in zip(judged, timings)]
    flat = [e for row in errors for e in row]
    if flat:
        owners = [number for number, row in enumerate(errors) for _ in row]
        table["onset_error_ms"] = bootstrap(flat, owners, lambda rows: float(np.median(rows)), draws=500)
    return table


def _ratio(parts: Sequence[int], wholes: Sequence[int]) -> Estimate:
    """The sum of parts by the sum of wholes, with its interval over songs."""
    rows = np.array([parts, wholes], dtype=np.float64).T
    return bootstrap(rows, statistic=lambda some: float(some[:, 0].sum() / some[:, 1].sum()))


def _floor(judged: Sequence[Judgement]) -> float | None:
    """The error rate of what is heard against the words of the next song."""
    if len(judged) < 2:
        return None
    wrong = [*judged[1:], judged[0]]
    edits = sum(ctc.matches(a.heard, b.written)[1] for a, b in zip(judged, wrong))
    return edits / sum(len(b.written) for b in wrong)


# ---- the command -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to listen to."""

    songs: str  # a manifest, a folder of audio, or one file
    out: str  # folder of lyrics.json, lines.json and lrc/
    lyrics: str | None = None  # a file of words, or a folder of files called like the songs
    model: str | None = None  # a folder of a recogniser; the bundled one when None
    count: int | None = None  # the first so many songs
    allow_missing: bool = False  # leave out songs that can't be heard


def measure(settings: Settings) -> tuple[dict[str, Estimate], dict[str, Judgement]]:
    """Listen to the songs, write the files, and return the figures and the songs' judgements.

    Raises:
        AudioError: songs can't be heard, all named; with `allow_missing` only where none can.
        SongError: another input can't be used, or no song has words.
    """
    songs = list(songs_of(settings.songs, settings.lyrics, settings.count))  # all words before any sound
    recogniser = load(settings.model)
    out = Path(settings.out)
    judged: dict[str, Judgement] = {}
    timings, missing = [], []
    for song in songs:
        try:
            heard = recogniser.hear(song.audio)
        except AudioError as error:
            missing.append(told_of(song.audio, error))
            continue
        found = judge(heard, recogniser, song.lyrics.lines)
        judged[song.name] = found
        timings.append(song.timing)
        logger.info("%s: %.0f %% of syllables wrong", song.name, 100 * found.error_rate)
        if any(v.start is not None for line in found.lines for v in line.visits):
            _put(out / "lrc" / f"{song.name}.lrc", found.lrc())
    if songs:
        refuse_missing(missing, len(songs), settings.allow_missing)
        say_missing(missing, set())
    if not judged:
        raise RequestError(f"{settings.songs} holds no song with words: name them with --lyrics")
    table = summary(list(judged.values()), timings)
    for version in ("", "_decoded"):  # of the recogniser, as `eval.syllables.measure` found it
        own = recogniser.accuracy.get(f"syllable_error_rate{version}")
        if own:
            table[f"syllable_error_rate_of_corpus{version}"] = Estimate(**own)
    _put(out / "lyrics.json", _json({name: asdict(e) for name, e in table.items()}))
    _put(out / "lines.json", _json({n: [asdict(x) for x in j.lines] for n, j in judged.items()}))
    return table, judged


def _json(data: Any) -> str:
    return json.dumps(finite(data), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _put(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise RequestError(f"{path} can't be written: {error.strerror or error}") from error


def _shown(line: Line) -> str:
    times = ", ".join("–" if v.start is None else f"{v.start:.2f}" for v in line.visits) or "–"
    return f"  {line.verdict:8} {line.confidence:.2f}  {times:>14} s  {line.text}  ({line.heard})"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the lines and the table: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    settings = configs.parse(Settings, argv)
    table, judged = measure(settings)
    for name, found in judged.items():
        print(f"{name}: syllable error rate {found.error_rate:.3f}")
        for line in found.lines:
            print(_shown(line))
    for name, value in table.items():
        print(f"{name:38} {value}")
    print(f"wrote lyrics.json, lines.json and lrc/ to {settings.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
