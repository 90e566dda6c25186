"""The float model that a quantized file was rounded from, made again from the original.

Equalization and absorption of biases change what layers inside put out, with the same answers. So
they have to be done to the original too before both are compared layer by layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgefer import calibration_data, metadata
from edgefer.converters import graph
from edgefer.converters.conversion import faces_hash, pixel_range
from edgefer.converters.equalization.layer_pairs import layer_pairs
from edgefer.converters.quantization import Report, SeenFaces, with_channels_alike
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.evaluation.inference import inputs_of
from edgefer.models.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a file says that it was made; None stands for what it does not say."""

    recipe: QuantizationRecipe | None
    calibration_hash: str | None


@dataclass(frozen=True, kw_only=True)
class RoundedReference:
    """A float model to compare with; `unlike` names tensors that the file has otherwise."""

    tflite: bytes
    unlike: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def making(path: Path) -> Making:
    """Read how a .tflite was made from its metadata."""
    info = metadata.read(path).info
    stored, hashed = info.get("recipe"), info.get("calibration_hash")
    try:
        recipe = QuantizationRecipe.from_dict(stored) if isinstance(stored, Mapping) else None
    except (TypeError, ValueError):
        recipe = None  # made by another version, whose methods are not known here
    return Making(recipe=recipe, calibration_hash=hashed if isinstance(hashed, str) else None)


def rounded_reference(
    float_tflite: bytes, spec: ModelSpec, made: Making, *, report: Report
) -> RoundedReference:
    """Return what a file was rounded from, by the bundled calibration faces.

    Where it was made with other faces, what these did to the layers inside cannot be repeated:
    then it is the original, and the layers in question are named.
    """
    recipe = made.recipe
    if recipe is None or not (recipe.equalization or recipe.bias_absorption):
        return RoundedReference(tflite=float_tflite)
    faces = calibration_data.calibration_faces()
    hashed = faces_hash(faces)
    if hashed == made.calibration_hash:
        seen = SeenFaces(inputs=inputs_of(faces.images, spec), hash=hashed)
        alike = with_channels_alike(float_tflite, recipe, pixel_range(spec), seen, report=report)
        return RoundedReference(tflite=alike)
    unlike = _between_layers(float_tflite)
    note = (
        f"Equalized or absorbed on other faces than edgefer's own, {len(unlike)} operators "
        "between layers cannot be compared and are left out."
    )
    return RoundedReference(tflite=float_tflite, unlike=unlike, notes=(note,) if unlike else ())


def _between_layers(float_tflite: bytes) -> frozenset[str]:
    """Return the tensors whose channels equalization and absorption may change."""
    content = graph.read(float_tflite)
    return frozenset(
        content.tensors[operator.outputs[0]].name
        for pair in layer_pairs(content)
        for operator in (pair.first.operator, *pair.between)
    )
