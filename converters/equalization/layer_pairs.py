"""Pairs of layers between which a factor per channel can be moved without changing the answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefer.converters.graph import Graph, Operator
from edgefer.converters.weights import WeightedLayer, weighted_layers

_ACTIVATIONS: Mapping[int, str] = {
    value: name
    for name, value in vars(schema.ActivationFunctionType).items()
    if isinstance(value, int)
}

CHANNEL_KEEPING_KINDS: Mapping[str, str] = {
    "AVERAGE_POOL_2D": "NONE",
    "MAX_POOL_2D": "NONE",
    "MEAN": "NONE",
    "PAD": "NONE",
    "RESHAPE": "NONE",
    "RELU": "RELU",
    "RELU6": "RELU6",
}
"""Operators that treat each channel by itself, and the activation function that they apply.

But for RELU6's upper end, all are positively homogeneous: f(s x) = s f(x) for s > 0.
"""

_PAIRED_KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_HOMOGENEOUS = frozenset({"NONE", "RELU", "RELU6"})


@dataclass(frozen=True, kw_only=True)
class LayerPair:
    """Two layers; what the first puts out goes, through `between`, to the second alone."""

    first: WeightedLayer
    second: WeightedLayer
    between: tuple[Operator, ...]

    @property
    def channels(self) -> int:
        """How many channels go from the first layer to the second."""
        return self.first.weights.shape[self.first.channel_axis]

    @property
    def tensor(self) -> int:
        """The position of the tensor that the second layer reads."""
        return self.second.operator.inputs[0]


def layer_pairs(content: Graph) -> list[LayerPair]:
    """Return all pairs of layers of a float graph, in the order of the second layers."""
    layers = {
        layer.operator.index: layer
        for layer in weighted_layers(content)
        if layer.operator.kind in _PAIRED_KINDS and _is_constant(layer)
    }
    pairs = [_pair(content, layer, layers) for layer in layers.values()]
    return [pair for pair in pairs if pair is not None]


def fused_activation(operator: Operator) -> str:
    """Return the name of an operator's fused activation, `NONE` where it has none."""
    return _ACTIVATIONS[getattr(operator.options, "fusedActivationFunction", 0)]


def activation_functions(operator: Operator) -> set[str]:
    """Return the names of all that an operator applies, its own and its fused one."""
    return {CHANNEL_KEEPING_KINDS.get(operator.kind, "NONE"), fused_activation(operator)}


def keeps_channels(content: Graph, operator: Operator) -> bool:
    """Whether each channel of what an operator writes comes from the same channel that it reads.

    Channels run along the last axis.
    """
    if operator.kind not in CHANNEL_KEEPING_KINDS:
        return False
    source, result = (content.tensors[i] for i in (operator.inputs[0], operator.outputs[0]))
    if not source.shape or not result.shape or source.shape[-1] != result.shape[-1]:
        return False
    last = len(source.shape) - 1
    if operator.kind == "MEAN":
        axes = content.tensors[operator.inputs[1]].data
        return axes is not None and last not in np.ravel(axes) % len(source.shape)
    if operator.kind == "PAD":
        padding = content.tensors[operator.inputs[1]].data
        return padding is not None and not padding[last].any()
    return True


def _pair(
    content: Graph, second: WeightedLayer, layers: Mapping[int, WeightedLayer]
) -> LayerPair | None:
    if not _reads_each_channel(content, second):
        return None
    between: list[Operator] = []
    tensor = second.operator.inputs[0]
    while _has_one_reader(content, tensor) and (writer := content.producer(tensor)) is not None:
        if fused_activation(writer) not in _HOMOGENEOUS:
            return None
        if writer.index in layers:
            first = layers[writer.index]
            return LayerPair(first=first, second=second, between=tuple(reversed(between)))
        if not keeps_channels(content, writer):
            return None
        between.append(writer)
        tensor = writer.inputs[0]
    return None


def _has_one_reader(content: Graph, tensor: int) -> bool:
    readers = sum(operator.inputs.count(tensor) for operator in content.operators)
    return readers == 1 and tensor not in content.outputs


def _reads_each_channel(content: Graph, layer: WeightedLayer) -> bool:
    """Whether the weights have an entry for each input channel: no groups, nothing flattened."""
    channels = content.tensors[layer.operator.inputs[0]].shape[-1]
    if layer.operator.kind == "DEPTHWISE_CONV_2D":
        return layer.weights.shape[3] % channels == 0
    return layer.weights.shape[-1] == channels


def _is_constant(layer: WeightedLayer) -> bool:
    """Whether weights and bias are float constants of the file."""
    tensors = [layer.weights] if layer.bias is None else [layer.weights, layer.bias]
    return all(tensor.data is not None and tensor.dtype == "float32" for tensor in tensors)
