"""A histogram of bounded memory over values whose range is not known beforehand.

Bins are as wide as a power of two and start at 0, so that a wider range merges whole bins, as
TensorRT's and TensorFlow's calibrators do, and the result does not depend on the values' order.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

BINS = 2048
"""How many bins lie between the bins of the smallest and the largest value, at most."""

_SMALLEST_EXPONENT = -100
_MANTISSA_BITS = 24


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Bins of width 2^exponent; bin i of `size` begins at (first + i) · 2^exponent."""

    exponent: int
    first: int
    size: int

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self.exponent)


@lru_cache(maxsize=4096)
def grid_over(low: float, high: float) -> Grid:
    """Return the finest grid whose bins hold `low` to `high`, both finite."""
    largest = max(abs(low), abs(high))
    exponent = max(_SMALLEST_EXPONENT, math.frexp(largest)[1] - _MANTISSA_BITS)
    while _bin(high, exponent) - _bin(low, exponent) > BINS:
        exponent += 1
    first = _bin(low, exponent)
    return Grid(exponent=exponent, first=first, size=_bin(high, exponent) - first + 1)


def _bin(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))


@dataclass
class Histogram:
    """Counts of float32 values; those that are exactly 0 are counted apart, in no bin.

    A ReLU puts out as many zeros as other values, and int8 holds 0 without error.
    """

    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    counts: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, values: Float32Array, low: float, high: float) -> None:
        """Count finite values; `low` and `high` are the smallest and the largest of them."""
        grid = self._widened(low, high)
        zeros = values.size - int(np.count_nonzero(values))
        scaled = np.multiply(values.ravel(), np.float32(1 / grid.width))
        positions = np.floor(scaled, out=scaled).astype(np.int64) - grid.first
        np.clip(positions, 0, grid.size - 1, out=positions)  # tiny ones underflow to 0
        self.counts += np.bincount(positions, minlength=grid.size)
        self.zeros += zeros
        if zeros:
            self.counts[-grid.first] -= zeros

    def _widened(self, low: float, high: float) -> Grid:
        """Make room for values from `low` to `high`, by bins at the ends or by merging."""
        wide_low, wide_high = min(self.low, low), max(self.high, high)
        grid = grid_over(wide_low, wide_high)
        if (wide_low, wide_high) != (self.low, self.high):
            if len(self.counts):
                self.counts = _moved(self.counts, grid_over(self.low, self.high), grid)
            else:
                self.counts = np.zeros(grid.size, np.int64)
            self.low, self.high = wide_low, wide_high
        return grid


def _moved(counts: Int64Array, old: Grid, new: Grid) -> Int64Array:
    """Return the counts in the bins of a grid that is as fine or coarser."""
    shift = min(new.exponent - old.exponent, 62)
    positions = ((old.first + np.arange(old.size)) >> shift) - new.first
    moved = np.zeros(new.size, np.int64)
    np.add.at(moved, positions, counts)
    return moved
