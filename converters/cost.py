"""What a graph costs to run: multiply-accumulates, counted from its shapes."""

import math

from edgefer.converters.graph import Graph, Operator


def multiply_accumulates(content: Graph) -> int:
    """Return the multiply-accumulates of one inference at batch 1.

    Counted are convolutions, fully connected layers and matrix products, as papers do;
    biases, activations and element-wise operators are not.
    """
    return sum(_of_operator(content, operator) for operator in content.operators)


def _of_operator(content: Graph, operator: Operator) -> int:
    def size(index: int) -> int:
        return math.prod(max(side, 1) for side in content.tensors[index].shape)

    def shape(index: int) -> tuple[int, ...]:
        return content.tensors[index].shape

    if operator.kind == "CONV_2D":
        return size(operator.outputs[0]) * math.prod(shape(operator.inputs[1])[1:])
    if operator.kind == "DEPTHWISE_CONV_2D":
        return size(operator.outputs[0]) * math.prod(shape(operator.inputs[1])[1:3])
    if operator.kind == "FULLY_CONNECTED":
        return size(operator.outputs[0]) * shape(operator.inputs[1])[-1]
    if operator.kind == "TRANSPOSE_CONV":
        return size(operator.inputs[2]) * math.prod(shape(operator.inputs[1])[:3])
    if operator.kind == "BATCH_MATMUL":
        transposed = bool(getattr(operator.options, "adjX", False))
        return size(operator.outputs[0]) * shape(operator.inputs[0])[-2 if transposed else -1]
    return 0
