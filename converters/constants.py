"""Write new weights and biases into a .tflite's operators."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph

WEIGHTS = 1
BIAS = 2
"""Positions among the inputs of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""

_NAMES = {WEIGHTS: "weights", BIAS: "bias"}


def write_constant(
    model: Any, operator_index: int, position: int, values: npt.NDArray[Any]
) -> None:
    """Give one operator of a schema object weights or a bias, and no other operator.

    Floats are stored as float32, integers of the type that they have.
    Where another operator reads the same tensor, another tensor has the same buffer, or the
    operator had no bias, the values get a tensor of their own.
    """
    subgraph = model.subgraphs[0]
    operator = subgraph.operators[operator_index]
    inputs = [int(index) for index in operator.inputs]
    inputs += [-1] * (position + 1 - len(inputs))
    is_float = np.issubdtype(values.dtype, np.floating)
    data = np.ascontiguousarray(values, np.float32 if is_float else values.dtype)
    present = inputs[position]
    if present >= 0 and not _is_shared(model, present):
        subgraph.tensors[present].shape = list(data.shape)
        model.buffers[subgraph.tensors[present].buffer].data = data.view(np.uint8).ravel()
        return
    weights = subgraph.tensors[inputs[WEIGHTS]]
    inputs[position] = graph.add_tensor(
        model,
        weights if present < 0 else subgraph.tensors[present],
        name=f"{weights.name.decode()}/{_NAMES[position]}_{operator_index}".encode(),
        shape=list(data.shape),
        data=data,
    )
    operator.inputs = inputs


def _is_shared(model: Any, tensor_index: int) -> bool:
    """Whether another operator reads the tensor, or another tensor its buffer."""
    subgraph = model.subgraphs[0]
    readers = sum(list(operator.inputs).count(tensor_index) for operator in subgraph.operators)
    buffer = subgraph.tensors[tensor_index].buffer
    return readers > 1 or sum(tensor.buffer == buffer for tensor in subgraph.tensors) > 1
