"""Whether anybody sings, by what the bundled recogniser of sung syllables hears.

A spectrum's statistics take a violin's or a flute's tune for a voice; who listens for syllables doesn't.
The recogniser knows sung Mandarin, so `eval.probes` trusts it only where it parts the songs it learns from.
"""

from functools import lru_cache

import numpy as np

from common.audio import Audio
from eval import recognisers
from eval.ctc import BLANK
from eval.hearing import RATE
from eval.syllables import features, model

_LEAST = 0.95  # of instrumentals and of songs, each weighing half, that have to lie on their side
_SOFTNESS = 0.03  # of the share of sung frames


@lru_cache(maxsize=1)
def _network() -> model.Network:
    return model.load(recognisers.BUNDLED)[0]


def sung_share(samples: np.ndarray) -> float:
    """The mean probability of a syllable over the frames of mono samples (time,) at 22,050 Hz: 0 … 1."""
    heard = _network().listen(features.mono(Audio(samples[None].astype(np.float32), RATE)))
    return float(1 - heard[:, BLANK].exp().mean())


def parting(shares: np.ndarray, silent: np.ndarray) -> float | None:
    """The share of sung frames that parts instrumentals from songs; None where none does that says anything.

    Args:
        shares: (N,) of `sung_share`.
        silent: (N,) whether nobody sings.
    """
    if silent.all() or not silent.any():
        return None
    steps = np.unique(shares)
    middles = (steps[1:] + steps[:-1]) / 2
    below, above = (
        np.searchsorted(np.sort(part), middles) / len(part) for part in (shares[silent], shares[~silent])
    )
    # Of voices in which it hears next to nothing the recogniser knows nothing, whatever parts them.
    right = np.where(middles < _SOFTNESS, 0.0, (below + 1 - above) / 2)
    if not len(right) or right.max() < _LEAST:
        return None
    best = middles[right == right.max()]
    return float(best[len(best) // 2])


def silence(shares: np.ndarray, parted: float) -> np.ndarray:
    """The probability that nobody sings, from shares of sung frames and where `parting` parts them."""
    return 1 / (1 + np.exp(np.clip((shares - parted) / _SOFTNESS, -30, 30)))
