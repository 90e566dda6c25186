"""What each method of an int8 conversion is worth, alone and together, on FER+'s test faces.

    python benchmarks/peers/methods.py FERPLUS.npz [patt-lite | lanmsff | CHECKPOINT] [METHOD ...]

Calibrated on edgefer's bundled faces; majority protocol, each face alone, against the float model.
Prints a Markdown row as soon as a method is measured; METHODs are parts of rows' names.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgefer import calibration_data, runtime
from edgefer.converters.conversion import Conversion
from edgefer.converters.job import open_float
from edgefer.converters.recipes import INT8, QuantizationRecipe, RangeMethod, WeightRange
from edgefer.converters.search.held_out import HeldOutFaces
from edgefer.converters.search.ladder import plain
from edgefer.data.reading import read_faces
from edgefer.models import bundled
from edgefer.models.contract import StatedContract

PLAIN = plain(INT8)
EVERYTHING = replace(
    INT8, equalization=True, adaptive_rounding=True, empirical_bias_correction=True
)

METHODS: dict[str, QuantizationRecipe] = {
    "plain: min-max, nearest, no correction": PLAIN,
    **{
        f"{method} activation ranges": replace(PLAIN, activation_ranges=method)
        for method in RangeMethod
        if method is not RangeMethod.MIN_MAX
    },
    "equalization": replace(PLAIN, equalization=True),
    "bias absorption": replace(PLAIN, bias_absorption=True),
    "mse weight ranges": replace(PLAIN, weight_ranges=WeightRange.MSE),
    "adaptive rounding": replace(PLAIN, adaptive_rounding=True),
    "empirical bias correction": replace(PLAIN, empirical_bias_correction=True),
    "analytic bias correction (--int8)": INT8,
    "analytic, mse activation ranges": replace(INT8, activation_ranges=RangeMethod.MSE),
    "analytic, equalization": replace(INT8, equalization=True),
    "analytic, adaptive rounding": replace(INT8, adaptive_rounding=True),
    "analytic, empirical": replace(INT8, empirical_bias_correction=True),
    "analytic, head in float": replace(INT8, head_in_float=True),
    "equalization, adaptive rounding, analytic, empirical": EVERYTHING,
    "the same, head in float": replace(EVERYTHING, head_in_float=True),
}


def main(data: Path, model: str, wanted: list[str]) -> None:
    """Convert, compare, print."""
    source = bundled.models().get(model) or Path(model)
    original = open_float(source, StatedContract())
    conversion = Conversion(
        original.tflite, original.spec, calibration_data.calibration_faces(), source=source
    )
    faces = HeldOutFaces(read_faces(data), conversion.spec, conversion.float_tflite)
    probabilities = runtime.open_made(conversion.float_tflite).probabilities(faces.inputs)
    accuracy = float(np.mean(probabilities.argmax(axis=1) == faces.truth))
    print(f"{source.name}, float32: {100 * accuracy:.2f}% of {len(faces):,} faces\n")
    print("| method | drop, points | 95% interval | agreement | mean abs. change | MB | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, recipe in METHODS.items():
        if wanted and not any(part in name for part in wanted):
            continue
        started = time.perf_counter()
        tflite = conversion.to(recipe).tflite
        seconds = time.perf_counter() - started
        found = faces.compare(tflite)
        print(
            f"| {name} | {found.drop_points:+.2f} | "
            f"{found.drop_low_points:+.2f}…{found.drop_high_points:+.2f} | "
            f"{100 * found.agreement:.2f}% | {found.mean_probability_change:.5f} | "
            f"{len(tflite) / 1e6:.2f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else bundled.DEFAULT, sys.argv[3:])
