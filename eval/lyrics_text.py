"""Lyrics as text: MuChin's structured-lyric score, variety, repetition, and theme.

    python -m eval.lyrics_text --model demo --songs 100 --examples 20

Conventions: lyrics are judged against the structure that was asked; a song is the unit of all
intervals (95 %, bootstrap over songs, Wilson for shares). Rows of the table: the corpus's own words
(ceiling), the writer under its grammar, the writer free of it, and the corpus's lines shuffled over
all songs (floor).

    score        `structure_score`: 100 points and a bonus of 10
    parsed       songs read back from their text as they were, in the asked form
    rhymed       lines of sections of two and more that rhyme with another of their section
    distinct-2   different pairs of characters among all of a song's, repeated sections counted once
    copied       lines that equal another line of the song, repeated sections counted once
    theme        songs whose nearest theme (of all the corpus has, by `Themes`) is the asked one

Source: Wang 2024 (MuChin), arXiv 2402.09871, for the score; Li 2016, arXiv 1510.03055, for distinct-n.
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from common import config as configs
from common.errors import RequestError, command
from common.lyrics import Lyrics, LyricSection
from common.pinyin import plain, units
from common.rhyme import density, group
from common.seeds import derive_seed, generator
from common.statistics import Estimate, bootstrap, finite, wilson
from corpus.synth import Sheet, sheet
from corpus.words import THEMES
from lyrics_llm.structure import FREE, OPEN, LineForm, Structure

logger = logging.getLogger(__name__)

Marks = Sequence[tuple[str, Sequence[str]]]  # sections with their lines in MuChin's signs


# ---- MuChin's score ----------------------------------------------------------------------------


@dataclass(frozen=True)
class StructureScore:
    """Points of one song; `total` is 100 for a perfect one, and up to 110 with the bonus."""

    overall: float  # of 10
    names: float  # of 32.5: sections and their order
    lines: float  # of 17.5: line counts
    characters: float  # of 20
    rhyme: float  # of 20
    bonus: float  # of 10

    @property
    def total(self) -> float:
        return self.overall + self.names + self.lines + self.characters + self.rhyme + self.bonus


def marks_of(lyrics: Lyrics) -> Marks:
    """Lyrics in MuChin's signs: a line that rhymes (十八韵) with another of its section ends in R."""
    out = []
    for section in lyrics.sections:
        groups = [group(line, "十八韵") for line in section.lines]
        signs = [
            _signs(line, bool(name) and groups.count(name) > 1) for line, name in zip(section.lines, groups)
        ]
        out.append((section.tag, signs))
    return out


def asked_marks(structure: Structure) -> Marks:
    """A structure in MuChin's signs."""
    return [(tag, [_form_signs(form) for form in forms]) for tag, forms in structure.sections]


def structure_score(asked: Marks, written: Marks) -> StructureScore:
    """MuChin's objective score of structured lyrics.

    10 points for the similarity (Ratcliff and Obershelp) of the two texts in signs; 50 for sections,
    of which 65 % for the similarity of their names in order and 35 % for their line counts; 20 for
    characters a line; 20 for the number of rhymes. Each part from the second on is multiplied by the
    similarities before it. Lines and rhymes are compared in the sections that match; characters by
    the product over lines of twice the shorter over the sum. The bonus of 10: in full where 60 to
    80 % of the matched lines rhyme, 0.7 of it where every rhyme is exactly where it was asked, less
    around.

    Differs from the authors' script: section names are compared whole (there by their first letter,
    so intro and interlude are one), and an empty denominator is 0 (there 0.01 is added).
    """
    overall = _similarity(_text(asked), _text(written))
    tags = [name for name, _ in asked], [name for name, _ in written]
    matcher = SequenceMatcher(None, *tags, autojunk=False)
    pairs = [
        (asked[block.a + i][1], written[block.b + i][1])
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]
    so_far = matcher.ratio()
    names = 32.5 * so_far
    common = sum(min(len(a), len(b)) for a, b in pairs)
    all_lines = sum(len(a) + len(b) for a, b in pairs)
    so_far *= 2 * common / all_lines if all_lines else 0.0
    compared = [(x, y) for a, b in pairs for x, y in zip(a, b)]
    lengths = [(len(x), len(y)) for x, y in compared if x or y]  # a line of signs only has no characters
    characters = float(np.prod([2 * min(pair) / sum(pair) for pair in lengths]))
    wanted = sum(x.count("R") for x, _ in compared)
    got = sum(y.count("R") for _, y in compared)
    both = sum(x.endswith("R") and y.endswith("R") for x, y in compared)
    rhyme = 2 * min(wanted, got) / (wanted + got) if wanted + got else 0.0
    return StructureScore(
        10 * overall, names, 17.5 * so_far, 20 * characters * so_far if compared else 0.0,
        20 * rhyme * so_far, 10 * so_far * _bonus(got / common if common else 0.0, wanted, got, both),
    )  # fmt: skip


