"""The range of an activation from its statistics, by each method."""

import numpy as np

from edgefer.converters.calibration.clipping import least_squared_error
from edgefer.converters.calibration.density import Density, Range, density, squared_errors
from edgefer.converters.calibration.entropy import least_divergence
from edgefer.converters.calibration.statistics import TensorStatistics
from edgefer.converters.recipes import RangeMethod

PERCENTILE = 99.99
"""What Wu et al. 2020, "Integer Quantization for Deep Learning Inference" (arXiv 2004.09602),
section 4.1, find to keep most networks' accuracy; here at both ends."""


def activation_range(statistics: TensorStatistics, method: RangeMethod, *, bits: int = 8) -> Range:
    """Return the smallest and largest value that a tensor's integers of 8 or 16 bits shall hold.

    Both are within what was seen. Where a method would leave nothing, as the percentile of a
    tensor that is almost always 0 does, it is all that was seen.
    """
    if method is RangeMethod.BEST:
        return _least_noise(statistics, bits)
    low, high = _range(statistics, method, bits)
    if max(high, 0.0) <= min(low, 0.0):
        return statistics.low, statistics.high
    return low, high


def _range(statistics: TensorStatistics, method: RangeMethod, bits: int) -> Range:
    if method is RangeMethod.MOVING_AVERAGE:
        # Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
        # Integer-Arithmetic-Only Inference" (arXiv 1712.05877), section 3.1.
        return statistics.average_low, statistics.average_high
    if method is RangeMethod.PERCENTILE:
        return percentile_range(density(statistics), PERCENTILE)
    if method is RangeMethod.MSE:
        return least_squared_error(density(statistics), bits=bits)
    if method is RangeMethod.ENTROPY:
        return least_divergence(statistics, bits=bits)
    return statistics.low, statistics.high


def _least_noise(statistics: TensorStatistics, bits: int) -> Range:
    """Return the range, of all methods', with the highest ratio of signal to noise."""
    candidates = [
        activation_range(statistics, method, bits=bits)
        for method in RangeMethod
        if method is not RangeMethod.BEST
    ]
    lows, highs = np.array(candidates, np.float64).T
    errors = squared_errors(density(statistics), lows, highs, bits=bits)
    return candidates[int(np.argmin(errors))]


def percentile_range(values: Density, percent: float) -> Range:
    """Return the range between two percentiles of all values, zeros among them.

    Either end is that of the bin in which the percentile lies, away from the middle.
    """
    zero = min(int(np.searchsorted(values.edges, 0.0)), len(values.counts))
    starts = np.insert(values.edges[:-1], zero, 0.0)
    ends = np.insert(values.edges[1:], zero, 0.0)
    counts = np.cumsum(np.insert(values.counts, zero, values.zeros))
    least = np.floor((100 - percent) / 100 * (values.total - 1))
    most = np.ceil(percent / 100 * (values.total - 1))
    first, last = np.searchsorted(counts, [least, most], side="right")
    return float(starts[first]), float(ends[last])
