"""PAtt-Lite out of Keras's files: ours, and the nested model that its authors save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.errors import ModelError
from edgefer.models import file_contract
from edgefer.models.formats.keras_files import FileLayer, KerasFile, code_error
from edgefer.models.patt_lite.network import Attention, PattLite

CLASSIFIER = "classification_head"
TOKEN_MEAN = "token_mean"  # noqa: S105

NESTED_MODELS = {
    "patch_extraction": ("patch_extraction_1", "patch_extraction_2", "patch_extraction_3"),
    "pre_classification": ("pre_classification", "pre_classification_bn"),
}
"""Models inside the authors' model, and what our flat graph calls their layers, in order."""


def misfit(file: KerasFile) -> str | None:
    """Say what the file lacks to be a PAtt-Lite."""
    return f"no layer {CLASSIFIER}" if _class_count(file) is None else None


def network(
    path: Path, file: KerasFile, *, labels: Sequence[str] | None, input_size: int | None
) -> PattLite:
    """Tell from a file's layers which PAtt-Lite it holds; given options take precedence.

    Raises ModelError where it holds code, or does not say what is needed.
    """
    if file.lambdas:
        raise code_error(path, f"has a Lambda in it ({file.lambdas[0]})")
    try:
        found = PattLite(
            labels=file_contract.labels(path, _class_count(file) or 0, labels),
            input_size=file_contract.input_size(path, file, input_size),
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


def _class_count(file: KerasFile) -> int | None:
    biases = (layer.arrays.get("bias") for layer in file.layers if layer.name == CLASSIFIER)
    return next((bias.size for bias in biases if bias is not None), None)


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
