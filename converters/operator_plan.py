"""Which operator of a graph computes in what, as a recipe wants it."""

from dataclasses import dataclass

from edgefer.converters.graph import Graph, Operator
from edgefer.converters.mixed_precision import mixed_precision
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.errors import UsageError

HEAD_KINDS = frozenset({"FULLY_CONNECTED", "SOFTMAX"})
CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass(frozen=True, kw_only=True)
class OperatorPlan:
    """Positions of operators that differ from the recipe's precision.

    `floats` compute in float; `rounding` layers have int8 weights and round their float input in
    each image; `int16` have activations of 16 bits.
    """

    floats: frozenset[int] = frozenset()
    rounding: frozenset[int] = frozenset()
    int16: frozenset[int] = frozenset()


def operator_plan(content: Graph, recipe: QuantizationRecipe) -> OperatorPlan:
    """Return the plan for a float graph, or for one that was converted by the same recipe.

    Raises UsageError where the recipe names an operator that there is not.
    """
    floats = set(positions(content, recipe.float_operators))
    if recipe.head_in_float:
        floats |= {operator.index for operator in head_operators(content)}
    rounding: frozenset[int] = frozenset()
    if recipe.mixed_precision:
        mixed = mixed_precision(content)
        floats |= mixed.floats
        rounding = mixed.rounding - floats
    int16 = positions(content, recipe.int16_operators) - floats - rounding
    return OperatorPlan(floats=frozenset(floats), rounding=rounding, int16=int16)


def positions(content: Graph, names: tuple[str, ...]) -> frozenset[int]:
    """Return where the operators are that write the tensors of these names."""
    known = {content.tensors[op.outputs[0]].name: op.index for op in content.operators}
    for name in names:
        if name not in known:
            raise UsageError(
                f"the recipe names {name!r}, which no operator writes; operator_comparison in "
                "the .json beside a conversion has the names"
            )
    return frozenset(known[name] for name in names)


def head_operators(content: Graph) -> list[Operator]:
    """Return the fully-connected layers and softmax that end in the output, last first."""
    head = []
    operator = content.producer(content.outputs[0])
    while operator is not None and operator.kind in HEAD_KINDS | CONVERSIONS:
        if operator.kind in HEAD_KINDS:
            head.append(operator)
        operator = content.producer(operator.inputs[0])
    return head
