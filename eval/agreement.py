"""How much raters agree beyond chance.

Conventions: a table is (raters, items), NaN where a rater didn't rate an item; 1 is perfect
agreement, 0 what chance gives, below 0 systematic disagreement.
"""

import numpy as np

from common.errors import RequestError


def krippendorff_alpha(table: np.ndarray) -> float:
    """Krippendorff's alpha on an interval scale; 1 where every mark is the same.

    Raises:
        RequestError: no item has two marks.
    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section E.
    """
    table = np.asarray(table, np.float64)
    items = [column[np.isfinite(column)] for column in table.T]
    paired = [marks for marks in items if len(marks) > 1]
    if not paired:
        raise RequestError("agreement needs items with two marks at least, but there is none")
    # Σ over ordered pairs of (a − b)² is 2 n Σ a² − 2 (Σ a)².
    observed = sum(2 * (len(m) * (m**2).sum() - m.sum() ** 2) / (len(m) - 1) for m in paired)
    marks = np.concatenate(paired)
    count = len(marks)
    expected = 2 * (count * (marks**2).sum() - marks.sum() ** 2) / (count - 1)
    return 1.0 if expected < 1e-12 else float(1 - observed / expected)
