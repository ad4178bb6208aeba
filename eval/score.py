"""Lead sheets as music: whole bars, key, range, hooks, and how near their statistics are to the corpus's.

    python -m eval.score --model demo --songs 60

Conventions: a song is the unit of all intervals (95 %, bootstrap over songs, Wilson for shares);
melody is what is sung. Rows of the table: held-out scores of the corpus (ceiling), the writer's
scores for the same descriptions, and the corpus's scores with their bars shuffled (floor).

    parsed       songs whose ABC reads back to an equal score: bars add up, every syllable has its note
    key          share of sung time on notes of the key
    chords       share of sung notes on a beat that belong to the chord sounding there
    diatonic     share of chords that are made of notes of the key alone
    range        songs sung within the comfort of their singer
    hooks        share of later choruses that repeat the tune of the first, of songs with several
    tones        share of steps within a line where the melody goes against the tones: up where the
                 tone's end falls, down where it rises (`against`); chance is the shuffled row's
    intervals    Jensen–Shannon distance (0 to 1) of melodic steps from other scores of the corpus
    rhythm       the same of note lengths
"""

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common import config as configs
from common.abc import from_abc, to_abc
from common.errors import ScoreError, command
from common.pinyin import split
from common.score import HOLD, TICKS, ChordChange, Note, Score, Section
from common.seeds import derive_seed, generator
from common.statistics import Estimate, bootstrap, wilson
from common.theory import Chord
from corpus.plan import COMFORT
from corpus.synth import sheet
from eval.lyrics_text import WriterConfig, publish, requests

logger = logging.getLogger(__name__)

STEPS = tuple(range(-12, 13))  # semitones; farther steps count as the farthest
LENGTHS = (3, 4, 6, 8, 9, 12, 18, 24, 36, 48)  # ticks; others count as the nearest
# Where each tone ends, on Chao's scale of five; the neutral tone has no place of its own.
_ENDS = {1: 5, 2: 5, 3: 1, 4: 1}


# ---- of one song -----------------------------------------------------------------------------------


def reads_back(score: Score) -> bool:
    """Whether the score's ABC is read as an equal score."""
    try:
        return from_abc(to_abc(score)) == score
    except ScoreError:
        return False


def in_key(score: Score) -> float | None:
    """Share of sung time on notes of the key; None when nobody sings."""
    sung = [n for s in score.sections for n in s.notes if n.sung]
    time = sum(n.duration for n in sung)
    return sum(n.duration for n in sung if n.pitch % 12 in score.key.classes) / time if time else None


def on_chord(score: Score) -> float | None:
    """Share of sung notes that begin on a beat and belong to the chord there; None when there is none."""
    hits = total = 0
    for section in score.sections:
        for note in section.notes:
            symbol = _chord_at(section.chords, note.start)
            if note.sung and note.start % TICKS == 0 and symbol not in (None, "N"):
                total += 1
                hits += note.pitch % 12 in Chord.parse(symbol or "").classes
    return hits / total if total else None


def _chord_at(changes: Sequence[ChordChange], tick: int) -> str | None:
    before = [change.symbol for change in changes if change.start <= tick]
    return before[-1] if before else None


def diatonic(score: Score) -> float | None:
    """Share of chords that are made of notes of the key; None without chords."""
    symbols = [c.symbol for s in score.sections for c in s.chords if c.symbol != "N"]
    inside = sum(set(Chord.parse(symbol).classes) <= set(score.key.classes) for symbol in symbols)
    return inside / len(symbols) if symbols else None


def in_range(score: Score) -> bool:
    """Whether what is sung lies in the comfort of the score's singer."""
    low, high = COMFORT.get(score.meta.get("singer", "female"), COMFORT["female"])
    return all(low <= n.pitch <= high for s in score.sections for n in s.notes if n.sung)


def hooks(score: Score) -> float | None:
    """Share of later choruses that have the first one's tune; None with fewer than two sung choruses."""
    tunes = [_tune(s) for s in score.sections if s.tag == "chorus" and any(n.sung for n in s.notes)]
    if len(tunes) < 2:
        return None
    return sum(tune == tunes[0] for tune in tunes[1:]) / (len(tunes) - 1)


def _tune(section: Section) -> tuple[tuple[int, int, int], ...]:
    return tuple((n.start, n.duration, n.pitch) for n in section.notes if n.sung)


def against(score: Score) -> tuple[int, int]:
    """(steps where melody and tones go opposite ways, steps where both move), within lines.

    A syllable's tone is where it ends on Chao's scale of five (55, 35, 21 and 51; as Chan 1986
    compares Cantonese tones), its pitch that of its first note. Steps to or from a neutral tone, a
    word that isn't Chinese, or onto the same pitch or level count as neither.
    """
    hits = total = 0
    for line in score.lines():
        sung = [n for n in line if n.syllable != HOLD]
        for a, b in zip(sung, sung[1:]):
            tones = [_ENDS.get(split(n.reading)[2]) if n.reading else None for n in (a, b)]
            if None in tones:
                continue
            rise, climb = np.sign(tones[1] - tones[0]), np.sign(b.pitch - a.pitch)  # type: ignore[operator]
            total += bool(rise and climb)
            hits += bool(rise * climb < 0)
    return hits, total


def steps(score: Score) -> Counter[int]:
    """Melodic steps in semitones, within lines."""
    pairs = [(a.pitch, b.pitch) for line in score.lines() for a, b in zip(line, line[1:])]
    return Counter(int(np.clip(b - a, STEPS[0], STEPS[-1])) for a, b in pairs)


