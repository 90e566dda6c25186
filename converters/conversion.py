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
from edgefer.converters.calibration.faces import doubts, require_usable
from edgefer.converters.calibration.result import CalibrationResult, calibrate
from edgefer.converters.io_types import with_io_types
from edgefer.converters.operator_plan import operator_plan
from edgefer.converters.quantize import input_quantization, quantize
from edgefer.converters.recipes import QuantizationRecipe, RangeMethod
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

_VERIFICATION_FACES = 4


@dataclass(frozen=True, kw_only=True)
class ConvertedModel:
    """A verified .tflite that describes itself.

    `notes` say what is questionable about the calibration faces.
    """

    tflite: bytes
    spec: ModelSpec
    recipe: QuantizationRecipe
    verification: Verification
    calibration_hash: str | None
    notes: tuple[str, ...] = ()


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
    does not fit its spec or the result fails verification, DataError where the calibration faces
    are missing or show too little. Where the spec normalises each channel differently, the
    result's own is the same for all.
    """
    source = source or spec.name
    _require_fit(float_tflite, spec, source)
    float_tflite, spec = with_shared_normalisation(float_tflite, spec)
    pixels = input_quantization(_pixel_range(spec), recipe.input_type)
    used = _usable(calibration) if recipe.needs_faces else None
    samples = _samples(spec) if used is None else _normalised(used, spec)
    found = None
    if used is not None:
        used_hash = faces_hash(used)
        found = calibrate(
            float_tflite, samples, faces_hash=used_hash, source=source, progress=progress
        )
    content = _quantized(float_tflite, spec, recipe, found, source)
    content = with_io_types(content, recipe.input_type, recipe.output_type, pixels)
    content = metadata.write(content, spec, _info(recipe, found.faces_hash if found else None))
    return ConvertedModel(
        tflite=content,
        spec=spec,
        recipe=recipe,
        verification=verify(
            content, recipe, samples[:_VERIFICATION_FACES], pixels=pixels, source=source
        ),
        calibration_hash=found.faces_hash if found else None,
        notes=() if used is None else doubts(used),
    )


def faces_hash(faces: LabelledFaces) -> str:
    """Return a SHA-256 of the faces' pixels, whatever their order, format and names."""
    hashes = sorted(content_hash(image) for image in faces.images)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _quantized(
    float_tflite: bytes,
    spec: ModelSpec,
    recipe: QuantizationRecipe,
    calibration: CalibrationResult | None,
    source: Path | str,
) -> bytes:
    ranges = {}
    if calibration is not None and recipe.bias_correction:
        float_tflite = correct_biases(
            float_tflite,
            calibration.patches(),
            skipped=operator_plan(graph.read(float_tflite), recipe).floats,
        )
    if calibration is not None and recipe.precision.needs_calibration:
        ranges = calibration.ranges(RangeMethod.MIN_MAX)
    return quantize(float_tflite, ranges, recipe, _pixel_range(spec), source=source)


def _pixel_range(spec: ModelSpec) -> tuple[float, float]:
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


def _usable(calibration: LabelledFaces | None) -> LabelledFaces:
    if calibration is None:
        raise DataError("calibration", "has no faces to calibrate on; give a folder of them")
    require_usable(calibration)
    return calibration


def _normalised(calibration: LabelledFaces, spec: ModelSpec) -> Float32Array:
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
