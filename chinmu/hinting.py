"""What people say without naming it, as a further teacher of the text tower: 站台上不敢回头 is of parting.

A corpus's descriptions name what a song has; people tell of a situation instead. The hints of
`corpus/lexicon/hints` were written by hand for each theme, mood, genre, singer and pace, and the tower
learns, in the same steps, to put them where songs and their descriptions have put the label
(`chinmu.prototypes`). Half are said in a row with others or beside a plain name, as people do, so that a
vector tells of several things.

Names that are kept for evaluation are in none of them.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor, tensor

from chinmu.prototypes import Vocabulary
from chinmu.text import canonical
from common.seeds import generator
from corpus.speech import Audience, forms, held_out_forms, hints

# By kind of hint: the kind of label, and how often it is said. Themes and moods have the most ways.
_KINDS = {
    "theme": ("theme", 0.34),
    "mood": ("mood", 0.36),
    "genre": ("genre", 0.12),
    "singer": ("singer", 0.08),
    "pace": ("tempo_class", 0.1),
}
_FORMS = {"tempo_class": "tempo"}
_PARTS = (0.5, 0.35, 0.15)  # how often one, two and three things are said
_NAMED = 0.25  # how often a thing beside others is named


class Hinting:
    """Draws hints and the labels that they are of.

    Args:
        vocabulary: the labels that songs have; hints of others are left out.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        kept = "|".join(re.escape(name) for name in sorted(held_out_forms(), key=len, reverse=True))
        said = {kind: _of(kind, label, vocabulary, re.compile(kept)) for kind, (label, _) in _KINDS.items()}
        self.said = {
            kind: rows for kind, rows in said.items() if rows
        }  # none, where songs have no such label
        shares = np.array([_KINDS[kind][1] for kind in self.said])
        self._shares = shares / shares.sum()

    @property
    def characters(self) -> str:
        """All characters that hints are written in."""
        texts = (t for rows in self.said.values() for own, names in rows.values() for t in (*own, *names))
        return "".join(sorted({c for text in texts for c in text}))

    def drawn(self, count: int, seed: int, *key: object) -> tuple[list[str], Tensor]:
        """Some texts in canonical form, which follow from the seed and the key, and their labels.

        Returns:
            `count` texts, and (count, values) of 0 or 1: the labels that each is of.
        """
        rng = generator(seed, "hinting", *key)
        texts, rows = [], []
        for _ in range(count):
            most = min(1 + int(rng.choice(len(_PARTS), p=_PARTS)), len(self.said))
            kinds = rng.choice(list(self.said), size=most, replace=False, p=self._shares)
            parts, labels = [], {}
            for place, kind in enumerate(kinds):
                values = self.said[kind]
                label = list(values)[int(rng.integers(len(values)))]
                own, names = values[label]
                named = place > 0 and names and rng.random() < _NAMED
                chosen: Sequence[str] = names if named else own
                parts.append(chosen[int(rng.integers(len(chosen)))])
                labels[_KINDS[kind][0]] = {label: 1.0}
            texts.append(",".join(parts[k] for k in rng.permutation(most)))
            rows.append(self.vocabulary.row(labels))
        return texts, tensor(rows)


def _of(
    kind: str, label_kind: str, vocabulary: Vocabulary, kept: re.Pattern[str]
) -> dict[str, tuple[list[str], list[str]]]:
    """By label, its hints and its names in canonical form, without those that have a kept name in them."""
    found = {}
    for label, texts in hints(kind).items():
        if (label_kind, label) not in vocabulary.columns:
            continue
        names = {
            name
            for audience in Audience
            for name in forms(_FORMS.get(label_kind, label_kind), label, audience)
        }
        own = _canonical(text for text in texts if not kept.search(text))
        if own:
            found[label] = own, _canonical(name for name in names if not kept.search(name))
    return found


def _canonical(texts: Iterable[str]) -> list[str]:
    return sorted({said for text in texts if (said := canonical(text))})
