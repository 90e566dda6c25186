"""Backbone weights to start from: ImageNet's, from Keras's download or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgefer.errors import DataError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from edgefer.models.network import Weights

IMAGENET = "imagenet"


def backbone(source: str) -> Weights:
    """Return MobileNetV1 weights by `layer/variable`, up to `conv_dw_9`.

    `source` is `imagenet`, which Keras downloads, or an .npz file with the same names.
    """
    return _downloaded() if source == IMAGENET else _from_file(Path(source))


def _from_file(path: Path) -> Weights:
    try:
        with np.load(path, allow_pickle=False) as file:
            weights = {key: np.asarray(file[key], np.float32) for key in file.files}
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist; give the backbone's .npz file") from exc
    except (OSError, ValueError, EOFError) as exc:
        raise ModelError(path, "is not an .npz of backbone weights") from exc
    if "conv1/kernel" not in weights:
        raise ModelError(path, "holds no MobileNetV1 weights (conv1/kernel is missing)")
    return weights


def _downloaded() -> Weights:
    try:
        import keras
    except ImportError as exc:
        raise MissingExtraError("training", "convert") from exc
    try:
        model = keras.applications.MobileNet(input_shape=(224, 224, 3), include_top=False)
    except Exception as exc:
        raise DataError(
            "ImageNet weights", "could not be downloaded; give a file with --backbone FILE.npz"
        ) from exc
    last = [layer.name for layer in model.layers].index("conv_dw_9_relu")
    return {
        f"{layer.name}/{weight.name}": np.asarray(weight.numpy(), np.float32)
        for layer in model.layers[: last + 1]
        for weight in layer.weights
    }
