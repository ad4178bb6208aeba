"""What a description hints at without naming it: 站台上不敢回头 is of parting, 像晒太阳的猫 is lazy.

    python -m lyrics_llm.hints            # learns from corpus/lexicon/hints again: a minute or two

Most people tell a situation instead of a label. No table holds all situations, but the words of some hundred
hints for each label, written by hand, betray most others: a linear reader weighs the short strings of
characters that a description and the hints have in common. It is asked where nothing was named; where the
description hints at nothing it says so, and the writer chooses.

For each kind (theme, mood, genre, singer, pace) the reader is a multinomial logistic regression over strings
of one and two characters, weighted by their rarity, with the label "" for texts that say nothing of the
kind. Small weights are left out and the others kept in 8 bits, which costs less than three megabytes.

Source: Joulin 2017 ("Bag of Tricks for Efficient Text Classification") for how far bags of strings get;
Salton 1988 for the weights.
"""

import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from common import config as configs
from common.config import check_least
from common.description import normalise, simplified
from common.errors import CheckpointError, ConfigError, command
from corpus.attributes import unnamed
from corpus.speech import Audience, forms, held_out_forms, hints, read

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parent / "models" / "hints.safetensors"
KINDS = ("theme", "mood", "genre", "singer", "pace")
# The kinds whose hints and names are taught as saying nothing of a kind. What is left out does tell of it, as
# a theme does of a mood.
_SILENT = {
    "theme": ("genre", "singer", "pace"),
    "mood": ("genre", "singer"),
    "genre": ("singer", "pace", "theme"),
    "singer": ("genre", "mood", "pace", "theme"),
    "pace": ("singer", "theme"),
}
# Weight of what is said of other kinds, all together, beside that of a kind's own hints. Any song has a theme
# and a mood: there a weak hint is better than none.
_SILENCE = {"theme": 0.03, "mood": 0.03, "genre": 0.1, "singer": 0.05, "pace": 0.05}
_PLAIN = 3.0  # weight of a request that says nothing at all
_NAMED = {"theme": "theme", "mood": "mood", "genre": "genre", "singer": "singer", "pace": "tempo"}
# Names of these say what they mean already, and hint at nothing besides; likenesses (scenes) are hints.
_SAID = ("genre", "mood", "theme", "instrument", "nearest", "tempo", "singer", "person", "scale", "piece")
_LONGEST = 2  # characters of a string: three more than double the weights and read no better
# Texts are weighed at equal length, but for those with fewer or commoner strings than this: they say less.
_LITTLE = 9.0
_PARTS = re.compile("[\u4e00-\u9fff]+")
_LATIN = re.compile("[a-z]{2,}")


@dataclass(frozen=True)
class Hint:
    """What a description hints at, and how surely."""

    label: str
    probability: float  # among all labels of the kind and that it says nothing


@dataclass(frozen=True)
class Reader:
    """Weights of strings for the labels of one kind; those of row i lie at `starts[i]:starts[i + 1]`."""

    labels: tuple[str, ...]  # "" among them: says nothing
    rows: Mapping[str, int]
    rarity: np.ndarray  # (strings,): log(1 + texts / those that have it)
    starts: np.ndarray  # (strings + 1,)
    columns: np.ndarray  # (weights,) index into `labels`
    values: np.ndarray  # (weights,)
    bias: np.ndarray  # (labels,)

    def probabilities(self, text: str) -> np.ndarray:
        """Of each label (labels,), for a text that `strings` reads."""
        return self._weighed(self._known(text))

    def _known(self, text: str) -> list[str]:
        return [s for s in sorted(strings(text)) if s in self.rows]

    def _weighed(self, known: Sequence[str]) -> np.ndarray:
        found = [self.rows[s] for s in known]
        length = max(float(np.linalg.norm(self.rarity[found])), _LITTLE)
        logits = self.bias.copy()
        for row in found:
            span = slice(self.starts[row], self.starts[row + 1])
            logits[self.columns[span]] += self.values[span] * (self.rarity[row] / length)
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()

    def best(self, text: str, among: Collection[str] | None = None) -> Hint | None:
        """The likeliest label, of those that are allowed; None where it is likelier that nothing is said.

        A single character hints at nothing.
        """
        known = self._known(text)
        if max(map(len, known), default=0) < 2:
            return None
        found = dict(zip(self.labels, map(float, self._weighed(known))))
        nothing = found.pop("", 0.0)
        allowed = {label: p for label, p in found.items() if among is None or label in among}
        label = max(allowed, key=allowed.__getitem__, default=None)
        return None if label is None or allowed[label] <= nothing else Hint(label, allowed[label])


