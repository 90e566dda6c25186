"""A conversion beside the float model it was made from, where that takes no more than seconds."""

from dataclasses import dataclass

from edgefer.converters import graph
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.insight.comparison import OperatorComparison, compare
from edgefer.data.faces import LabelledFaces
from edgefer.evaluation.inference import inputs_of
from edgefer.models.spec import ModelSpec

FACES = 12
"""A map has thousands of values, so that a few faces tell its noise."""

MOST_MULTIPLY_ACCUMULATES = 2e11
"""What the kernels that keep all tensors do in some ten seconds."""


@dataclass(frozen=True, kw_only=True)
class AgainstFloat:
    """A conversion's operators beside the float model's, and how many faces told it."""

    faces: int
    operators: tuple[OperatorComparison, ...]


def against_float(
    float_tflite: bytes, spec: ModelSpec, quantized: bytes, faces: LabelledFaces
) -> AgainstFloat | None:
    """Compare what `convert` made with the float model that it rounded, on a few of `faces`.

    `spec` is that of both. Returns None where it would take more than about ten seconds.
    """
    if FACES * multiply_accumulates(graph.read(float_tflite)) > MOST_MULTIPLY_ACCUMULATES:
        return None
    inputs = inputs_of(faces.spread(FACES).images, spec)
    operators = compare(float_tflite, quantized, inputs)
    return AgainstFloat(faces=len(inputs), operators=tuple(operators))
