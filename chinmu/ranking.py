"""At which place a song is found."""

import numpy as np


def ranks(similarity: np.ndarray, truth: np.ndarray, pools: np.ndarray) -> np.ndarray:
    """The rank of each query's own song in its pool, 1 for the best; equals count as better, and so does NaN.

    So a model that says nothing of a pool of N is at place N, not at chance.

    Args:
        similarity: (Q, S) of queries and songs.
        truth: (Q,) the query's own song.
        pools: (Q, N) songs of each query's pool, its own among them.
    """
    own = np.take_along_axis(similarity, truth[:, None], axis=1)
    others = np.take_along_axis(similarity, pools, axis=1)
    # Not less, instead of at least: a NaN beats its own song and never wins for it.
    return (~(others < own) & (pools != truth[:, None])).sum(1) + 1
