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
from edgefer.converters.calibration.faces import doubts, require_usable
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.io_types import with_io_types
from edgefer.converters.quantization import Prepared, Report, SeenFaces, prepare, to_integers
from edgefer.converters.quantize import Range, input_quantization
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.shared_normalisation import with_shared_normalisation
from edgefer.converters.verify import Verification, verify
from edgefer.data.disjoint import content_hash
from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import normalise
from edgefer.errors import ModelError
from edgefer.evaluation.inference import inputs_of
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.spec import ModelSpec

Float32Array = npt.NDArray[np.float32]

_VERIFICATION_FACES = 4


@dataclass(frozen=True, kw_only=True)
class ConvertedModel:
    """A verified .tflite that describes itself.

    `prepared` is the float model that was rounded, whose tensors are its own in float. `notes`
    say what is questionable about the calibration faces.
    """

    tflite: bytes
    spec: ModelSpec
    recipe: QuantizationRecipe
    verification: Verification
    prepared: Prepared
    notes: tuple[str, ...] = ()

    @property
    def calibration_hash(self) -> str | None:
        """That of the faces that the conversion saw, None where it saw none."""
        found = self.prepared.calibration
        return None if found is None else found.faces_hash


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
    report: Report | None = None,
) -> ConvertedModel:
    """Convert a trained network; see `Conversion`, which makes several files of one."""
    float_tflite = float_model.from_keras(checkpoint.build(batch_size=1))
    return convert(float_tflite, checkpoint.spec, recipe, calibration, report=report)


def convert(
    float_tflite: bytes,
    spec: ModelSpec,
    recipe: QuantizationRecipe,
    calibration: LabelledFaces | CalibrationResult | None = None,
    *,
    source: Path | str | None = None,
    report: Report | None = None,
) -> ConvertedModel:
    """Make one verified file of a float .tflite by one recipe; see `Conversion`."""
    return Conversion(float_tflite, spec, calibration, source=source, report=report).to(recipe)


class Conversion:
    """One float .tflite that becomes files by several recipes, calibrated once for all of them.

    `calibration` are faces or what was kept of some, needed where a recipe `needs_faces`. Where
    the spec normalises each channel differently, the results' own is the same for all. Raises
    ModelError where the model does not fit its spec, DataError where the faces show too little.
    """

    def __init__(
        self,
        float_tflite: bytes,
        spec: ModelSpec,
        calibration: LabelledFaces | CalibrationResult | None = None,
        *,
        source: Path | str | None = None,
        report: Report | None = None,
    ) -> None:
        self.source = source or spec.name
        _require_fit(float_tflite, spec, self.source)
        self.float_tflite, self.spec = with_shared_normalisation(float_tflite, spec)
        self.pixel_range = pixel_range(self.spec)
        self._report = report
        self._given = calibration
        self._faces: SeenFaces | None = None
        self._prepared: dict[tuple[bool, ...], Prepared] = {}

    def to(self, recipe: QuantizationRecipe) -> ConvertedModel:
        """Make one verified file; ModelError where it fails verification.

        Raises DataError where the calibration is missing or is of another model.
        """
        prepared = self.prepared(recipe)
        content = self.integers(recipe)
        pixels = input_quantization(self.pixel_range, recipe.input_type)
        content = with_io_types(content, recipe.input_type, recipe.output_type, pixels)
        content = metadata.write(content, self.spec, _info(recipe, prepared.calibration))
        samples = _samples(self.spec) if prepared.faces is None else prepared.faces.inputs
        return ConvertedModel(
            tflite=content,
            spec=self.spec,
            recipe=recipe,
            verification=verify(
                content,
                recipe,
                samples[:_VERIFICATION_FACES],
                pixels=pixels,
                source=self.source,
            ),
            prepared=prepared,
            notes=doubts(self._given)
            if isinstance(self._given, LabelledFaces) and recipe.needs_faces
            else (),
        )

    def integers(self, recipe: QuantizationRecipe) -> bytes:
        """Quantize by a recipe, without types of choice at the ends, metadata and verification."""
        return to_integers(
            self.prepared(recipe),
            recipe,
            self.pixel_range,
            source=self.source,
            report=self._report,
        )

    def prepared(self, recipe: QuantizationRecipe) -> Prepared:
        """Return the float model as a recipe wants it before rounding, and its calibration."""
        if not recipe.needs_faces:
            return Prepared(tflite=self.float_tflite, calibration=None, faces=None)
        key = recipe.equalization, recipe.bias_absorption
        if key not in self._prepared:
            given = self._given
            self._prepared[key] = prepare(
                self.float_tflite,
                recipe,
                self.pixel_range,
                self._seen_faces(),
                calibration=given if isinstance(given, CalibrationResult) else None,
                source=self.source,
                report=self._report,
            )
        return self._prepared[key]

    def _seen_faces(self) -> SeenFaces | None:
        if self._faces is None and isinstance(self._given, LabelledFaces):
            require_usable(self._given)
            inputs = inputs_of(self._given.images, self.spec)
            self._faces = SeenFaces(inputs=inputs, hash=faces_hash(self._given))
        return self._faces


def faces_hash(faces: LabelledFaces) -> str:
    """Return a SHA-256 of the faces' pixels, whatever their order, format and names."""
    hashes = sorted(content_hash(image) for image in faces.images)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def pixel_range(spec: ModelSpec) -> Range:
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


def _samples(spec: ModelSpec) -> Float32Array:
    """Return reproducible noise to run a model on that was made without faces."""
    shape = (_VERIFICATION_FACES, spec.input_size, spec.input_size, spec.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return normalise(pixels, spec)


def _info(recipe: QuantizationRecipe, calibration: CalibrationResult | None) -> dict[str, Any]:
    return {
        "recipe": recipe.to_dict(),
        "calibration_hash": None if calibration is None else calibration.faces_hash,
        "versions": {"edgefer": edgefer.__version__, **tool_versions()},
    }


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that decide over a file's bytes."""
    versions = {}
    for package in ("tensorflow", "litert-quantizer", "ai-edge-litert"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
