"""Which weights to round up and which down, so that a layer's outputs change least.

Rounding moves an output channel by (ŵ − w)ᵀ x. Its mean square over inputs x is the quadratic form
(ŵ − w)ᵀ E[x xᵀ] (ŵ − w), and the best choice of up or down a quadratic binary problem: Nagel et al.
2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv 2004.10568), section
3.1. They relax it and descend a gradient. Here all choices are tried where an output has few
inputs, as in depthwise layers; else weights are visited one after the other and each turned over
where that makes the form smaller, from two starts: to nearest, and with every weight's error made
up for by the weights after it, as in Frantar et al. 2023, "GPTQ" (arXiv 2210.17323), section 3, in
the equal form of Chee et al. 2023, "QuIP" (arXiv 2307.13304), section 3, which inverts nothing.

Arrays have the axes (groups, inputs, outputs), in which every output of a group sees the same
inputs; weights are in steps of their grid, and moments (groups, inputs, inputs).
"""

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

LARGEST = 127
"""Weights are -127…127, by LiteRT's 8-bit quantization specification."""

_MOST_TRIED = 12
"""Inputs for which all choices are tried: 4,096 at most."""

_MOST_FROM_NEAREST = 1024
"""Inputs up to which the descent from nearest is worth its many sweeps. In the layers tried, it was
the better one for a tenth of the outputs with 512 inputs, which took 0.2% off the error, and for
none with 702 and more."""

_SWEEPS = 20
_WORTHWHILE = 1 / 1000
"""Of the weights, how many have to turn over in a sweep for another to be worth its time."""

_BLOCK = 64
"""Inputs whose effect on each other is kept up to date; that on all others waits for their end."""

_LEAST_GAIN = 1e-12
"""A turn that gains less, in squares of the input, is float64's noise and would go on forever."""


def best_rounding(weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Return each weight rounded up or down, at most 127 in size.

    `moments` are positive definite. No output's error is larger than with all its weights rounded
    to nearest.
    """
    if weights.shape[1] <= _MOST_TRIED:
        return _best_of_all(weights, moments)
    nearest = np.clip(np.rint(weights), -LARGEST, LARGEST)
    if weights.shape[1] <= _MOST_FROM_NEAREST:
        nearest = _descended(nearest, weights, moments)
    found = nearest, _descended(errors_passed_on(weights, moments), weights, moments)
    errors = [rounding_error(rounded - weights, moments) for rounded in found]
    return np.where((errors[1] < errors[0])[:, None], found[1], found[0])


def rounding_error(differences: Float64Array, moments: Float64Array) -> Float64Array:
    """Return the mean square of what differences of weights do to outputs: (groups, outputs)."""
    return np.asarray(np.sum(differences * (moments @ differences), axis=1))


def _neighbours(weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the grid points below and above; one and the same for a weight beyond the grid."""
    down, up = np.floor(weights), np.ceil(weights)
    return np.clip(down, -LARGEST, LARGEST), np.clip(up, -LARGEST, LARGEST)


def _best_of_all(weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Try every choice, each from the one before by one turn: the order of a Gray code."""
    down, up = _neighbours(weights)
    rounded = down.copy()
    slopes = moments @ (rounded - weights)
    error = rounding_error(rounded - weights, moments)
    best, least = rounded.copy(), error.copy()
    for step in range(1, 2 ** weights.shape[1]):
        index = (step & -step).bit_length() - 1
        turn = down[:, index] + up[:, index] - 2 * rounded[:, index]
        error += turn * (2 * slopes[:, index] + turn * moments[:, index, index, None])
        slopes += moments[:, :, index, None] * turn[:, None]
        rounded[:, index] += turn
        best = np.where((error < least)[:, None], rounded, best)
        least = np.minimum(error, least)
    return best


def _descended(start: Float64Array, weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Turn weights over until hardly a single turn helps any more."""
    down, up = _neighbours(weights)
    rounded = start.copy()
    slopes = moments @ (rounded - weights)
    for _ in range(_SWEEPS):
        before = rounded.copy()
        for first in range(0, weights.shape[1], _BLOCK):
            _sweep_block(slice(first, first + _BLOCK), rounded, slopes, down + up, moments)
        if np.count_nonzero(before != rounded) < _WORTHWHILE * rounded.size:
            break
    return rounded


def _sweep_block(
    block: slice,
    rounded: Float64Array,
    slopes: Float64Array,
    both: Float64Array,
    moments: Float64Array,
) -> None:
    """Visit a block of inputs once; `both` is the sum of each weight's two choices."""
    before = rounded[:, block].copy()
    inside = moments[:, block, block]
    near = slopes[:, block].copy()
    for index in range(before.shape[1]):
        position = block.start + index
        turn = both[:, position] - 2 * rounded[:, position]
        curve = inside[:, index, index, None]
        gain = -turn * (2 * near[:, index] + turn * curve)
        turn = np.where(gain > _LEAST_GAIN * curve, turn, 0)
        rounded[:, position] += turn
        near += inside[:, :, index, None] * turn[:, None]
    slopes += moments[:, :, block] @ (rounded[:, block] - before)


def errors_passed_on(weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Return each weight rounded, one after the other, the later ones moved to make up for it."""
    factors = _unit_factors(moments)
    moved, rounded = weights.copy(), np.empty_like(weights)
    size = weights.shape[1]
    for first in range(0, size, _BLOCK):
        block = slice(first, min(first + _BLOCK, size))
        errors = _pass_on_in_block(block, weights, moved, rounded, factors)
        later = slice(block.stop, size)
        moved[:, later] += factors[:, block, later].transpose(0, 2, 1) @ errors
    return rounded


def _unit_factors(moments: Float64Array) -> Float64Array:
    """Return the unit upper triangular U of moments = U D Uᵀ, by Cholesky from the other end."""
    factors = np.linalg.cholesky(moments[:, ::-1, ::-1])[:, ::-1, ::-1]
    return np.asarray(factors / np.einsum("gkk->gk", factors)[:, None])


def _pass_on_in_block(
    block: slice,
    weights: Float64Array,
    moved: Float64Array,
    rounded: Float64Array,
    factors: Float64Array,
) -> Float64Array:
    """Round a block of inputs, its errors passed on within it; return the errors."""
    down, up = _neighbours(weights[:, block])
    errors = np.empty_like(down)
    for index, position in enumerate(range(block.start, block.stop)):
        nearest = np.rint(moved[:, position])
        rounded[:, position] = np.clip(nearest, down[:, index], up[:, index])
        errors[:, index] = weights[:, position] - rounded[:, position]
        rest = slice(position + 1, block.stop)
        moved[:, rest] += factors[:, position, rest, None] * errors[:, index, None]
    return errors
