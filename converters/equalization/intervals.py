"""Bounds of every channel inside a float .tflite that hold for any image: interval arithmetic."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters.equalization.layer_pairs import (
    CHANNEL_KEEPING_KINDS,
    LayerPair,
    activation_functions,
    fused_activation,
    keeps_channels,
)
from edgefer.converters.graph import Graph, Operator
from edgefer.converters.weights import SAME_PADDING, WeightedLayer, weighted_layers

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The lowest and highest value of each channel; both float64 (channels,), maybe infinite."""

    low: Float64Array
    high: Float64Array

    def with_zero(self) -> "Interval":
        """Return the interval that padding with zeros makes of it."""
        return Interval(low=np.minimum(self.low, 0), high=np.maximum(self.high, 0))

    def union(self, channels: int) -> "Interval":
        """Return the interval that holds every channel, for a number of channels."""
        low, high = self.low.min(), self.high.max()
        return Interval(low=np.full(channels, low), high=np.full(channels, high))

    def activated(self, activation: str) -> "Interval":
        """Return what an activation function makes of it; anything for one that is not known."""
        if activation == "NONE":
            return self
        if activation not in _BOUNDS:
            return _anything(len(self.low))
        low, high = _BOUNDS[activation]
        return Interval(low=np.clip(self.low, low, high), high=np.clip(self.high, low, high))


_BOUNDS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def intervals_before_activation(
    content: Graph, pixel_range: tuple[float, float]
) -> dict[int, Interval]:
    """Return what each operator computes before its activation function, by operator position.

    `pixel_range` are the normalised values of the smallest and the largest pixel. Operators whose
    arithmetic is not known here, and those without a last axis, have no entry.
    """
    low, high = pixel_range
    known = {}
    for index in content.inputs:
        channels = content.tensors[index].shape[-1]
        known[index] = Interval(low=np.full(channels, low), high=np.full(channels, high))
    layers = {layer.operator.index: layer for layer in weighted_layers(content)}
    found = {}
    for operator in content.operators:
        interval = _computed(content, operator, layers.get(operator.index), known)
        if interval is not None:
            found[operator.index] = interval
            own = CHANNEL_KEEPING_KINDS.get(operator.kind, "NONE")
            known[operator.outputs[0]] = interval.activated(own).activated(
                fused_activation(operator)
            )
    return found


def factors_below_six(pair: LayerPair, intervals: dict[int, Interval]) -> Float64Array:
    """Return by how much each channel between two layers can grow before a RELU6 cuts it off.

    float64 (channels,): infinite where there is no RELU6 on the way, and 0 where it is not
    certain that the channel stays below 6 even as it is.
    """
    factors = np.full(pair.channels, np.inf)
    for operator in (pair.first.operator, *pair.between):
        if "RELU6" in activation_functions(operator):
            highest = intervals[operator.index].high
            room = np.divide(6, highest, out=np.full(pair.channels, np.inf), where=highest > 0)
            factors = np.minimum(factors, np.where(highest <= 6, room, 0))
    return factors


def _computed(
    content: Graph, operator: Operator, layer: WeightedLayer | None, known: dict[int, Interval]
) -> Interval | None:
    source = operator.inputs[0]
    interval = known.get(source)
    if layer is not None and operator.kind != "TRANSPOSE_CONV":
        return weighted_interval(layer, interval or _anything(content.tensors[source].shape[-1]))
    if interval is None or not keeps_channels(content, operator):
        return None
    return interval.with_zero() if operator.kind == "PAD" else interval


def weighted_interval(layer: WeightedLayer, inputs: Interval) -> Interval:
    """Return what a layer makes of its input channels' interval, before its activation.

    Each product of a weight and an input takes the end that the weight's sign asks for.
    """
    if getattr(layer.operator.options, "padding", None) == SAME_PADDING:
        inputs = inputs.with_zero()
    if layer.operator.kind == "FULLY_CONNECTED" and layer.weights.shape[1] != len(inputs.low):
        inputs = inputs.union(layer.weights.shape[1])  # it flattens what it reads
    weights = np.asarray(layer.weights.data, np.float64)
    low, high = (_beside(weights, layer, ends) for ends in (inputs.low, inputs.high))
    axes = tuple(axis for axis in range(weights.ndim) if axis != layer.channel_axis)
    bias = layer.bias_values()
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    with np.errstate(invalid="ignore"):  # weights that are no numbers make bounds that are none
        return Interval(
            low=_sum(positive, low, axes) + _sum(negative, high, axes) + bias,
            high=_sum(positive, high, axes) + _sum(negative, low, axes) + bias,
        )


def _beside(weights: Float64Array, layer: WeightedLayer, ends: Float64Array) -> Float64Array:
    """Return the input that each weight is multiplied with, in the weights' shape."""
    if layer.operator.kind == "DEPTHWISE_CONV_2D":
        return np.broadcast_to(np.repeat(ends, weights.shape[3] // len(ends)), weights.shape)
    groups = ends.reshape(-1, *(1,) * (weights.ndim - 2), weights.shape[-1])
    return np.broadcast_to(np.repeat(groups, len(weights) // len(groups), axis=0), weights.shape)


def _sum(weights: Float64Array, ends: Float64Array, axes: tuple[int, ...]) -> Float64Array:
    """Return the sums of products, in which a weight of 0 makes 0 of an infinite end too."""
    products = np.multiply(weights, ends, out=np.zeros(weights.shape), where=weights != 0)
    return np.asarray(products.sum(axis=axes))


def _anything(channels: int) -> Interval:
    return Interval(low=np.full(channels, -np.inf), high=np.full(channels, np.inf))
