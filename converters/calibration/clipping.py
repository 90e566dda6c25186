"""The range with the least mean squared error: rounding inside it against clipping beyond.

Banner et al. 2019, "Post training 4-bit quantization of convolutional networks for
rapid-deployment" (arXiv 1810.05723), section 3, with the histogram itself in place of their
Gaussian and Laplacian.
"""

import numpy as np
import numpy.typing as npt

from edgefer.converters.calibration.density import Density, Range, squared_errors

Float64Array = npt.NDArray[np.float64]

_SHARES = 2.0 ** (-np.arange(81) / 8)
"""Candidates: all of an end's value down to a thousandth of it, in steps of 9%."""

_FINE_SHARES = np.linspace(2 ** (-1 / 8), 2 ** (1 / 8), 33)
_MOST_ROUNDS = 4


def least_squared_error(values: Density, *, bits: int) -> Range:
    """Return the range, within that of the values, with the least squared error.

    Both ends are moved in together first, then each in turn as long as that helps: coarsely, and
    at last finely.
    """
    low, high = values.range
    best = _best(values, low * _SHARES, high * _SHARES, bits)
    for shares in (_SHARES, _FINE_SHARES):
        for _ in range(_MOST_ROUNDS):
            before = best
            best = _with_best_end(values, best, shares, bits, is_high=True)
            best = _with_best_end(values, best, shares, bits, is_high=False)
            if best == before:
                break
    return best


def _with_best_end(
    values: Density, present: Range, shares: Float64Array, bits: int, *, is_high: bool
) -> Range:
    """Return the range with one end where it is best, the other end as it is.

    Coarse shares are of the values' own end, fine ones of the present end.
    """
    low, high = present
    outer = values.range[is_high]
    start = outer if shares is _SHARES else present[is_high]
    if outer == 0:
        return present
    moved = np.append(start * shares, present[is_high])
    moved = np.clip(moved, min(outer, 0), max(outer, 0))
    if is_high:
        return _best(values, np.full_like(moved, low), moved, bits)
    return _best(values, moved, np.full_like(moved, high), bits)


def _best(values: Density, lows: Float64Array, highs: Float64Array, bits: int) -> Range:
    errors = squared_errors(values, lows, highs, bits=bits)
    chosen = int(np.argmin(errors))
    return float(lows[chosen]), float(highs[chosen])
