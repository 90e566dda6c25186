"""MLPerf's estimate of a percentile that holds for all runs, not only for those measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.99
"""As in LoadGen, MLPerf Inference's harness (results.cc)."""


def early_stopping_percentile(ordered: npt.NDArray[np.float64], percentile: float) -> float | None:
    """Return a latency that `percentile` (0…1) of all runs stay under, with confidence 0.99.

    `ordered` are latencies, shortest first. MLPerf Inference rules, appendix "Early stopping
    criterion", and LoadGen's results.cc: with t the largest number for which t or fewer of n runs
    are over the true percentile with a probability under 0.01, the estimate is the t-th longest
    run. None where t would be 0: there are too few runs.
    """
    from scipy.stats import binom

    runs = len(ordered)
    over = int(binom.ppf(1 - CONFIDENCE, runs, 1 - percentile)) - 1
    return float(ordered[runs - over]) if over >= 1 else None
