"""What an encoder hears without being taught to: each song's genre, mood, theme, … by the nearest prompt.

    python -m eval.zero_shot --model runs/chinmu/model --manifest data/corpus/pool/manifest.jsonl \
        --picture confusion.png

Conventions: a value's prompt is the mean of the unit vectors of its names (流行, 流行歌曲, …) by both
audiences, those that training may have seen; names that the corpus keeps for evaluation make a second
prompt, compared on the values that have such names. A song counts as right when the most similar
prompt of all values is its own; of instruments, when it is one that plays. Chance is one over the
values, or the mean share of instruments that play; `largest` is what always saying the commonest value
gives. `balanced` is the mean over values. Songs whose combination of genre and instruments training
never saw are shown apart. Intervals are over songs.
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common import config as configs
from common.description import Audience
from common.errors import ManifestError, RequestError, command
from common.statistics import Estimate, finite, share
from corpus import manifest
from corpus.attributes import tempo_class
from corpus.record import SongRecord
from corpus.speech import forms, held_out_forms, instrument_names
from eval.retrieval import system

logger = logging.getLogger(__name__)

Texts = Callable[[Sequence[str]], np.ndarray]
SHOWN = ("genre", "mood", "tempo", "singer")  # in the picture


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


# What is asked, and what is so of a song: nothing where it isn't known.
KINDS: dict[str, Callable[[SongRecord], tuple[str, ...]]] = {
    "genre": lambda r: _one(r.genre),
    "mood": lambda r: _one(r.mood),
    "theme": lambda r: _one(r.theme),  # heard by the words: an instrumental has none
    "tempo": lambda r: _one(tempo_class(r.tempo) if r.tempo else None),
    "singer": lambda r: _one(r.singer),
    "instrument": lambda r: tuple(r.instruments or ()),
}


@dataclass(frozen=True)
class Row:
    """Figures of one kind of label, by one set of names, on some of the songs."""

    kind: str
    names: str
    songs: str
    values: int
    accuracy: Estimate
    balanced: float
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.kind:10} {self.names:18} {self.songs:18} {self.values:3} values  {self.accuracy}  "
            f"balanced {self.balanced:.3f}  largest {self.largest:.3f}"
        )


@dataclass(frozen=True)
class Confusion:
    """How often each value's songs were nearest to each value's prompt."""

    kind: str
    values: tuple[str, ...]
    counts: np.ndarray  # (true, heard)

    def worst(self, most: int = 5) -> list[tuple[str, str, float]]:
        """What is taken for something else most often: (true, heard, share of its songs)."""
        shares = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        np.fill_diagonal(shares, 0)
        order = np.dstack(np.unravel_index(np.argsort(-shares, axis=None), shares.shape))[0][:most]
        return [(self.values[i], self.values[j], float(shares[i, j])) for i, j in order if shares[i, j] > 0]


# ---- prompts -------------------------------------------------------------------------------


def names(kind: str, value: str) -> tuple[list[str], list[str]]:
    """Names of a value that training may have seen, and those kept for evaluation."""
    if kind == "instrument":
        known = list(instrument_names(value))
    else:
        known = [name for audience in Audience for name in forms(kind, value, audience)]
    known = list(dict.fromkeys(known))
    return [n for n in known if n not in held_out_forms()], [n for n in known if n in held_out_forms()]


def prompts(texts: Texts, lists: Sequence[Sequence[str]]) -> np.ndarray:
    """(V, D) unit vectors: each the mean of a list of texts."""
    flat = texts([text for some in lists for text in some])
    ends = np.cumsum([len(some) for some in lists])
    means = np.stack([part.mean(0) for part in np.split(flat, ends[:-1])])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


# ---- figures -------------------------------------------------------------------------------


def heard(songs: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """(S,) the value whose prompt is most similar; −1 where two are exactly alike, which counts as wrong."""
    similarity = songs @ prompt.T
    best = similarity.argmax(1)
    alike = (similarity >= similarity.max(1, keepdims=True)).sum(1)
    return np.where((alike == 1) & np.isfinite(similarity).all(1), best, -1)


def row(kind: str, title: str, where: str, found: np.ndarray, truth: np.ndarray) -> Row:
    """Figures of some songs.

    Args:
        found: (S,) the value that was heard.
        truth: (S, V) which values hold.
    """
    right = (found >= 0) & truth[np.arange(len(found)), found]
    per_value = [right[truth[:, v]].mean() for v in range(truth.shape[1]) if truth[:, v].any()]
    chance = float(truth.mean(1).mean())
    largest = float(truth.mean(0).max())
    return Row(
        kind,
        title,
        where,
        truth.shape[1],
        share(right, chance=chance),
        float(np.mean(per_value)),
        largest,
    )


def classify(kind: str, texts: Texts, songs: np.ndarray, records: Sequence[SongRecord]) -> list[Row]:
    """The rows of one kind of label; none when fewer than two values are known."""
    values = values_of(kind, records)
    if len(values) < 2:
        return []
    seen, unseen = zip(*(names(kind, value) for value in values))
    rare = [i for i, some in enumerate(unseen) if some]
    rows = _rows(kind, "seen names", prompts(texts, seen), values, songs, records)
    if len(rare) >= 2:
        fewer = [values[i] for i in rare]
        for title, lists in (("unseen names", unseen), ("seen, same values", seen)):
            made = prompts(texts, [lists[i] for i in rare])
            rows += _rows(kind, title, made, fewer, songs, records)[:1]
    return rows


def values_of(kind: str, records: Sequence[SongRecord]) -> list[str]:
    """The values of some songs, the commonest first."""
    counts = Counter(value for record in records for value in KINDS[kind](record))
    return [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _rows(
    kind: str,
    title: str,
    prompt: np.ndarray,
    values: Sequence[str],
    songs: np.ndarray,
    records: Sequence[SongRecord],
) -> list[Row]:
    """Of all songs that have one of the values, and of seen and unseen combinations apart."""
    truth = np.array([[value in KINDS[kind](record) for value in values] for record in records])
    rare = np.array(["combination" in record.held_out for record in records])
    found, known = heard(songs, prompt), truth.any(1)
    parts = {"all": known, "seen combination": known & ~rare, "unseen combination": known & rare}
    if not rare.any() or rare.all():
        parts = {"all": known}
    return [row(kind, title, where, found[own], truth[own]) for where, own in parts.items() if own.any()]


def confusion(kind: str, texts: Texts, songs: np.ndarray, records: Sequence[SongRecord]) -> Confusion:
    """What is taken for what, for a kind of which a song has one value."""
    values = values_of(kind, records)
    found = heard(songs, prompts(texts, [names(kind, value)[0] for value in values]))
    counts = np.zeros((len(values), len(values)), dtype=int)
    for record, index in zip(records, found.tolist()):
        own = KINDS[kind](record)
        if own and index >= 0:
            counts[values.index(own[0]), index] += 1
    return Confusion(kind, tuple(values), counts)


# ---- picture -------------------------------------------------------------------------------


def draw(confusions: Sequence[Confusion], out: Path) -> None:
    """A square for each kind: rows are songs, columns what was heard, darkness the share of a row.

    Chinese names are drawn with a font that has them, or in pinyin where there is none.

    Raises:
        RequestError: matplotlib isn't installed.
    """
    try:
        from matplotlib import font_manager
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError("a picture needs matplotlib: pip install matplotlib") from error
    fonts = {font.name for font in font_manager.fontManager.ttflist}
    family = next((f for f in _CHINESE if f in fonts), None)
    label: Callable[[str], str] = str if family else _pinyin
    sizes = [max(4, len(c.values)) ** 0.5 for c in confusions]
    figure = Figure(figsize=(2.4 * sum(sizes) * 0.55, 2.4 * max(sizes) * 0.6), layout="constrained")
    axes = figure.subplots(1, len(confusions), squeeze=False, width_ratios=sizes)[0]
    text: dict[str, Any] = {"fontfamily": family} if family else {}
    for axis, one in zip(axes, confusions):
        shares = one.counts / np.maximum(one.counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        size = 8 if len(one.values) <= 15 else 5
        places = range(len(one.values))
        axis.set_xticks(places, map(label, one.values), rotation=90, fontsize=size, **text)
        axis.set_yticks(places, map(label, one.values), fontsize=size, **text)
        axis.set_title(
            f"{one.kind}: {100 * np.trace(one.counts) / max(1, one.counts.sum()):.0f} %", fontsize=9
        )
        axis.set_xlabel("was heard as", fontsize=8)
    axes[0].set_ylabel("is", fontsize=8)
    figure.savefig(out, dpi=80, bbox_inches="tight")


_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
)


def _pinyin(text: str) -> str:
    from pypinyin import lazy_pinyin

    return "".join(lazy_pinyin(text))


# ---- command -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to evaluate."""

    model: str  # folder of a ChinMu, or LAION-CLAP's weights
    manifest: str
    vectors: str | None = None  # folder of chinmu.embed with the songs' vectors
    out: str | None = None  # a JSON file for the figures
    picture: str | None = None  # a PNG of what is taken for what


