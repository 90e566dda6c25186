"""PAtt-Lite out of Keras's files: ours, and the nested model that its authors save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.errors import ModelError
from edgefer.models.keras_files import FileLayer, KerasFile
from edgefer.models.patt_lite import Attention, PattLite

CLASSIFIER = "classification_head"
ATTENTION_SCALE = "attention/scale"
TOKEN_MEAN = "token_mean"  # noqa: S105

NESTED_MODELS = {
    "patch_extraction": ("patch_extraction_1", "patch_extraction_2", "patch_extraction_3"),
    "pre_classification": ("pre_classification", "pre_classification_bn"),
}
"""Models inside the authors' model, and what our flat graph calls their layers, in order."""


def network(
    path: Path, file: KerasFile, *, labels: Sequence[str] | None, input_size: int | None
) -> PattLite:
    """Tell from a file's layers which PAtt-Lite it holds; given options take precedence.

    Raises ModelError where it is another network, or does not say what is needed.
    """
    size = file.input_size if input_size is None else input_size
    if size is None:
        raise ModelError(path, "does not say the size of its input: give it as input_size")
    try:
        found = PattLite(
            labels=_labels(path, _class_count(path, file), labels),
            input_size=size,
            attention=_attention(file),
        )
        found.spec()
    except ValueError as exc:
        raise ModelError(path, f"does not fit PAtt-Lite: {exc}") from exc
    return found


def weights(
    path: Path, file: KerasFile, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Bring a file's weights under our graph's names, `shapes`' keys.

    Raises ModelError that names the first layer for which the graph has no place.
    """
    placed: dict[str, npt.NDArray[np.float32]] = {}
    for layer in file.layers:
        name = _our_name(layer, shapes, placed)
        for variable, values in layer.arrays.items():
            key = f"{name}/{variable}"
            if key not in shapes or key in placed:
                where = f" of {layer.model}" if layer.model else ""
                raise ModelError(
                    path,
                    f"layer {layer.name}{where}: {variable} of shape {values.shape} "
                    "has no place in PAtt-Lite",
                )
            placed[key] = values
    return placed


def label_count_error(path: Path, classes: int, given: int) -> ModelError:
    """Say that the labels given do not fit the classes found."""
    return ModelError(path, f"has {classes} classes, but {given} labels were given")


def _class_count(path: Path, file: KerasFile) -> int:
    for layer in file.layers:
        if layer.name == CLASSIFIER and "bias" in layer.arrays:
            return layer.arrays["bias"].size
    names = [layer.name for layer in file.layers]
    raise ModelError(
        path,
        f"is not a PAtt-Lite: it has no layer {CLASSIFIER}, but {', '.join(names[:3])} "
        f"({len(names)} with weights in all)",
    )


def _labels(path: Path, classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    if given is not None:
        if len(given) != classes:
            raise label_count_error(path, classes, len(given))
        return tuple(given)
    for order in (ALPHABETICAL_8, ALPHABETICAL_7):
        if len(order) == classes:
            return order
    raise ModelError(path, f"has {classes} classes and does not name them: give their labels")


def _attention(file: KerasFile) -> Attention:
    if TOKEN_MEAN in file.layer_names:
        return Attention.TOKENS
    has_scale = any(layer.name == "attention" for layer in file.layers)
    return Attention.BATCH if has_scale else Attention.IDENTITY


def _our_name(layer: FileLayer, shapes: Mapping[str, object], taken: Mapping[str, object]) -> str:
    """Find the place of a layer whose number Keras gave it: the first free one of its kind."""
    for place in NESTED_MODELS.get(layer.model, ()):
        variables = {key.split("/")[1] for key in shapes if key.split("/")[0] == place}
        if variables == set(layer.arrays) and not any(f"{place}/{v}" in taken for v in variables):
            return place
    return layer.name