def hinted(description: str, among: Mapping[str, Collection[str]] | None = None) -> dict[str, Hint]:
    """By kind, what a description hints at; kinds that it says nothing of are left out.

    Args:
        among: of some kinds, the labels that are allowed.
    """
    text = unnamed(description, _SAID)
    found = {kind: reader.best(text, (among or {}).get(kind)) for kind, reader in bundled().items()}
    return {kind: hint for kind, hint in found.items() if hint is not None}


def strings(text: str) -> set[str]:
    """The strings of one and two Chinese characters of a text, in one way of writing, and its Latin words."""
    plain = simplified(normalise(text)).lower()
    pieces = {
        part[k : k + n]
        for part in _PARTS.findall(plain)
        for n in range(1, _LONGEST + 1)
        for k in range(len(part) - n + 1)
    }
    return pieces | set(_LATIN.findall(plain))


# ---- files -------------------------------------------------------------------------------------


@cache
def bundled() -> dict[str, Reader]:
    """The readers that come with the package, by kind."""
    return load(BUNDLED)


def load(path: str | Path) -> dict[str, Reader]:
    """Readers from a file of `save`.

    Raises:
        CheckpointError: it can't be read, or isn't such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        return {kind: _reader({k[len(kind) + 1 :]: v for k, v in arrays.items() if k.startswith(f"{kind}.")})
                for kind in KINDS}  # fmt: skip
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} has no readers of hints: {error}") from error


def _reader(arrays: Mapping[str, np.ndarray]) -> Reader:
    names = bytes(arrays["strings"]).decode().split("\n")
    return Reader(
        labels=tuple(bytes(arrays["labels"]).decode().split("\n")),
        rows={name: row for row, name in enumerate(names)},
        rarity=arrays["rarity"].astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(arrays["counts"], dtype=np.int64)]),
        columns=arrays["columns"],
        values=arrays["values"].astype(np.float32) * arrays["step"],
        bias=arrays["bias"],
    )


def save(learned: Mapping[str, "Learned"], path: str | Path, least: float) -> None:
    """Write readers, whole or not at all, without weights below `least` and strings that have none left.

    Raises:
        ConfigError: no weight of a kind is left.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    for kind, one in learned.items():
        kept = np.abs(one.weights) >= least
        rows = np.flatnonzero(kept.any(1))
        if not len(rows):
            raise ConfigError(f"no weight of {kind} is as large as {least:g}: ask for a smaller least")
        weights, kept = one.weights[rows], kept[rows]
        step = np.float32(np.abs(weights).max() / 127)
        arrays |= {
            f"{kind}.strings": _text([one.strings[row] for row in rows]),
            f"{kind}.labels": _text(one.labels),
            f"{kind}.rarity": one.rarity[rows].astype(np.float16),
            f"{kind}.counts": kept.sum(1).astype(np.uint8),
            f"{kind}.columns": np.nonzero(kept)[1].astype(np.uint8),
            f"{kind}.values": np.round(weights[kept] / step).astype(np.int8),
            f"{kind}.step": np.array([step]),
            f"{kind}.bias": one.bias,
        }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    save_file(arrays, draft)
    draft.replace(path)