def measure(settings: Settings) -> tuple[list[Row], list[Confusion]]:
    """All rows, and the confusions of what a song has one value of.

    Raises:
        SongError: the model, the manifest or an audio file can't be used.
    """
    records = list(manifest.iterate(settings.manifest))
    if not records:
        raise ManifestError(f"{settings.manifest} holds no songs")
    encoder = system("", settings.model, settings.vectors)
    songs = encoder.songs(records, Path(settings.manifest).parent)
    rows = [r for kind in KINDS for r in classify(kind, encoder.texts, songs, records)]
    if not rows:
        raise ManifestError(f"the songs of {settings.manifest} have no labels to be told by")
    ask = partial(confusion, texts=encoder.texts, songs=songs, records=records)
    return rows, [ask(kind) for kind in SHOWN if len(values_of(kind, records)) > 1]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings, argv)
    rows, confusions = measure(settings)
    if settings.picture:
        draw(confusions, Path(settings.picture))
    print("\n".join(map(str, rows)))
    for one in confusions:
        pairs = ", ".join(f"{a} as {b} {100 * share:.0f} %" for a, b, share in one.worst())
        print(f"{one.kind} taken for another: {pairs}")
    if settings.out:
        kept: dict[str, Any] = {"rows": [asdict(r) for r in rows]}
        kept["confusions"] = [asdict(c) | {"counts": c.counts.tolist()} for c in confusions]
        Path(settings.out).write_text(
            json.dumps(finite(kept), ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
