"""How well predicted scores agree with people's: MSE, LCC, SRCC, KTAU by utterance and by system.

Conventions: intervals are bootstraps over utterances, or over systems at system level, where a score is
the mean of a system's utterances; a correlation of a draw without variance counts as 0.

Source: Liu 2025 (MusicEval), section V.C; Cooper 2022.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from common.errors import RequestError
from common.statistics import Estimate, bootstrap


def _varied(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray], float]:
    def of(rows: np.ndarray) -> float:
        if np.ptp(rows[:, 0]) < 1e-12 or np.ptp(rows[:, 1]) < 1e-12:
            return 0.0
        return float(measure(rows[:, 0], rows[:, 1]))

    return of


METRICS: dict[str, Callable[[np.ndarray], float]] = {
    "MSE": lambda rows: float(np.mean((rows[:, 0] - rows[:, 1]) ** 2)),
    "LCC": _varied(lambda x, y: float(np.corrcoef(x, y)[0, 1])),
    "SRCC": _varied(lambda x, y: float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])),
    "KTAU": _varied(lambda x, y: float(stats.kendalltau(x, y).statistic)),
}


def agreement(
    predicted: Sequence[float] | np.ndarray,
    rated: Sequence[float] | np.ndarray,
    systems: Sequence[str] | None = None,
    draws: int = 300,
) -> dict[str, Estimate]:
    """Each metric by utterance (`U_SRCC`) and, with systems, by system (`S_SRCC`), as the paper names them.

    Raises:
        RequestError: lengths differ, or there are fewer than 3 utterances.
    """
    rows = np.stack([np.asarray(predicted, np.float64), np.asarray(rated, np.float64)], axis=1)
    if len(rows) < 3:
        raise RequestError(f"agreement needs at least 3 rated utterances, but got {len(rows)}")
    out = {f"U_{name}": bootstrap(rows, statistic=m, draws=draws) for name, m in METRICS.items()}
    if systems is not None and len(set(systems)) >= 3:
        owners = np.array(systems)
        means = np.stack([rows[owners == s].mean(0) for s in sorted(set(systems))])
        out |= {f"S_{name}": bootstrap(means, statistic=m, draws=draws) for name, m in METRICS.items()}
    return out
