"""A float model whose weights are points of the int8 grids that they will have."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.constants import WEIGHTS, write_constant
from edgefer.converters.weights import WeightedLayer, rounded_to_int8, weighted_layers

Float32Array = npt.NDArray[np.float32]


def round_to_nearest(
    float_tflite: bytes,
    ranges: Mapping[str, Float32Array],
    *,
    skipped: frozenset[int] = frozenset(),
) -> bytes:
    """Return the model with each weight at the nearest point of its grid.

    `ranges` holds the largest weight of each output channel by the weights' tensor, axes kept: a
    grid has the scale range / 127 and the integers -127…127. Quantizing with the same ranges then
    stores exactly these integers. Weights of layers at the positions in `skipped`, and without a
    range, stay as they are.
    """
    model = graph.unpack(float_tflite, source="model")
    for layers in layers_by_weights(model, graph.read(float_tflite), ranges, skipped):
        weights = np.asarray(layers[0].weights.data, np.float32)
        replace_weights(model, layers, rounded_to_int8(weights, ranges[layers[0].weights.name]))
    return graph.pack(model)


def with_exact_weights(rounded: bytes, original: bytes, positions: frozenset[int]) -> bytes:
    """Return the rounded model with the original's weights in the layers at these positions."""
    if not positions:
        return rounded
    model = graph.unpack(rounded, source="model")
    for layer in weighted_layers(graph.read(original)):
        if layer.operator.index in positions and layer.weights.data is not None:
            write_constant(model, layer.operator.index, WEIGHTS, layer.weights.data)
    return graph.pack(model)


def layers_by_weights(
    model: Any,
    content: graph.Graph,
    ranges: Mapping[str, Float32Array],
    skipped: frozenset[int],
) -> list[list[WeightedLayer]]:
    """Return the layers that are rounded, those together that read the same constants.

    Layers of different kinds or shapes are apart even so: their channels see other inputs.
    """
    found: dict[tuple[int, str, tuple[int, ...]], list[WeightedLayer]] = {}
    for layer in weighted_layers(content):
        if layer.operator.index not in skipped and layer.weights.name in ranges:
            buffer = model.subgraphs[0].tensors[layer.weights.index].buffer
            key = buffer, layer.operator.kind, layer.weights.shape
            found.setdefault(key, []).append(layer)
    return list(found.values())


def replace_weights(model: Any, layers: Sequence[WeightedLayer], weights: Float32Array) -> None:
    """Give layers that read the same constants other weights; all other readers keep theirs."""
    tensors = {layer.weights.index: layer.weights for layer in layers}
    readers = {layer.operator.index for layer in layers}
    for tensor in tensors.values():
        _keep_for_others(model, tensor, readers)
    stored = model.subgraphs[0].tensors
    buffer = stored[layers[0].weights.index].buffer
    users = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    if sum(tensor.buffer == buffer for tensor in users) > len(tensors):
        buffer = graph.add_buffer(model, weights)
    model.buffers[buffer].data = np.ascontiguousarray(weights).view(np.uint8).ravel()
    for index in tensors:
        stored[index].buffer = buffer


def _keep_for_others(model: Any, tensor: graph.Tensor, readers: set[int]) -> None:
    """Give operators that are not among `readers` a tensor of their own with the same values."""
    subgraph = model.subgraphs[0]
    others = [
        operator
        for position, operator in enumerate(subgraph.operators)
        if position not in readers and tensor.index in operator.inputs
    ]
    if not others:
        return
    copy = graph.add_tensor(
        model,
        subgraph.tensors[tensor.index],
        name=f"{tensor.name}/exact".encode(),
        data=tensor.data,
    )
    for operator in others:
        operator.inputs = [copy if index == tensor.index else index for index in operator.inputs]
