"""95% intervals of a latency and of a ratio of two, from how processes differ.

A process, not a run, is what is repeated independently: runs within one share its memory layout,
its place on the cores and the minute's temperature. So these are Student's t intervals of the
logarithms of the processes' medians, and nothing is assumed of the runs. T. Kalibera and R. Jones,
"Rigorous benchmarking in reasonable time", ISMM 2013, build theirs on the highest level's means
in the same way.

Why not a bootstrap over processes: out of three, a percentile bootstrap cannot reach beyond the
smallest and the largest median, and so holds the truth in at most 1 - 2 (1/2)^3 = 75% of all
cases where it promises 95%. The t interval does hold it in 95%; tests/test_bench_statistics.py
measures both. T. Hesterberg, "What teachers should know about the bootstrap", The American
Statistician 69 (2015), finds the same of small samples in general. It also serves where
benchmark_model gives no single runs to draw from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

Limits = tuple[float, float]


def latency_limits(value: float, process_us: Sequence[float]) -> Limits:
    """Return the interval of a latency from that of each process, at least two.

    It is stretched to hold `value`, the latency of all runs together, which can lie outside where
    one process of many is far from the others.
    """
    logarithms = np.log(process_us)
    return _around(value, float(logarithms.mean()), _t_margin([logarithms]))


def ratio_limits(value: float, above_us: Sequence[float], below_us: Sequence[float]) -> Limits:
    """Return the interval of a ratio of latencies from those of at least two processes each.

    It is Welch's for a difference of two means: B. L. Welch, "The generalization of 'Student's'
    problem when several different population variances are involved", Biometrika 34 (1947).
    It is stretched to hold `value`, the ratio of the latencies of all runs.
    """
    above, below = np.log(above_us), np.log(below_us)
    return _around(value, float(above.mean() - below.mean()), _t_margin([above, below]))


def _around(value: float, centre: float, margin: float) -> Limits:
    return min(value, math.exp(centre - margin)), max(value, math.exp(centre + margin))


def _t_margin(groups: Sequence[npt.NDArray[np.float64]]) -> float:
    """Return half the width of the interval of a mean, or of a difference of two means.

    The degrees of freedom are Welch's and Satterthwaite's; of one group they are its size less 1.
    """
    from scipy.stats import t

    squares = [float(group.var(ddof=1)) / len(group) for group in groups]
    if sum(squares) == 0:
        return 0.0
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, groups, strict=True)
    )
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(sum(squares))
