"""Which operators of a network an int8 conversion hurts by, told by what each does alone.

Two measures, both with the kernels that run on a device: an operator alone in int8 while all others
stay float, and an operator alone left in float while all others are int8. AIMET's per-layer
sensitivity analysis and the layer sensitivity of Wu et al. 2020, "Integer Quantization for Deep
Learning Inference" (arXiv 2004.09602), section 5.2, ask the same questions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.operator_plan import CONVERSIONS, operator_plan
from edgefer.converters.recipes import IoType, QuantizationRecipe
from edgefer.evaluation.metrics import mean_probability_change
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]

MOVING_KINDS = CONVERSIONS | {
    "BROADCAST_TO",
    "CAST",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "MIRROR_PAD",
    "PACK",
    "PAD",
    "PADV2",
    "RESHAPE",
    "REVERSE_V2",
    "SHAPE",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "UNPACK",
}
"""Kinds that hand values on as they are, so that they lose nothing of their own."""


@dataclass(frozen=True, kw_only=True)
class OperatorSensitivity:
    """What the output loses by one operator.

    A change is the mean absolute change of a probability against the float model, 0…1, and an
    agreement the share of faces that get the same answer. `alone_int8` is with this operator in
    int8 and the others in float, `left_float` with this one in float and the others in int8.
    `tensor` is the name of what the operator writes.
    """

    position: int
    kind: str
    tensor: str
    alone_int8_change: float
    alone_int8_agreement: float
    left_float_change: float
    left_float_agreement: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Every measured operator in the graph's order, and the whole int8 model for comparison.

    `candidates` is how many operators could be measured.
    """

    faces: int
    candidates: int
    int8_change: float
    int8_agreement: float
    operators: tuple[OperatorSensitivity, ...]

    def by_alone_int8(self) -> list[OperatorSensitivity]:
        """Return the operators, the one that hurts most alone first."""
        return sorted(self.operators, key=lambda one: (-one.alone_int8_change, one.position))

    def by_left_float(self) -> list[OperatorSensitivity]:
        """Return the operators, the one whose return to float mends most first."""
        return sorted(self.operators, key=lambda one: (one.left_float_change, one.position))


def sensitivities(
    conversion: Conversion,
    recipe: QuantizationRecipe,
    faces: Float32Array,
    *,
    positions: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure the operators at `positions` of a float model, all `measurable` ones by default.

    `recipe` makes int8; that weights are rounded adaptively and biases corrected empirically, which
    takes long, is left out here. `faces` are float32 (n, h, w, channels), normalised. Each operator
    costs two conversions and two runs over `faces`. The same arguments give the same result.
    """
    recipe = replace(
        recipe,
        adaptive_rounding=False,
        empirical_bias_correction=False,
        output_type=IoType.FLOAT32,
    )
    content = graph.read(conversion.float_tflite)
    names = [content.tensors[operator.outputs[0]].name for operator in content.operators]
    candidates = measurable(content, recipe)
    measured = candidates if positions is None else sorted(positions)
    exact = runtime.open_made(conversion.float_tflite).probabilities(faces)

    def effect(floats: frozenset[int]) -> tuple[float, float]:
        variant = with_floats(recipe, {names[index] for index in floats})
        return _effect(conversion.integers(variant), exact, faces)

    everything = frozenset(operator.index for operator in content.operators)
    whole = effect(frozenset())
    found = []
    for done, position in enumerate(measured, start=1):
        alone = effect(everything - {position})
        left = effect(frozenset({position}))
        found.append(
            OperatorSensitivity(
                position=position,
                kind=content.operators[position].kind,
                tensor=names[position],
                alone_int8_change=alone[0],
                alone_int8_agreement=alone[1],
                left_float_change=left[0],
                left_float_agreement=left[1],
            )
        )
        if progress:
            progress(done, len(measured))
    return Sensitivity(
        faces=len(faces),
        candidates=len(candidates),
        int8_change=whole[0],
        int8_agreement=whole[1],
        operators=tuple(found),
    )


def measurable(content: graph.Graph, recipe: QuantizationRecipe) -> list[int]:
    """Return the positions of operators that the recipe makes integer and that compute."""
    floats = operator_plan(content, recipe).floats
    return [
        operator.index
        for operator in content.operators
        if operator.index not in floats and operator.kind not in MOVING_KINDS
    ]


def with_floats(recipe: QuantizationRecipe, names: Collection[str]) -> QuantizationRecipe:
    """Return the recipe with the operators that write these tensors in float too."""
    every = set(names) | set(recipe.float_operators)
    return replace(
        recipe,
        float_operators=tuple(sorted(every)),
        int16_operators=tuple(name for name in recipe.int16_operators if name not in every),
    )


def _effect(tflite: bytes, exact: Float32Array, faces: Float32Array) -> tuple[float, float]:
    """Return the mean absolute change of a probability, and the agreement."""
    found = runtime.open_made(tflite).probabilities(faces)
    agreement = float((found.argmax(axis=1) == exact.argmax(axis=1)).mean())
    return mean_probability_change(found, exact), agreement
