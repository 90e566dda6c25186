"""The range that loses the least information.

Migacz 2017, "8-bit Inference with TensorRT" (GTC 2017, S7310), slides 21 to 38: of all thresholds
the one whose clipped distribution differs least, by Kullback and Leibler's divergence, from the
same distribution in as many levels as the integers have. TensorRT has 128 levels for magnitudes;
here the threshold cuts both ends of the real range, and all its levels share what is left.
"""

import numpy as np
import numpy.typing as npt

from edgefer.converters.calibration.density import Range
from edgefer.converters.calibration.histogram import grid_over
from edgefer.converters.calibration.statistics import TensorStatistics

Float64Array = npt.NDArray[np.float64]

_THRESHOLDS = 256
_LEAST_PROBABILITY = 1e-9
"""What stands for a probability of 0, with which a divergence would be infinite."""


def least_divergence(statistics: TensorStatistics, *, bits: int) -> Range:
    """Return the range with the least divergence; all of it where a level is no wider than a bin.

    Zeros are left out: they are exact under every range, and would drown the rest.
    """
    grid = grid_over(statistics.low, statistics.high)
    counts = np.asarray(statistics.counts, np.float64)
    last = grid.first + grid.size
    best = statistics.low, statistics.high
    if not counts.any():
        return best
    least = np.inf
    farthest = max(-grid.first, last)
    for threshold in np.unique(np.linspace(1, farthest, _THRESHOLDS).astype(int))[::-1].tolist():
        start, end = max(grid.first, -threshold), min(last, threshold)
        if end - start < 2**bits:
            break
        found = divergence(counts, start - grid.first, end - grid.first, levels=2**bits)
        if found < least:
            least = found
            best = (
                max(statistics.low, start * grid.width),
                min(statistics.high, end * grid.width),
            )
    return best


def divergence(counts: Float64Array, start: int, end: int, *, levels: int) -> float:
    """Return the divergence, in nats, of bins `start` to `end` in `levels` from all of them.

    What lies outside is clipped, and so counts in the outer bins that are left.
    """
    inside = counts[start:end]
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[end:].sum()
    level = np.arange(len(inside)) * levels // len(inside)
    occupied = np.bincount(level, inside > 0, minlength=levels)
    shared = np.bincount(level, inside, minlength=levels) / np.maximum(occupied, 1)
    expanded = np.where(inside > 0, shared[level], 0)
    wanted = clipped / clipped.sum()
    made = np.maximum(expanded / max(expanded.sum(), 1), _LEAST_PROBABILITY)
    there = wanted > 0
    return float(np.sum(wanted[there] * np.log(wanted[there] / made[there])))
