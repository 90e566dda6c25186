"""The way through: float .tflite → bias correction → integers → types → metadata → verified."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgefer
from edgefer import metadata, runtime
from edgefer.converters import float_model, graph
from edgefer.converters.bias_correction import correct_biases
from edgefer.converters.io_types import with_io_types
from edgefer.converters.operator_plan import operator_plan
from edgefer.converters.quantize import (
    input_quantization,
    quantize,
)
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.shared_normalisation import with_shared_normalisation
from edgefer.converters.verify import Verification, verify
from edgefer.data.disjoint import content_hash
from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.errors import DataError, ModelError
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.spec import ModelSpec
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]

BIAS_CORRECTION_FACES = 96
"""A layer's mean input moves little after some hundred faces: Nagel et al. use as few."""

_VERIFICATION_FACES = 4


@dataclass(frozen=True, kw_only=True)
class ConvertedModel:
    """A verified .tflite that describes itself."""

    tflite: bytes
    spec: ModelSpec
    recipe: QuantizationRecipe
    verification: Verification
    calibration_hash: str | None


def read_float_tflite(path: Path) -> bytes:
    """Read a float .tflite from any tool, with a free batch fixed to 1.

    Raises ModelError where it is missing, corrupt, quantized, or no image classifier.
    """
    runtime.require_loadable(path)
    return float_model.from_tflite(path.read_bytes(), source=path)


def convert_checkpoint(
    checkpoint: Checkpoint,
    recipe: QuantizationRecipe,
    calibration: LabelledFaces | None = None,
    *,
    progress: Progress | None = None,
) -> ConvertedModel:
    """Convert a trained network; see `convert`, which makes several files from one float model."""
    float_tflite = float_model.from_keras(checkpoint.build(batch_size=1))
    return convert(float_tflite, checkpoint.spec, recipe, calibration, progress=progress)


def convert(
    float_tflite: bytes,
    spec: ModelSpec,
    recipe: QuantizationRecipe,
    calibration: LabelledFaces | None = None,
    *,
    source: Path | str | None = None,
    progress: Progress | None = None,
) -> ConvertedModel:
    """Make one verified file of a float .tflite (from `float_model`) by one recipe.

    `calibration` is needed where `recipe.needs_faces`. Raises ModelError where the model
    does not fit its spec or the result fails verification, DataError without calibration faces.
    Where the spec normalises each channel differently, the result's own is the same for all.
    """
    source = source or spec.name
    _require_fit(float_tflite, spec, source)
    float_tflite, spec = with_shared_normalisation(float_tflite, spec)
    pixels = input_quantization(pixel_range(spec), recipe.input_type)
    faces = _normalised(calibration, spec) if recipe.needs_faces else None
    content = _quantized(float_tflite, spec, recipe, faces, source, progress)
    content = with_io_types(content, recipe.input_type, recipe.output_type, pixels)
    used_hash = faces_hash(calibration) if calibration is not None and faces is not None else None
    content = metadata.write(content, spec, _info(recipe, used_hash))
    samples = _samples(spec) if faces is None else faces[:_VERIFICATION_FACES]
    return ConvertedModel(
        tflite=content,
        spec=spec,
        recipe=recipe,
        verification=verify(content, recipe, samples, pixels=pixels, source=source),
        calibration_hash=used_hash,
    )


def faces_hash(faces: LabelledFaces) -> str:
    """Return a SHA-256 of the faces' pixels, whatever their order, format and names."""
    hashes = sorted(content_hash(image) for image in faces.images)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _quantized(
    float_tflite: bytes,
    spec: ModelSpec,
    recipe: QuantizationRecipe,
    faces: Float32Array | None,
    source: Path | str,
    progress: Progress | None,
) -> bytes:
    pixels = pixel_range(spec)
    if faces is None:
        return quantize(float_tflite, _samples(spec), recipe, pixels, source=source)
    corrected = faces[:BIAS_CORRECTION_FACES] if recipe.bias_correction else faces[:0]
    calibrated = faces if recipe.precision.needs_calibration else faces[:0]
    steps = _Steps(progress, total=len(corrected) + len(calibrated))
    if recipe.bias_correction:
        float_tflite = correct_biases(
            float_tflite,
            corrected,
            skipped=operator_plan(graph.read(float_tflite), recipe).floats,
            progress=steps.part(len(corrected)),
        )
    return quantize(
        float_tflite,
        calibrated,
        recipe,
        pixels,
        source=source,
        progress=steps.part(len(calibrated)),
    )


class _Steps:
    """One progress over several parts that each count from zero."""

    def __init__(self, progress: Progress | None, *, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = 0

    def part(self, length: int) -> Progress | None:
        """Return the progress of the next part."""
        report, before, total = self._progress, self._before, self._total
        self._before += length
        if report is None:
            return None
        return lambda done, _: report(before + done, total)


def pixel_range(spec: ModelSpec) -> tuple[float, float]:
    """Return the normalised values of the smallest and the largest pixel."""
    mean, std = spec.mean[0], spec.std[0]
    return -mean / std, (255 - mean) / std


def _require_fit(float_tflite: bytes, spec: ModelSpec, source: Path | str) -> None:
    content = graph.read(float_tflite, source=source)
    found = content.tensors[content.inputs[0]].shape
    wanted = (1, spec.input_size, spec.input_size, spec.channels)
    if found != wanted:
        raise ModelError(source, f"takes an image of {found}, but its description says {wanted}")
    classes = content.tensors[content.outputs[0]].shape
    if classes != (1, len(spec.labels)):
        raise ModelError(source, f"answers with {classes}, for {len(spec.labels)} labels")


def _normalised(calibration: LabelledFaces | None, spec: ModelSpec) -> Float32Array:
    if calibration is None or not len(calibration):
        name = "calibration" if calibration is None else calibration.source
        raise DataError(name, "has no faces to calibrate on; give a folder of them")
    pixels = np.stack([to_pixels(image, spec) for image in calibration.images])
    return normalise(pixels, spec)


def _samples(spec: ModelSpec) -> Float32Array:
    """Return reproducible noise to run a model on that was made without faces."""
    shape = (_VERIFICATION_FACES, spec.input_size, spec.input_size, spec.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return normalise(pixels, spec)


def _info(recipe: QuantizationRecipe, calibration_hash: str | None) -> dict[str, Any]:
    return {
        "recipe": recipe.to_dict(),
        "calibration_hash": calibration_hash,
        "versions": {"edgefer": edgefer.__version__, **_tool_versions()},
    }


def _tool_versions() -> dict[str, str]:
    versions = {}
    for package in ("tensorflow", "litert-quantizer", "ai-edge-litert"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
