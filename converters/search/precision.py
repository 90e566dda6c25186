"""Which operators go back to float first: those that cost answers most for the time they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search.latencies import Latencies
from edgefer.converters.sensitivity import (
    OperatorSensitivity,
    measurable,
    sensitivities,
    with_floats,
)
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]

MOST_OPERATORS = 16
"""That are tried in float; what the others add is less than what these do."""

SENSITIVITY_FACES = 100
MOST_MULTIPLY_ACCUMULATES = 2e13
"""Of a sensitivity ranking, which is some minutes on two cores."""

LEAST_COST = 0.001
"""Of the whole latency: what one more operator in float costs is not known any better."""


@dataclass(frozen=True, kw_only=True)
class FloatStep:
    """An operator that may go back to float; `tensor` is what it writes.

    `change` is the mean change of a probability that it causes alone in int8, `cost_ms` what
    the model takes longer with it in float.
    """

    tensor: str
    change: float
    cost_ms: float


def float_steps(
    conversion: Conversion,
    recipe: QuantizationRecipe,
    inputs: Float32Array,
    latencies: Latencies,
    *,
    progress: Progress | None = None,
) -> list[FloatStep]:
    """Return operators in the order of what they cost the answers for each millisecond.

    `inputs` are float32 (n, h, w, channels), normalised.
    """
    found = _most_sensitive(conversion, recipe, inputs, progress)
    variants = {one.tensor: with_floats(recipe, {one.tensor}) for one in found}
    models = {"": conversion.to(recipe).tflite} | {
        name: conversion.to(variant).tflite for name, variant in variants.items()
    }
    return ordered(found, latencies(models, progress))


def ordered(
    found: Sequence[OperatorSensitivity], latency_ms: Mapping[str, float]
) -> list[FloatStep]:
    """Order operators by change for each millisecond; `latency_ms` has the int8 model's as ""."""
    whole = latency_ms[""]
    steps = [
        FloatStep(
            tensor=one.tensor,
            change=one.alone_int8_change,
            cost_ms=max(latency_ms[one.tensor] - whole, LEAST_COST * whole),
        )
        for one in found
    ]
    return sorted(steps, key=lambda step: (-step.change / step.cost_ms, step.tensor))


def _most_sensitive(
    conversion: Conversion,
    recipe: QuantizationRecipe,
    inputs: Float32Array,
    progress: Progress | None,
) -> list[OperatorSensitivity]:
    """Measure the operators, the most expensive ones where there are too many, and rank them."""
    content = graph.read(conversion.float_tflite)
    chosen = inputs[
        np.linspace(0, len(inputs) - 1, min(SENSITIVITY_FACES, len(inputs))).astype(int)
    ]
    cost = 2 * len(chosen) * max(multiply_accumulates(content), 1)
    most = max(MOST_OPERATORS, int(MOST_MULTIPLY_ACCUMULATES / cost))
    positions = measurable(content, recipe)[:most]
    found = sensitivities(conversion, recipe, chosen, positions=positions, progress=progress)
    return found.by_alone_int8()[:MOST_OPERATORS]
