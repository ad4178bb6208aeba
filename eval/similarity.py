"""SST and ASOA: how near a song is to its words, and to the real song that the words were said of.

Conventions: SST (semantic similarity) is the cosine of a text vector and a song's mean window vector,
both of one contrastive encoder: LAION-CLAP in the paper, ChinMu where its weights are absent. ASOA
(acoustic similarity) is the cosine of two songs' mean vectors; in the paper of MERT-v1-95M, which
layer and pooling isn't said: here layer 12, the mean over frames. Beside each song stands its null:
the same song with every other song's words (or real song) of the same audience. Cosines of one
encoder have no meaning beside those of another; a value means something only against its null.

Source: Wang 2025 (MuDiT/MuSiT), section 4.2.1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import RequestError
from common.statistics import Estimate, bootstrap
from eval.embeddings import Embedded, Encoder
from eval.prompts import Prompt

EVERYONE = "both"


@dataclass(frozen=True, eq=False)
class Similarity:
    """Values song by song with their nulls."""

    values: np.ndarray  # (songs,)
    nulls: np.ndarray  # (songs,) mean over wrong partners; NaN where there is none
    names: tuple[str, ...]
    prompts: tuple[Prompt, ...]

    def audiences(self) -> list[str]:
        """Who spoke, each once, then everyone."""
        found = sorted({p.audience for p in self.prompts if p.audience})
        return [*found, EVERYONE]

    def estimate(self, audience: str = EVERYONE, null: bool = False) -> Estimate | None:
        """The mean over songs with its interval over real songs; None where nobody of the audience spoke.

        Over everyone it is the mean of the audiences' means, as the paper averages; a song's words
        by both audiences are drawn together.
        """
        values = self.nulls if null else self.values
        speakers = np.array([p.audience or "" for p in self.prompts])
        chosen = np.isfinite(values) & ((speakers == audience) | (audience == EVERYONE))
        if not chosen.any():
            return None
        clusters = [p.song for p, use in zip(self.prompts, chosen) if use]
        codes = np.unique(speakers[chosen], return_inverse=True)[1]
        if audience != EVERYONE or codes.max() == 0:
            return bootstrap(values[chosen], clusters)
        return bootstrap(np.stack([values[chosen], codes], axis=1), clusters, _mean_of_means)


def _mean_of_means(rows: np.ndarray) -> float:
    """Of values by the group in the second column."""
    return float(np.mean([rows[rows[:, 1] == group, 0].mean() for group in np.unique(rows[:, 1])]))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def sst(encoder: Encoder, songs: Embedded, answers: Iterable[tuple[str, Prompt]]) -> Similarity:
    """Cosines of songs and their words.

    Args:
        answers: songs and their prompts; a song may answer several, and songs without one are left out.
    Raises:
        RequestError: no song answers a prompt, or the encoder reads no text.
    """
    places, names, prompts = _answering(songs, answers)
    texts = list({p.text: None for p in prompts})
    vectors = dict(zip(texts, unit(encoder.embed_text(texts))))
    told = np.stack([vectors[p.text] for p in prompts])
    heard = unit(np.stack([unit(songs.rows(i)).mean(0) for i in places]))
    return _similarity(heard @ told.T, names, prompts)


def asoa(songs: Embedded, references: Embedded, answers: Iterable[tuple[str, Prompt]]) -> Similarity:
    """Cosines of songs and the real songs that their words were said of.

    Raises:
        RequestError: no song has its real song among the references.
    """
    known = {name: i for i, name in enumerate(references.names)}
    paired = [(name, p) for name, p in answers if p.reference_in(known) is not None]
    if not paired:
        raise RequestError("no song's own reference is among the references: name it in the prompts")
    places, names, prompts = _answering(songs, paired)
    heard = unit(np.stack([songs.rows(i).mean(0) for i in places]))
    partners = [known[p.reference_in(known) or ""] for p in prompts]
    real = unit(np.stack([references.rows(i).mean(0) for i in partners]))
    return _similarity(heard @ real.T, names, prompts)


def halves(references: Embedded) -> np.ndarray:
    """Each reference's first half against its second, (songs,): about as near as two takes of a song get."""
    out = []
    for rows in references:
        if len(rows) > 1:
            first, second = rows[: len(rows) // 2].mean(0), rows[len(rows) // 2 :].mean(0)
            out.append(float(unit(first) @ unit(second)))
    return np.array(out)


def _answering(
    songs: Embedded, answers: Iterable[tuple[str, Prompt]]
) -> tuple[list[int], tuple[str, ...], tuple[Prompt, ...]]:
    """Places, names and prompts of the songs that answer one."""
    place = {name: i for i, name in enumerate(songs.names)}
    pairs = [(name, p) for name, p in answers if name in place]
    if not pairs:
        raise RequestError("no song is called by the id of a prompt")
    return [place[name] for name, _ in pairs], tuple(n for n, _ in pairs), tuple(p for _, p in pairs)


def _similarity(cosines: np.ndarray, names: Sequence[str], prompts: Sequence[Prompt]) -> Similarity:
    """From all cosines (songs, partners): the diagonal, and the mean over partners of other songs."""
    own = np.array([p.song for p in prompts])
    speakers = np.array([p.audience or "" for p in prompts])
    wrong = (own[:, None] != own) & (speakers[:, None] == speakers)
    counts = wrong.sum(1)
    nulls = np.where(counts > 0, (cosines * wrong).sum(1) / np.maximum(counts, 1), np.nan)
    return Similarity(np.diagonal(cosines).copy(), nulls, tuple(names), tuple(prompts))
