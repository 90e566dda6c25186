"""Cross-layer equalization: channels that share a scale get ranges that suit one scale.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv
1906.04721), section 4.1: with f(s x) = s f(x), a channel between two layers can be divided by s in
the first and multiplied by s in the second, and the network answers as before. The best s makes
r1 = r2, where r1 and r2 are the channel's ranges on both sides, relative to all that has the same
scale: s = sqrt(r1 r2) / r2.

The paper quantizes each weight tensor with one scale, so that its ranges are those of the first
layer's rows and of the second layer's columns. Here every output channel has a scale of its own,
and a factor on a row costs nothing. What channels share is the scale of the activations between
the layers, and that of each row of the second layer. Hence

- r1 is the largest activation that faces give the channel, relative to the tensor's largest;
- r2 is the largest weight that reads the channel, relative to the largest of the same row. A
  depthwise layer reads each channel with a row of its own: there r2 is 1 for all, and all
  activations get the same range.

Neither changes with a row's scale, so that pairs do not disturb each other, along chains neither.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.activations import ChannelStatistics, channel_statistics
from edgefer.converters.equalization.channel_scaling import column_shaped, scaled
from edgefer.converters.equalization.intervals import (
    Interval,
    factors_below_six,
    intervals_before_activation,
    weighted_interval,
)
from edgefer.converters.equalization.layer_pairs import LayerPair, layer_pairs
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

LARGEST_FACTOR = 1e4
"""Beyond it a channel is as good as dead, and biases would leave float32's comfortable range."""

_ROUNDS = 100
_TOLERANCE = 1e-4
_SMALLEST = 1e-30
_SMALLEST_SHARE = 1e-9


@dataclass(frozen=True, kw_only=True)
class PairRanges:
    """What decides over the factors of a pair's channels: each float64 (channels,).

    `activations` are the largest absolute values; `columns`, (rows, channels), the largest
    weight by which each row of the second layer reads each channel; `limits` the largest factors,
    0 for a channel that must stay as it is.
    """

    activations: Float64Array
    columns: Float64Array
    limits: Float64Array


def equalize(
    float_tflite: bytes,
    faces: Float32Array,
    pixel_range: tuple[float, float],
    *,
    progress: Progress | None = None,
) -> bytes:
    """Return a float model with the same answers whose channels are alike where they share a scale.

    `faces` are float32 (n, h, w, channels), normalised: all that activation ranges will be taken
    from, for a channel that wakes later than here sets the range of all others. `pixel_range` are
    the normalised values of the smallest and the largest pixel. A channel is scaled across a
    RELU6 only where interval arithmetic over all images of `pixel_range` shows that it never gets
    to 6.
    """
    content = graph.read(float_tflite)
    pairs = layer_pairs(content)
    needed = {index for pair in pairs for index in (pair.first.operator.inputs[0], pair.tensor)}
    seen = channel_statistics(float_tflite, faces, sorted(needed), progress)
    intervals = intervals_before_activation(content, pixel_range)
    factors: dict[int, Float64Array] = {}
    for pair in pairs:
        read = factors.get(pair.first.operator.index, np.ones(1))
        limits = np.minimum(factors_below_six(pair, intervals), _useful(pair, seen, read))
        found = _ranges(_activations(pair, seen), _columns(pair), limits)
        factors[pair.second.operator.index] = channel_factors(found)
    return scaled(float_tflite, pairs, list(factors.values()))


def channel_factors(ranges: PairRanges) -> Float64Array:
    """Return what to multiply each channel's activations by, float64 (channels,).

    The tensor keeps its largest activation, whether some channels must stay as they are or not.
    """
    free = ranges.limits > 0
    factors = np.ones(len(free))
    if not free.any():
        return factors
    kept = ranges.activations.max()
    for _ in range(_ROUNDS):
        wanted = (factors * _step(ranges, factors))[free]
        wanted *= kept / max((ranges.activations[free] * wanted).max(), _SMALLEST)
        wanted = np.clip(wanted, 1 / LARGEST_FACTOR, LARGEST_FACTOR)
        before, factors[free] = factors[free], np.minimum(wanted, ranges.limits[free])
        if np.abs(np.log(factors[free] / before)).max() < _TOLERANCE:
            break
    return factors


def _step(ranges: PairRanges, factors: Float64Array) -> Float64Array:
    """Return 1 / s = sqrt(r2 / r1) for the present ranges, without what all channels have alike."""
    columns = ranges.columns / factors
    rows = columns.max(axis=1, keepdims=True)
    shares = np.divide(columns, rows, out=np.zeros(columns.shape), where=rows > 0)
    return np.asarray(np.sqrt(shares.max(axis=0) / (ranges.activations * factors)))


def _ranges(activations: Float64Array, columns: Float64Array, limits: Float64Array) -> PairRanges:
    """Return the ranges of a pair; channels with values that are no numbers must stay."""
    numbers = np.isfinite(activations) & np.isfinite(columns).all(axis=0) & ~np.isnan(limits)
    return PairRanges(
        activations=np.where(numbers, activations, _SMALLEST),
        columns=np.where(numbers, columns, 0),
        limits=np.where(numbers, limits, 0),
    )


def _activations(pair: LayerPair, seen: dict[int, ChannelStatistics]) -> Float64Array:
    """Return the largest absolute activation of each channel, above 0.

    A channel that no face woke is taken to be as large as its weights are beside the others'.
    """
    found = seen[pair.tensor].largest
    inputs = seen[pair.first.operator.inputs[0]].largest
    bounds = weighted_interval(pair.first, Interval(low=-inputs, high=inputs))
    possible = np.maximum(-bounds.low, bounds.high)
    awake = found > _SMALLEST_SHARE * possible
    typical = np.median(found[awake] / possible[awake]) if awake.any() else 1.0
    estimated = np.where(awake, found, typical * possible)
    return np.maximum(estimated, max(_SMALLEST_SHARE * estimated.max(), _SMALLEST_SHARE))


def _useful(
    pair: LayerPair, seen: dict[int, ChannelStatistics], read: Float64Array
) -> Float64Array:
    """Return the factors at which a step of the int32 sums is one of the activations.

    More gains nothing, and XNNPACK refuses layers whose sums are much coarser. `read` are the
    factors that the first layer's input channels have got.
    """
    inputs = (seen[pair.first.operator.inputs[0]].largest * read).max()
    weights = np.abs(np.asarray(pair.first.weights.data) * column_shaped(pair.first, 1 / read))
    axes = tuple(axis for axis in range(weights.ndim) if axis != pair.first.channel_axis)
    steps = inputs / 255 * weights.max(axis=axes) / 127
    return np.asarray(seen[pair.tensor].largest.max() / 255 / np.maximum(steps, _SMALLEST))


def _columns(pair: LayerPair) -> Float64Array:
    """Return the largest weight by which each row of the second layer reads each channel."""
    weights = np.abs(np.asarray(pair.second.weights.data, np.float64))
    if pair.second.operator.kind == "DEPTHWISE_CONV_2D":
        return np.diag(weights.max(axis=(0, 1, 2)).reshape(pair.channels, -1).max(axis=1))
    return np.asarray(weights.reshape(len(weights), -1, weights.shape[-1]).max(axis=1))