def lengths(score: Score) -> Counter[int]:
    """Lengths of sung notes in ticks, to the nearest of `LENGTHS`."""
    sung = [n for s in score.sections for n in s.notes if n.sung]
    return Counter(min(LENGTHS, key=lambda t: abs(t - n.duration)) for n in sung)


# ---- of many ---------------------------------------------------------------------------------------


def divergence(a: Sequence[float], b: Sequence[float]) -> float:
    """Jensen–Shannon distance of two histograms, base 2: 0 for equal ones, 1 for disjoint ones.

    Raises:
        ScoreError: one of them is empty.
    Source: Endres and Schindelin 2003, IEEE Trans. Inf. Theory 49.
    """
    p, q = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if p.sum() <= 0 or q.sum() <= 0:
        raise ScoreError("statistics of scores are compared on their sung notes, but there are none")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def relative(x: np.ndarray) -> float:
        some = x > 0
        return float((x[some] * np.log2(x[some] / middle[some])).sum())

    return float(np.sqrt(max(0.0, (relative(p) + relative(q)) / 2)))


def shuffled(score: Score, seed: int = 0) -> Score:
    """The floor: bars of melody and bars of chords dealt out anew, each by itself, over the whole song."""
    bar = score.bar_ticks
    rng = generator(seed, "shuffled bars")
    homes = [(number, at) for number, s in enumerate(score.sections) for at in range(s.bars)]
    melody = [homes[int(i)] for i in rng.permutation(len(homes))]
    chords = [homes[int(i)] for i in rng.permutation(len(homes))]
    sections = []
    for number, section in enumerate(score.sections):
        places = [i for i, (home, _) in enumerate(homes) if home == number]
        notes: list[Note] = []
        changes: list[ChordChange] = []
        for at, place in enumerate(places):
            home, source = melody[place]
            for n in score.sections[home].notes:
                if source * bar <= n.start < (source + 1) * bar:
                    start = n.start % bar + at * bar
                    notes.append(replace(n, start=start, duration=min(n.duration, (at + 1) * bar - start)))
            home, source = chords[place]
            symbol = _chord_at(score.sections[home].chords, source * bar)
            if symbol is not None and (not changes or changes[-1].symbol != symbol):
                changes.append(ChordChange(at * bar, symbol))
        sections.append(replace(section, notes=tuple(_startable(notes)), chords=tuple(changes)))
    return replace(score, sections=tuple(sections))


def _startable(notes: Sequence[Note]) -> list[Note]:
    """A held note that has lost its syllable takes one of its own."""
    out: list[Note] = []
    for note in notes:
        lost = note.syllable == HOLD and not (out and out[-1].sung)
        out.append(replace(note, syllable="啦", reading="la1") if lost else note)
    return out


def figures(scores: Sequence[Score], reference: Sequence[Score]) -> dict[str, Estimate]:
    """All figures of a set of scores, against the statistics of another."""
    tones = np.array([against(s) for s in scores], np.float64)
    return {
        "parsed": wilson(sum(map(reads_back, scores)), len(scores)),
        "key": _mean([in_key(s) for s in scores]),
        "chords": _mean([on_chord(s) for s in scores]),
        "diatonic": _mean([diatonic(s) for s in scores]),
        "range": wilson(sum(map(in_range, scores)), len(scores)),
        "hooks": _mean([hooks(s) for s in scores]),
        "tones": bootstrap(tones, statistic=lambda drawn: drawn[:, 0].sum() / max(1.0, drawn[:, 1].sum())),
        "intervals": _distance([steps(s) for s in scores], [steps(s) for s in reference], STEPS),
        "rhythm": _distance([lengths(s) for s in scores], [lengths(s) for s in reference], LENGTHS),
    }


def _mean(values: Sequence[float | None]) -> Estimate:
    """The mean over the songs that have one; NaN over none."""
    known = [v for v in values if v is not None]
    return bootstrap(known) if known else Estimate(float("nan"), float("nan"), float("nan"), 0)


def _distance(found: Sequence[Counter[int]], wanted: Sequence[Counter[int]], bins: Sequence[int]) -> Estimate:
    rows = np.array([[c[b] for b in bins] for c in found], np.float64)
    whole = np.array([[c[b] for b in bins] for c in wanted], np.float64).sum(0)
    return bootstrap(rows, statistic=lambda drawn: divergence(drawn.sum(0), whole), draws=500)


# ---- the table ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreEvaluationConfig(WriterConfig):
    """What to evaluate."""

    songs: int = 60


def table(config: ScoreEvaluationConfig) -> dict[str, dict[str, Estimate]]:
    """Figures of every row. Raises SongError when the model can't be read or used."""
    import lyrics_llm
    from lyrics_llm import author

    asked = requests(config)
    writer = author.load(config.model, config.adapter, config.four_bit)
    own = [sheet(a.seed, "test", duration=config.duration).score for a in asked]
    others = [
        sheet(derive_seed(config.seed, "other scores", i), "valid", duration=config.duration).score
        for i in range(3 * config.songs)
    ]
    written = []
    for number, a in enumerate(asked, 1):
        score = lyrics_llm.compose(a.own, a.description, a.seed, duration=config.duration, model=writer)
        written.append(score)
        if number % 10 == 0:
            logger.info("%d of %d songs", number, len(asked))
    return {
        "corpus": figures(own, others),
        "writer": figures(written, others),
        "corpus, shuffled": figures([shuffled(s, config.seed) for s in own], others),
    }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: the table, and a JSON file where one is asked."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = configs.parse(ScoreEvaluationConfig, argv)
    publish(config, table(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
