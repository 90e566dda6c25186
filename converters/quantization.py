"""One recipe's way to integers: equalize, absorb, calibrate, round, correct biases, quantize."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.adaptive_rounding import round_adaptively
from edgefer.converters.bias_absorption import absorb_high_biases
from edgefer.converters.bias_correction import correct_biases
from edgefer.converters.calibration.result import CalibrationResult, calibrate
from edgefer.converters.empirical_bias_correction import correct_empirically
from edgefer.converters.equalization import equalize
from edgefer.converters.operator_plan import operator_plan
from edgefer.converters.quantize import Range, quantize
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.weight_ranges import ranges_by_name
from edgefer.converters.weight_rounding import round_to_nearest
from edgefer.errors import DataError
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]

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
    if recipe.needs_face_images and faces is None:
        raise DataError(
            "a calibration file",
            "does not hold the faces that equalization, adaptive rounding and empirical bias "
            "correction need; give --calibration a dataset",
        )
    if faces is not None and recipe.equalization:
        float_tflite = equalize(
            float_tflite, faces.inputs, pixel_range, progress=_stage(report, "Equalizing channels")
        )
    if faces is not None and recipe.bias_absorption:
        float_tflite = absorb_high_biases(
            float_tflite, faces.inputs, pixel_range, progress=_stage(report, "Absorbing biases")
        )
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
    else:
        raise DataError("calibration", "has no faces to calibrate on; give a folder of them")
    return Prepared(tflite=float_tflite, calibration=calibration, faces=faces)


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
    that there is not.
    """
    calibration = prepared.calibration
    ranges: Mapping[str, Range] = {}
    if calibration is not None and recipe.precision.needs_calibration:
        ranges = calibration.ranges(recipe.activation_ranges)
    if not recipe.precision.rounds_weights:
        return quantize(prepared.tflite, ranges, recipe, pixel_range, source=source)
    skipped = operator_plan(graph.read(prepared.tflite), recipe).floats
    weights = ranges_by_name(prepared.tflite, recipe.weight_ranges, skipped=skipped)
    rounded = _rounded(prepared, recipe, weights, skipped, report)
    if calibration is not None and recipe.bias_correction:
        rounded = correct_biases(prepared.tflite, rounded, calibration.patches(), skipped=skipped)
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


def _rounded(
    prepared: Prepared,
    recipe: QuantizationRecipe,
    weights: Mapping[str, Float32Array],
    skipped: frozenset[int],
    report: Report | None,
) -> bytes:
    if prepared.faces is None or not recipe.adaptive_rounding:
        return round_to_nearest(prepared.tflite, weights, skipped=skipped)
    return round_adaptively(
        prepared.tflite,
        prepared.faces.inputs,
        weights,
        skipped=skipped,
        centred=recipe.bias_correction,
        progress=_stage(report, "Rounding weights"),
    )


def _stage(report: Report | None, what: str) -> Progress | None:
    if report is None:
        return None
    return lambda done, total: report(what, done, total)
