"""Trained weights in and out, without ever executing anything from a file.

edgefer's own format is safetensors: the arrays by `layer/variable`, and one metadata entry
`edgefer` with the network, its options and the ModelSpec as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgefer.errors import MissingExtraError, ModelError
from edgefer.files import replacing
from edgefer.models import networks
from edgefer.models.networks import Network
from edgefer.models.spec import ModelSpec

if TYPE_CHECKING:
    import keras

FORMAT_VERSION = 1
Weights = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network with its trained weights; `weights` are keyed `layer/variable`."""

    network: Network
    spec: ModelSpec
    weights: Weights

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the inference graph and give it the weights."""
        model = self.network.build(batch_size=batch_size)
        set_weights(model, self.weights, source=self.spec.name)
        return model


def named_weights(model: keras.Model) -> dict[str, npt.NDArray[np.float32]]:
    """Return a flat model's weights by `layer/variable`, without its random generators' states."""
    return {
        f"{layer.name}/{weight.name}": np.asarray(weight.numpy(), np.float32)
        for layer in model.layers
        for weight in layer.weights
        if "seed" not in weight.path
    }


def set_weights(model: keras.Model, weights: Weights, *, source: Path | str) -> None:
    """Give `model` the weights by name.

    Raises ModelError that names the first layer that is missing or misshapen.
    """
    for layer in model.layers:
        for weight in layer.weights:
            if "seed" in weight.path:
                continue
            key = f"{layer.name}/{weight.name}"
            if key not in weights:
                raise ModelError(source, f"has no weights for {key}, shape {tuple(weight.shape)}")
            found = weights[key]
            if tuple(found.shape) != tuple(weight.shape):
                raise ModelError(
                    source,
                    f"layer {layer.name}: {weight.name} has shape {tuple(found.shape)}, "
                    f"expected {tuple(weight.shape)}",
                )
            if not np.isfinite(found).all():
                raise ModelError(source, f"layer {layer.name}: {weight.name} has NaN or infinity")
            weight.assign(found)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, in one step."""
    from safetensors.numpy import save_file

    header = {
        "format_version": FORMAT_VERSION,
        "network": networks.name_of(checkpoint.network),
        "options": checkpoint.network.to_dict(),
        "spec": checkpoint.spec.to_dict(),
    }
    arrays = {key: np.ascontiguousarray(value) for key, value in checkpoint.weights.items()}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={"edgefer": json.dumps(header)})


def load(path: Path) -> Checkpoint:
    """Read edgefer's own checkpoint; ModelError where it is not one."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as exc:
        raise MissingExtraError("reading a checkpoint", "convert") from exc
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["edgefer"])
            weights = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}
        if header["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {header['format_version']}")
        network = networks.create(header["network"], header["options"])
        spec = ModelSpec.from_dict(header["spec"])
    except (OSError, SafetensorError) as exc:
        raise ModelError(path, f"cannot be read as safetensors: {exc}") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelError(path, f"is not an edgefer checkpoint: {exc}") from exc
    return Checkpoint(network=network, spec=spec, weights=weights)
