"""The distribution that a histogram stands for, and the error that rounding it to integers makes.

Values are uniform within a bin, zeros are exactly 0. The squared error of rounding is then an
integral in closed form, with the very grid that LiteRT's integers have: int8 is asymmetric, with
a whole number for zero (LiteRT's 8-bit quantization specification), int16 symmetric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters.calibration.histogram import grid_over
from edgefer.converters.calibration.statistics import TensorStatistics
from edgefer.converters.weights import SMALLEST_RANGE

Float64Array = npt.NDArray[np.float64]

Range = tuple[float, float]
"""The smallest and the largest value that integers shall hold."""

_POINT = 1e-6
"""The share of a step below which a bin is no wider than a point."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """Counts between `edges`, which are one more and run from `low` to `high`; zeros apart."""

    edges: Float64Array
    counts: Float64Array
    zeros: int

    @property
    def total(self) -> float:
        """How many values there are."""
        return float(self.counts.sum()) + self.zeros

    @property
    def range(self) -> Range:
        """The smallest and the largest value."""
        return float(self.edges[0]), float(self.edges[-1])


def density(statistics: TensorStatistics) -> Density:
    """Return the distribution of a tensor's values; the outer bins end where the values do."""
    grid = grid_over(statistics.low, statistics.high)
    edges = (grid.first + np.arange(grid.size + 1)) * grid.width
    return Density(
        edges=np.clip(edges, statistics.low, statistics.high),
        counts=np.asarray(statistics.counts, np.float64),
        zeros=statistics.zeros,
    )


def squared_errors(
    values: Density, lows: Float64Array, highs: Float64Array, *, bits: int
) -> Float64Array:
    """Return the mean squared error, rounding and clipping, for each of several ranges.

    `lows` and `highs` are (k,); so is the result. `bits` is 8 or 16.
    """
    steps, bottoms, tops = (part[:, None] for part in _integer_grids(lows, highs, bits))
    sums = _integral(values.edges[None], steps, bottoms, tops)
    widths = np.diff(values.edges)[None]
    is_point = widths < _POINT * steps
    errors = np.diff(sums, axis=1) / np.where(is_point, 1, widths)
    points = is_point.any(axis=0)
    middles = (values.edges[1:] + values.edges[:-1])[None, points] / 2
    alone = _point_errors(middles, steps, bottoms, tops)
    errors[:, points] = np.where(is_point[:, points], alone, errors[:, points])
    return np.asarray(errors @ values.counts / values.total, np.float64)


def sqnr_db(statistics: TensorStatistics, limits: Range, *, bits: int = 8) -> float:
    """Return a tensor's power over that of what its integers lose, in decibels.

    It is infinite where they lose nothing.
    """
    values = density(statistics)
    low, high = (np.array([limit]) for limit in limits)
    noise = float(squared_errors(values, low, high, bits=bits)[0])
    cubes = np.diff(values.edges**3) / 3
    widths = np.diff(values.edges)
    squares = np.where(widths > 0, cubes / np.where(widths > 0, widths, 1), values.edges[1:] ** 2)
    power = float(squares @ values.counts / values.total)
    return 10 * math.log10(power / noise) if noise > 0 and power > 0 else math.inf


def _integer_grids(
    lows: Float64Array, highs: Float64Array, bits: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return steps and the smallest and largest value that integers of these ranges hold.

    Every range is widened to hold 0, as litert-quantizer does.
    """
    if bits == 16:
        steps = np.maximum(np.maximum(np.abs(lows), np.abs(highs)), SMALLEST_RANGE) / 32767
        return steps, -32767 * steps, 32767 * steps
    lows, highs = np.minimum(lows, 0), np.maximum(highs, 0)
    steps = np.maximum(highs - lows, SMALLEST_RANGE) / 255
    zero_points = np.rint(-128 - lows / steps)
    return steps, (-128 - zero_points) * steps, (127 - zero_points) * steps


def _point_errors(
    points: Float64Array, steps: Float64Array, bottoms: Float64Array, tops: Float64Array
) -> Float64Array:
    held = np.clip(np.rint(points / steps) * steps, bottoms, tops)
    return np.asarray((points - held) ** 2, np.float64)


def _integral(
    points: Float64Array, steps: Float64Array, bottoms: Float64Array, tops: Float64Array
) -> Float64Array:
    """Return the integral of the squared error from 0 to each point.

    Within the grid the error is a sawtooth, of which each step adds step³ / 12; beyond it, the
    error is the distance from the grid's end.
    """
    inside = np.clip(points, bottoms, tops)
    position = inside / steps
    whole = np.rint(position)
    sawtooth = steps**3 * (whole / 12 + (position - whole) ** 3 / 3)
    return np.asarray(sawtooth + (points - inside) ** 3 / 3, np.float64)
