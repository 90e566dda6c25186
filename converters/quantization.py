"""One recipe's way to integers: equalize, absorb, calibrate, round, correct biases, quantize."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.calibration.result import CalibrationResult, calibrate
from edgefer.converters.equalization.bias_absorption import absorb_high_biases
from edgefer.converters.equalization.cross_layer import equalize
from edgefer.converters.operator_plan import OperatorPlan, operator_plan
from edgefer.converters.quantize import Range, fitting, quantize
from edgefer.converters.recipes import Precision, QuantizationRecipe
from edgefer.converters.rounding.adaptive_rounding import round_adaptively
from edgefer.converters.rounding.bias_correction import correct_biases
from edgefer.converters.rounding.empirical_bias_correction import correct_empirically
from edgefer.converters.rounding.weight_ranges import ranges_by_name
from edgefer.converters.rounding.weight_rounding import round_to_nearest, with_exact_weights
from edgefer.errors import DataError
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]

Made = TypeVar("Made")

Report = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenFaces:
    """Calibration faces as the network sees them: float32 (n, h, w, channels), and their hash."""

    inputs: Float32Array
    hash: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A float model whose channels are ready to be rounded, and what faces showed of it.

    `tflite` answers as the original does. `faces` are None where a calibration stands for them.
    """

    tflite: bytes
    calibration: CalibrationResult | None
    faces: SeenFaces | None
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` made when this key was first asked for."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made


def prepare(
    float_tflite: bytes,
    recipe: QuantizationRecipe,
    pixel_range: Range,
    faces: SeenFaces | None,
    *,
    calibration: CalibrationResult | None = None,
    source: Path | str = "model",
    report: Report | None = None,
) -> Prepared:
    """Do what a recipe asks for before anything is rounded.

    `calibration`, of the model as it is afterwards, takes the place of another look at `faces`.
    Raises DataError where a method needs faces and there are none, or where the calibration is
    of another model.
    """
    if recipe.needs_faces and faces is None and calibration is None:
        raise DataError("calibration", "has no faces to calibrate on; give a folder of them")
    if faces is None:
        require_no_faces(recipe)
    else:
        float_tflite = with_channels_alike(float_tflite, recipe, pixel_range, faces, report=report)
    if not recipe.needs_faces:
        return Prepared(tflite=float_tflite, calibration=None, faces=faces)
    if calibration is not None:
        calibration = calibration.fitted_to(float_tflite, source=source)
    elif faces is not None:
        calibration = calibrate(
            float_tflite,
            faces.inputs,
            faces_hash=faces.hash,
            source=source,
            progress=_stage(report, "Calibrating"),
        )
    return Prepared(tflite=float_tflite, calibration=calibration, faces=faces)


def require_no_faces(recipe: QuantizationRecipe) -> None:
    """Raise DataError where a recipe needs faces themselves, and a calibration file is all."""
    if recipe.face_methods:
        raise faces_missing(recipe.face_methods[0])


def faces_missing(need: str) -> DataError:
    """Return the error for a calibration file where faces themselves are needed."""
    return DataError(
        "the calibration file",
        f"holds no faces, which {need} needs; give --calibration the dataset itself",
    )


def with_channels_alike(
    float_tflite: bytes,
    recipe: QuantizationRecipe,
    pixel_range: Range,
    faces: SeenFaces,
    *,
    report: Report | None = None,
) -> bytes:
    """Return the model after the equalization and absorption that a recipe asks for."""
    if recipe.equalization:
        float_tflite = equalize(
            float_tflite, faces.inputs, pixel_range, progress=_stage(report, "Equalizing channels")
        )
    if recipe.bias_absorption:
        float_tflite = absorb_high_biases(
            float_tflite, faces.inputs, pixel_range, progress=_stage(report, "Absorbing biases")
        )
    return float_tflite


def to_integers(
    prepared: Prepared,
    recipe: QuantizationRecipe,
    pixel_range: Range,
    *,
    source: Path | str = "model",
    report: Report | None = None,
) -> bytes:
    """Quantize a prepared model by a recipe; see `quantize` for the types at its two ends.

    Raises ModelError where that cannot be done, UsageError where the recipe names an operator
    that there is not, DataError where a method needs faces and there are none.
    """
    if prepared.faces is None:
        require_no_faces(recipe)
    calibration, content = prepared.calibration, graph.read(prepared.tflite)
    plan = operator_plan(content, recipe)
    ranges = _ranges(prepared, recipe, content, plan)
    if not recipe.precision.rounds_weights:
        return quantize(prepared.tflite, ranges, recipe, pixel_range, source=source)
    weights = ranges_by_name(prepared.tflite, recipe.weight_ranges, skipped=plan.floats)
    if recipe.precision.needs_calibration:
        weights = fitting(content, plan, ranges, recipe, pixel_range, weights).weights
    rounded = _rounded(prepared, recipe, weights, plan, report)
    if calibration is not None and recipe.bias_correction:
        rounded = correct_biases(
            prepared.tflite, rounded, calibration.patches(), skipped=plan.floats
        )
    result = quantize(rounded, ranges, recipe, pixel_range, weight_ranges=weights, source=source)
    if calibration is None or prepared.faces is None or not recipe.empirical_bias_correction:
        return result
    return correct_empirically(
        result,
        prepared.tflite,
        calibration.patches(),
        prepared.faces.inputs,
        progress=_stage(report, "Correcting biases by what layers put out"),
    )


def _ranges(
    prepared: Prepared, recipe: QuantizationRecipe, content: graph.Graph, plan: OperatorPlan
) -> Mapping[str, Range]:
    """Return the ranges of activations by name, those of 16 bits where operators have these."""
    calibration, method = prepared.calibration, recipe.activation_ranges
    if calibration is None or not recipe.precision.needs_calibration:
        return {}
    bits = 8 if recipe.precision is Precision.INT8 else 16
    ranges = prepared.once((method, bits), lambda: calibration.ranges(method, bits=bits))
    if not plan.int16:
        return ranges
    wide = prepared.once((method, 16), lambda: calibration.ranges(method, bits=16))
    operands = (content.operands(content.operators[index]) for index in plan.int16)
    names = {tensor.name for tensors in operands for tensor in tensors} & wide.keys()
    return {**ranges, **{name: wide[name] for name in names}}


def _rounded(
    prepared: Prepared,
    recipe: QuantizationRecipe,
    weights: Mapping[str, Float32Array],
    plan: OperatorPlan,
    report: Report | None,
) -> bytes:
    """Round the weights; adaptively once for all recipes that differ in single operators."""
    faces = prepared.faces
    if faces is None or not recipe.adaptive_rounding:
        return round_to_nearest(prepared.tflite, weights, skipped=plan.floats)
    every = replace(recipe, float_operators=(), int16_operators=())
    always = operator_plan(graph.read(prepared.tflite), every).floats
    adapted = prepared.once(
        (recipe.weight_ranges, recipe.bias_correction, always),
        lambda: round_adaptively(
            prepared.tflite,
            faces.inputs,
            ranges_by_name(prepared.tflite, recipe.weight_ranges, skipped=always),
            skipped=always,
            centred=recipe.bias_correction,
            progress=_stage(report, "Rounding weights"),
        ),
    )
    return with_exact_weights(adapted, prepared.tflite, plan.floats - always)


def _stage(report: Report | None, what: str) -> Progress | None:
    if report is None:
        return None
    return lambda done, total: report(what, done, total)
