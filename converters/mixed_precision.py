"""Which operators an int8 conversion leaves in floating point, so that its graph stays whole.

XNNPACK computes some kinds of operators in float but not in int8. In int8 each of them ends the
delegate's stretch, is computed by a slow reference kernel, and begins another stretch; a
transformer falls into dozens. So from the first such operator on, activations stay float: what has
no weights computes in float, and convolutions and dense layers have int8 weights and round their
input themselves, by its range in each image (LiteRT's dynamic-range kernels). Before it, and in a
graph without one, everything is int8.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edgefer.converters.graph import Graph
from edgefer.converters.weights import CHANNEL_AXES, weighted_layers

SPLITTING_KINDS = frozenset(
    {
        "BATCH_MATMUL",
        "DIV",
        "GELU",
        "LOG",
        "MAXIMUM",
        "PRELU",
        "RSQRT",
        "SOFTMAX",
        "SQRT",
        "SQUARED_DIFFERENCE",
    }
)
"""Kinds that XNNPACK takes in float and not in int8, as a test finds in LiteRT 2.3.

litert-quantizer has no int8 form of LOG and PRELU at all.
"""

ROUNDING_KINDS = frozenset({"CONV_2D", "FULLY_CONNECTED"})
"""Layers that XNNPACK computes in int8 from a float input; depthwise ones it does not."""


@dataclass(frozen=True, kw_only=True)
class MixedPrecision:
    """Positions of operators: `floats` compute in float, `rounding` layers round their input."""

    floats: frozenset[int] = frozenset()
    rounding: frozenset[int] = frozenset()


def mixed_precision(content: Graph) -> MixedPrecision:
    """Return what stays float in an int8 conversion of a graph, or in one that is converted.

    An operator that splits the graph does so only where a layer comes after it: a softmax that
    ends a network stays int8.
    """
    readers = _readers(content)
    layers = {layer.operator.index: layer for layer in weighted_layers(content)}
    splitting = [
        operator.index
        for operator in content.operators
        if operator.kind in SPLITTING_KINDS
        and layers.keys() & _reached(readers, readers[operator.index])
    ]
    behind = _reached(readers, splitting)
    rounding = {
        index
        for index in behind & layers.keys()
        if layers[index].operator.kind in ROUNDING_KINDS
        and layers[index].weights.shape[CHANNEL_AXES[layers[index].operator.kind]] > 1
    }
    return MixedPrecision(floats=frozenset(behind - rounding), rounding=frozenset(rounding))


def _readers(content: Graph) -> list[list[int]]:
    """Return, for each operator, the positions of those that read what it writes."""
    writer = {tensor: op.index for op in content.operators for tensor in op.outputs}
    readers: list[list[int]] = [[] for _ in content.operators]
    for operator in content.operators:
        for tensor in operator.inputs:
            if tensor in writer:
                readers[writer[tensor]].append(operator.index)
    return readers


def _reached(readers: list[list[int]], start: Iterable[int]) -> set[int]:
    """Return the operators of `start` and all that come after them."""
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting.extend(readers[index])
    return found
