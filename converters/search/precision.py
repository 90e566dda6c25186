"""Which operators go back to float first: those that cost answers most for the time they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.insight.comparison import compare
from edgefer.converters.insight.sensitivity import (
    OperatorSensitivity,
    measurable,
    sensitivities,
    with_floats,
)
from edgefer.converters.insight.suspicion import most_suspicious
from edgefer.converters.quantization import Report
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search.candidate import Recipe
from edgefer.converters.search.latencies import Latencies, quick
from edgefer.errors import ModelError
from edgefer.records import STRICT

Float32Array = npt.NDArray[np.float32]

MOST_OPERATORS = 16
"""That are tried in float; what the others add is less than what these do."""

SENSITIVITY_FACES = 100
COMPARED_FACES = 4
MOST_MULTIPLY_ACCUMULATES = 2e13
"""Of a sensitivity ranking, which is some minutes on two cores."""

LEAST_COST = 0.001
"""Of the whole latency: what one more operator in float costs is not known any better."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class FloatStep:
    """An operator that may go back to float; `tensor` is what it writes.

    `change` is the mean change of a probability that it causes alone in int8, `cost_ms` what
    the model takes longer with it in float.
    """

    tensor: str
    change: float
    cost_ms: float


@STRICT
@dataclass(frozen=True, kw_only=True)
class Ranking:
    """In which order operators of a conversion by `recipe` go back to float on `device`."""

    recipe: Recipe
    device: str
    steps: tuple[FloatStep, ...]


def float_steps(
    conversion: Conversion,
    recipe: QuantizationRecipe,
    inputs: Float32Array,
    latencies: Latencies,
    report: Report,
) -> tuple[FloatStep, ...]:
    """Return operators in the order of what they cost the answers for each millisecond.

    `inputs` are float32 (n, h, w, channels), normalised. What cannot be converted or run with an
    operator in float is left out.
    """
    fast = quick(recipe)
    found = _most_sensitive(conversion, fast, inputs, report)
    models = {"": conversion.to(fast).tflite}
    for one in found:
        try:
            models[one.tensor] = conversion.to(with_floats(fast, {one.tensor})).tflite
        except ModelError:
            continue
    timed = latencies(models, lambda done, total: report("Timing operators", done, total))
    return ordered(found, timed)


def ordered(
    found: Sequence[OperatorSensitivity], latency_ms: Mapping[str, float]
) -> tuple[FloatStep, ...]:
    """Order operators by change for each millisecond; `latency_ms` has the int8 model's as "".

    Those without a latency are left out.
    """
    whole = latency_ms.get("", 0.0)
    steps = [
        FloatStep(
            tensor=one.tensor,
            change=one.alone_int8_change,
            cost_ms=max(latency_ms[one.tensor] - whole, LEAST_COST * latency_ms[one.tensor]),
        )
        for one in found
        if one.tensor in latency_ms
    ]
    return tuple(sorted(steps, key=lambda step: (-step.change / step.cost_ms, step.tensor)))


def _most_sensitive(
    conversion: Conversion, recipe: QuantizationRecipe, inputs: Float32Array, report: Report
) -> list[OperatorSensitivity]:
    """Measure the operators, those that add most noise where there are too many, and rank them."""
    prepared = conversion.prepared(recipe).tflite
    content = graph.read(prepared)
    cost = 2 * len(inputs) * max(multiply_accumulates(content), 1)
    most = max(MOST_OPERATORS, int(MOST_MULTIPLY_ACCUMULATES / cost))
    positions = measurable(content, recipe)
    if len(positions) > most:
        compared = compare(prepared, conversion.to(recipe).tflite, inputs[:COMPARED_FACES])
        positions = most_suspicious(content, compared, positions, most)
    found = sensitivities(
        conversion,
        recipe,
        inputs,
        positions=positions,
        progress=lambda done, total: report("Ranking operators", done, total),
    )
    return found.by_alone_int8()[:MOST_OPERATORS]