def _text(lines: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


# ---- learning ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """The whole weights of a reader."""

    strings: list[str]
    labels: list[str]
    rarity: np.ndarray  # (strings,)
    weights: np.ndarray  # (strings, labels)
    bias: np.ndarray  # (labels,)


@dataclass(frozen=True)
class Lesson:
    """A text, the label that it hints at ("": it says nothing), and how much it counts."""

    text: str
    label: str
    weight: float = 1.0


def lessons(kind: str) -> list[Lesson]:
    """All hints and names of a kind, and texts that say nothing of it.

    Names that are kept for evaluation are left out.
    """
    kept = held_out_forms()
    said = [(text, label) for label, texts in hints(kind).items() for text in texts if text not in kept]
    said += [(name, label) for label in hints(kind) for name in _names(kind, label)]
    others = [
        text
        for other in _SILENT[kind]
        for label, texts in hints(other).items()
        for text in (*texts, *_names(other, label))
        if text not in kept
    ]
    said, others = list(dict.fromkeys(said)), list(dict.fromkeys(others))
    plain = dict.fromkeys(text for texts in hints("nothing").values() for text in texts)
    each = _SILENCE[kind] * len(said) / max(1, len(others))
    return [
        *(Lesson(text, label) for text, label in said),
        *(Lesson(text, "", each) for text in others),
        *(Lesson(text, "", _PLAIN) for text in plain),
    ]


def _names(kind: str, label: str) -> list[str]:
    kept, named = held_out_forms(), _NAMED[kind]
    if label not in read("speech")[named]:
        return []
    names = {label} if not label.isascii() else set()
    for audience in Audience:
        names.update(forms(named, label, audience))
    return sorted(names - kept)


def learn(rows: Sequence[Lesson], decay: float) -> Learned:
    """A reader from texts and their labels.

    Args:
        decay: weight of half the squared weights beside the mean cross-entropy.
    Raises:
        ConfigError: there are fewer than two labels.
    """
    import torch

    labels = sorted({row.label for row in rows})
    if len(labels) < 2:
        raise ConfigError("a reader of hints needs texts of at least two labels")
    said = [sorted(strings(row.text)) for row in rows]
    counts = Counter(s for one in said for s in one)
    names = sorted(counts)
    place = {s: k for k, s in enumerate(names)}
    rarity = np.array([math.log(1 + len(rows) / counts[s]) for s in names], dtype=np.float32)
    places = [[place[s] for s in one] for one in said]
    values = [rarity[k] / max(float(np.linalg.norm(rarity[k])), _LITTLE) for k in places]
    index = torch.tensor([[n for n, k in enumerate(places) for _ in k], [p for k in places for p in k]])
    data = torch.tensor(np.concatenate(values), dtype=torch.float32)
    size = len(rows), len(names)
    texts = torch.sparse_coo_tensor(index, data, size, check_invariants=True).coalesce()
    wanted = torch.tensor([labels.index(row.label) for row in rows])
    weight = torch.tensor([row.weight for row in rows])
    weight = weight / weight.sum()
    slopes = torch.zeros(len(names), len(labels), requires_grad=True)
    bias = torch.zeros(len(labels), requires_grad=True)
    optimizer = torch.optim.LBFGS([slopes, bias], max_iter=80, history_size=6, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        errors = torch.nn.functional.cross_entropy(texts @ slopes + bias, wanted, reduction="none")
        total = (weight * errors).sum() + decay * slopes.square().sum() / 2
        total.backward()
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Learned(names, labels, rarity, slopes.detach().numpy(), bias.detach().numpy())


@dataclass(frozen=True)
class LearnConfig:
    """How the readers are learned."""

    out: str = str(BUNDLED)
    decay: float = 5e-6
    least: float = 0.4  # weights that are smaller are left out

    def __post_init__(self) -> None:
        check_least(self, 0, "decay", "least")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: learns, writes, and prints how many strings each reader knows."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config: Any = configs.parse(LearnConfig, argv)
    learned = {kind: learn(lessons(kind), config.decay) for kind in KINDS}
    save(learned, config.out, config.least)
    for kind, reader in load(config.out).items():
        print(f"{kind}: {len(reader.rows)} strings, {len(reader.values)} weights")
    print(f"{config.out}: {Path(config.out).stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
