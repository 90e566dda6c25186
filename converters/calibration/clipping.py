"""The range with the least mean squared error: rounding inside it against clipping beyond.

Banner et al. 2019, "Post training 4-bit quantization of convolutional networks for
rapid-deployment" (arXiv 1810.05723), section 3, with the histogram itself in place of their
Gaussian and Laplacian.
"""

import numpy as np
import numpy.typing as npt

from edgefer.converters.calibration.density import Density, Range, squared_errors

Float64Array = npt.NDArray[np.float64]

_COARSE = 2.0 ** (-np.arange(41) / 4)
"""Shares of an end's value: all of it down to a thousandth, in steps of 19%."""

_FINE = np.linspace(2 ** (-1 / 4), 2 ** (1 / 4), 33)
_MOST_ROUNDS = 4


def least_squared_error(values: Density, *, bits: int) -> Range:
    """Return the range, within that of the values, with the least squared error.

    One threshold cuts both ends first, which is all that the symmetric integers of 16 bits can
    use. In 8 bits each end is then moved in turn as long as that helps, coarsely, then finely.
    """
    low, high = values.range
    thresholds = max(-low, high) * _COARSE
    best = _best(values, np.maximum(low, -thresholds), np.minimum(high, thresholds), bits)
    if bits == 8:
        best = _descended(values, best, _COARSE)
        best = _descended(values, best, _FINE)
    return best


def _descended(values: Density, start: Range, shares: Float64Array) -> Range:
    """Return the range after moving its ends in turn to shares of what they are.

    Coarse shares are of the values' own ends, and so do not shrink from round to round.
    """
    best = start
    for _ in range(_MOST_ROUNDS):
        before = best
        best = _with_best_end(values, best, shares, is_high=True)
        best = _with_best_end(values, best, shares, is_high=False)
        if best == before:
            break
    return best


def _with_best_end(
    values: Density, present: Range, shares: Float64Array, *, is_high: bool
) -> Range:
    """Return the range with one end where it is best; the other stays.

    An end on the other side of 0 makes no difference, since 0 is in every range.
    """
    low, high = present
    outer = values.range[is_high]
    if outer == 0 or (outer > 0) != is_high:
        return present
    start = outer if shares is _COARSE else present[is_high]
    moved = np.clip(np.append(present[is_high], start * shares), min(outer, 0), max(outer, 0))
    if is_high:
        return _best(values, np.full_like(moved, low), moved, bits=8)
    return _best(values, moved, np.full_like(moved, high), bits=8)


def _best(values: Density, lows: Float64Array, highs: Float64Array, bits: int) -> Range:
    errors = squared_errors(values, lows, highs, bits=bits)
    chosen = int(np.argmin(errors))
    return float(lows[chosen]), float(highs[chosen])