def _bonus(share: float, wanted: int, got: int, both: int) -> float:
    """The share of the bonus for the share of lines that rhyme."""
    if 0.6 <= share <= 0.8:
        return 1.0
    if both == wanted == got and both > 0:
        return 0.7
    away = abs(share - 0.7)
    return 0.4 * (1 - away) if away <= 0.3 else 0.0


def _similarity(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def _text(marks: Marks) -> str:
    return "".join(f"({name})\n" + "".join(line + "\n" for line in lines) for name, lines in marks)


def _signs(line: str, rhymed: bool) -> str:
    signs = " ".join("c" * len(units(piece)) for piece in plain(line).split() if units(piece))
    return signs[:-1] + "R" if rhymed and signs else signs


def _form_signs(form: LineForm) -> str:
    edges = [0, *form.pauses, form.count]
    signs = " ".join("c" * (b - a) for a, b in zip(edges, edges[1:]))
    return signs[:-1] + "R" if form.mark not in (OPEN, FREE) else signs


# ---- variety and repetition ----------------------------------------------------------------------


def own_lines(lyrics: Lyrics) -> list[str]:
    """The lines with repeated sections counted once."""
    sections = dict.fromkeys((s.tag, s.lines) for s in lyrics.sections)
    return [line for _, lines in sections for line in lines]


def distinct_n(lyrics: Lyrics, n: int = 2) -> float:
    """Share of different ones among the n-grams of characters within lines; 1 where there is none."""
    lines = [units(line) for line in own_lines(lyrics)]
    grams = [tuple(line[i : i + n]) for line in lines for i in range(len(line) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def copied(lyrics: Lyrics) -> float:
    """Share of lines that equal an earlier line, repeated sections counted once."""
    lines = own_lines(lyrics)
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def rhymed(lyrics: Lyrics) -> tuple[float, int]:
    """(lines that rhyme with another of their section, lines) of sections of two and more."""
    sections = [s.lines for s in lyrics.sections if len(s.lines) > 1]
    return sum(density(lines) * len(lines) for lines in sections), sum(map(len, sections))


# ---- theme ---------------------------------------------------------------------------------------


class Themes:
    """Lyrics as weighted pairs of characters; a theme is the mean of the corpus's songs about it.

    The embedding is fitted on songs of the split `train` and knows nothing of the writer.
    """

    def __init__(self, songs: int = 10, seed: int = 0) -> None:
        texts = {
            theme: [
                sheet(derive_seed(seed, "theme", theme, i), "train", theme=theme, singer="female").lyrics
                for i in range(songs)
            ]
            for theme in THEMES
        }
        counts = [(theme, _pairs(words)) for theme, rows in texts.items() for words in rows]
        seen = Counter(pair for _, found in counts for pair in found)
        self.weights = {pair: float(np.log(len(counts) / n)) for pair, n in seen.items() if n > 1}
        self.order = {pair: i for i, pair in enumerate(self.weights)}
        self.means = np.stack(
            [np.mean([self.embed(words) for words in texts[theme]], axis=0) for theme in THEMES]
        )

    def embed(self, lyrics: Lyrics) -> np.ndarray:
        """A unit vector (pairs,); zeros where no pair is known."""
        vector = np.zeros(len(self.weights))
        for pair, n in _pairs(lyrics).items():
            if pair in self.order:
                vector[self.order[pair]] = (1 + np.log(n)) * self.weights[pair]
        norm = float(np.linalg.norm(vector))
        return vector / norm if norm else vector

    def nearest(self, lyrics: Lyrics) -> str | None:
        """The theme whose mean is nearest; None where the lyrics share no pair with any."""
        near = self.means @ self.embed(lyrics) / np.linalg.norm(self.means, axis=1)
        return THEMES[int(near.argmax())] if near.any() else None


def _pairs(lyrics: Lyrics) -> Counter[str]:
    return Counter(line[i : i + 2] for line in map(plain, own_lines(lyrics)) for i in range(len(line) - 1))


# ---- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WriterConfig:
    """Whose words or scores to evaluate, on how many requests."""

    model: str = "demo"  # "demo", a folder or a name of lyrics_llm.author.load
    adapter: str | None = None
    four_bit: bool = False
    songs: int = 100
    duration: float = 30.0  # seconds
    seed: int = 0
    out: str | None = None  # a JSON file of the figures


@dataclass(frozen=True)
class LyricsTextConfig(WriterConfig):
    """What to evaluate."""

    examples: int = 20  # whole lyrics that are printed, of the first seeds


@dataclass(frozen=True)
class Asked:
    """One request: a held-out song's description, theme and structure, with its own words."""

    description: str
    theme: str
    structure: Structure
    own: Lyrics
    seed: int


def requests(config: WriterConfig) -> list[Asked]:
    """Descriptions of sung songs of the split `test`, each naming its theme."""
    out: list[Asked] = []
    index = 0
    while len(out) < config.songs:
        seed = derive_seed(config.seed, "lyrics text", index)
        index += 1
        written = sheet(seed, "test", duration=config.duration)
        if written.lyrics.lines:
            form, theme = Structure.of(written.lyrics), written.plan.theme
            out.append(Asked(_said(written), theme, form, written.lyrics, seed))
    return out


def _said(written: Sheet) -> str:
    plan = written.plan
    singer = {"female": "女声", "male": "男声", "child": "童声"}[plan.singer]
    return f"一首{plan.mood}的{plan.genre}，写{plan.theme}，{singer}"


def shuffled(songs: Sequence[Lyrics], seed: int = 0) -> list[Lyrics]:
    """The floor: all lines of all songs dealt out anew."""
    lines = [line for song in songs for line in song.lines]
    dealt = iter([lines[int(i)] for i in generator(seed, "shuffled lines").permutation(len(lines))])
    return [
        Lyrics(tuple(LyricSection(s.tag, tuple(next(dealt) for _ in s.lines)) for s in song.sections))
        for song in songs
    ]


def figures(asked: Sequence[Asked], written: Sequence[Lyrics], themes: Themes) -> dict[str, Estimate]:
    """All figures of a set of lyrics."""
    scores = [structure_score(asked_marks(a.structure), marks_of(w)).total for a, w in zip(asked, written)]
    rows = np.array([rhymed(w) for w in written], dtype=np.float64)
    forms = [a.structure.shape == _shape(w) and Lyrics.parse(str(w)) == w for a, w in zip(asked, written)]
    right = [themes.nearest(w) == a.theme for a, w in zip(asked, written)]
    return {
        "score": bootstrap(scores),
        "parsed": wilson(sum(forms), len(forms)),
        "rhymed": bootstrap(rows, statistic=lambda drawn: drawn[:, 0].sum() / max(1.0, drawn[:, 1].sum())),
        "distinct-2": bootstrap([distinct_n(w) for w in written]),
        "copied": bootstrap([copied(w) for w in written]),
        "theme": wilson(sum(right), len(right), chance=1 / len(THEMES)),
    }


def _shape(lyrics: Lyrics) -> list:
    return [(s.tag, tuple(len(units(line)) for line in s.lines)) for s in lyrics.sections]


def table(config: LyricsTextConfig) -> tuple[dict[str, dict[str, Estimate]], list[tuple[Asked, Lyrics]]]:
    """(figures of every row, the first examples).

    Raises:
        SongError: the model can't be read or used.
    """
    if config.songs < max(1, config.examples):
        raise RequestError(f"{config.examples} examples need as many songs, but {config.songs} were asked")
    import lyrics_llm
    from lyrics_llm import author
    from lyrics_llm.free import write_freely
    from lyrics_llm.writer import Writer

    asked = requests(config)
    writer = author.load(config.model, config.adapter, config.four_bit)
    written = []
    for number, a in enumerate(asked, 1):
        written.append(lyrics_llm.write(a.description, a.structure, theme=a.theme, seed=a.seed, model=writer))
        if number % 10 == 0:
            logger.info("%d of %d songs", number, len(asked))
    themes = Themes(seed=config.seed)
    own = [a.own for a in asked]
    rows = {"corpus": figures(asked, own, themes), "writer": figures(asked, written, themes)}
    if isinstance(writer, Writer):
        free = [write_freely(writer, a.description, a.seed, a.theme) for a in asked]
        rows["writer, free"] = figures(asked, free, themes)
    rows["corpus, shuffled"] = figures(asked, shuffled(own, config.seed), themes)
    return rows, list(zip(asked, written))[: config.examples]


def publish(config: WriterConfig, rows: dict[str, dict[str, Estimate]]) -> None:
    """Print the table, and write the JSON file where one is asked."""
    print(f"{config.songs} songs of {config.duration:g} s, seed {config.seed}, model {config.model}\n")
    print(printed(rows))
    if config.out:
        report = {name: {k: finite(asdict(v)) for k, v in found.items()} for name, found in rows.items()}
        text = json.dumps({"config": asdict(config), "rows": report}, ensure_ascii=False, indent=2)
        Path(config.out).write_text(text + "\n", encoding="utf-8")


def printed(rows: dict[str, dict[str, Estimate]]) -> str:
    """The table in Markdown; intervals in brackets."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, found in rows.items():
        lines.append(f"| {row} | " + " | ".join(_cell(found[n]) for n in names) + " |")
    return "\n".join(lines)


def _cell(value: Estimate) -> str:
    interval = f"{_short(value.low)}, {_short(value.high)}" if value.has_interval else "–"
    return f"{_short(value.value)} [{interval}]"


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: the table, the examples, and a JSON file where one is asked."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = configs.parse(LyricsTextConfig, argv)
    rows, examples = table(config)
    publish(config, rows)
    for number, (asked, words) in enumerate(examples, 1):
        print(f"\n{number}. {asked.description}\n\n```\n{words}```")
    return 0


if __name__ == "__main__":
    sys.exit(main())
