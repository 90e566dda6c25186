"""One range for everything that a concatenation joins.

In integers a concatenation copies, so that its inputs need the scale of its output. Where an input
has another, litert-quantizer rounds it once more in front, which costs accuracy, and which XNNPACK
and TensorFlow Lite's own kernels do differently.
"""

from collections.abc import Mapping

from edgefer.converters.graph import Graph, Operator

Range = tuple[float, float]

KEEPING_KINDS = frozenset(
    {
        "AVERAGE_POOL_2D", "BROADCAST_TO", "GATHER", "GATHER_ND", "MAX_POOL_2D", "MIRROR_PAD",
        "PAD", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
        "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "TRANSPOSE", "UNPACK",
    }
)  # fmt: skip
"""Kinds whose outputs litert-quantizer gives the scale of their float input."""


def with_common_ranges(
    content: Graph, ranges: Mapping[str, Range], *, integer_operators: frozenset[int]
) -> dict[str, Range]:
    """Return the ranges, widened to one for the inputs and the output of each concatenation.

    Only operators at the positions in `integer_operators` count. The graph's own input keeps its
    range, which is that of pixels.
    """
    group_of: dict[int, set[int]] = {}
    for operator in reversed(content.operators):
        if operator.index in integer_operators:
            joined = _joined(content, operator, group_of)
            merged = joined.union(*(group_of.get(index, set()) for index in joined))
            group_of |= dict.fromkeys(merged, merged)
    common = dict(ranges)
    for group in group_of.values():
        names = {content.tensors[index].name for index in group} & ranges.keys()
        if names:
            low = min(ranges[name][0] for name in names)
            high = max(ranges[name][1] for name in names)
            common |= dict.fromkeys(names, (low, high))
    return common


def _joined(content: Graph, operator: Operator, groups: Mapping[int, set[int]]) -> set[int]:
    """Return the tensors that need one range because of an operator; none if it asks for none."""
    is_wanted = operator.kind == "CONCATENATION" or (
        operator.kind in KEEPING_KINDS and not groups.keys().isdisjoint(operator.outputs)
    )
    used = {tensor.index for tensor in content.operands(operator) if tensor.dtype == "float32"}
    return used - {*content.inputs} if is_wanted else set()
