"""Trained weights in and out, without ever executing anything from a file.

edgefer's own format is safetensors: the arrays by `layer/variable`, and one metadata entry
`edgefer` with the network, its options and the ModelSpec as JSON. `read` takes Keras's formats and
PyTorch's as well: it finds out which network a file holds, and maps what other graphs of the same
network call its layers.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgefer.errors import MissingExtraError, ModelError, UsageError
from edgefer.files import replacing
from edgefer.models import file_contract, importing, networks
from edgefer.models.contract import StatedContract
from edgefer.models.formats import keras_files, state_dicts
from edgefer.models.network import Network, Shapes, Weights
from edgefer.models.spec import ModelSpec

if TYPE_CHECKING:
    import keras

FORMAT_VERSION = 1
SUFFIXES = (".safetensors", ".keras", ".h5", ".hdf5", *state_dicts.SUFFIXES)


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


def expected_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a flat model's weights by `layer/variable`."""
    return {
        f"{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in model.layers
        for weight in layer.weights
        if "seed" not in weight.path
    }


def check_weights(shapes: Shapes, weights: Weights, *, source: Path | str) -> None:
    """Raise ModelError that names the first layer that is missing, misshapen or not finite."""
    for key, shape in shapes.items():
        layer, variable = key.split("/")
        if key not in weights:
            raise ModelError(source, f"layer {layer}: {variable} is missing, expected {shape}")
        found = weights[key]
        if tuple(found.shape) != shape:
            raise ModelError(
                source,
                f"layer {layer}: {variable} has shape {tuple(found.shape)}, expected {shape}",
            )
        if not np.isfinite(found).all():
            raise ModelError(source, f"layer {layer}: {variable} has NaN or infinity")


def set_weights(model: keras.Model, weights: Weights, *, source: Path | str) -> None:
    """Give `model` the weights by name; what `weights` holds beyond the model's is left out.

    Raises ModelError that names the first layer that is missing, misshapen or not finite.
    """
    check_weights(expected_shapes(model), weights, source=source)
    for layer in model.layers:
        for weight in layer.weights:
            if "seed" not in weight.path:
                weight.assign(weights[f"{layer.name}/{weight.name}"])


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, in one step."""
    from safetensors.numpy import save_file

    header = {
        "format_version": FORMAT_VERSION,
        "network": networks.name_of(checkpoint.network),
        "options": checkpoint.network.to_dict(),
        "spec": checkpoint.spec.to_dict(),
    }
    arrays = {key: np.array(value, order="C") for key, value in checkpoint.weights.items()}
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
            metadata = file.metadata() or {}
            weights = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
        return _from_metadata(metadata, weights)
    except (OSError, SafetensorError) as exc:
        raise ModelError(path, f"cannot be read as safetensors: {_one_line(exc)}") from exc
    except (KeyError, TypeError, ValueError, RecursionError, UsageError) as exc:
        raise ModelError(path, f"is not an edgefer checkpoint: {_one_line(exc)}") from exc


def _one_line(exc: Exception) -> str:
    return f"{type(exc).__name__} {' '.join(str(exc).split())}"[:200]


def _from_metadata(metadata: Mapping[str, str], weights: Weights) -> Checkpoint:
    header = json.loads(metadata["edgefer"])
    if header["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {header['format_version']}")
    network = networks.create(header["network"], header["options"])
    spec = ModelSpec.from_dict(header["spec"])
    if (spec.labels, spec.input_size) != (network.labels, network.input_size):
        raise ValueError("its network and its spec differ")
    return Checkpoint(network=network, spec=spec, weights=weights)


def read(
    path: Path,
    *,
    labels: Sequence[str] | None = None,
    input_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Checkpoint:
    """Read a checkpoint in any known format, and check that its weights fit the network.

    Takes edgefer's `.safetensors`, Keras 3's `.keras` and `.weights.h5`, and Keras 2's `.h5`, of
    the networks' own graphs or of their authors', and their authors' state dicts (`.pth`, `.pt`).
    Which network it is, the number of classes and the like come from the file. What is given takes
    precedence over what the file says; where it says nothing, 8 and 7 classes of a Keras file are
    taken as alphabetical, and pixels as the authors' code feeds them. Raises ModelError where the
    file is unusable, does not fit, or does not say what is needed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(path, f"has none of the checkpoints' endings {', '.join(SUFFIXES)}")
    start = keras_files.first_bytes(path)
    is_keras = start.startswith((keras_files.HDF5_MAGIC, keras_files.ZIP_MAGIC))
    if path.suffix.lower() == ".safetensors" and not is_keras:
        checkpoint = _with_options(load(path), path, labels, input_size)
        shapes = expected_shapes(checkpoint.network.build(batch_size=None))
    else:
        foreign = importing.open_foreign(path)
        network = foreign.network(labels=labels, input_size=input_size)
        shapes = expected_shapes(network.build(batch_size=None))
        checkpoint = Checkpoint(
            network=network,
            spec=dataclasses.replace(network.spec(), author=""),
            weights=foreign.weights(shapes),
        )
    check_weights(shapes, checkpoint.weights, source=path)
    return _with_normalisation(checkpoint, path, mean, std)


def read_stated(path: Path, stated: StatedContract) -> Checkpoint:
    """Read a checkpoint about which the user says something; UsageError for a spec file."""
    if stated.spec is not None:
        raise UsageError(f"--spec is for models that do not describe themselves; {path} does")
    return read(
        path,
        labels=stated.labels,
        input_size=stated.input_size,
        mean=stated.mean,
        std=stated.std,
    )


def deployable(checkpoint: Checkpoint) -> Checkpoint:
    """Return what a checkpoint is at batch 1, exactly, without coupling between images."""
    network, weights = checkpoint.network.deployable(checkpoint.weights)
    if network == checkpoint.network:
        return checkpoint
    return dataclasses.replace(checkpoint, network=network, weights=weights)


def _with_normalisation(
    checkpoint: Checkpoint, path: Path, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Checkpoint:
    """Let a given mean and std, one value or one a channel, take precedence over the file's."""
    spec = checkpoint.spec

    def each(given: Sequence[float] | None, known: tuple[float, ...]) -> tuple[float, ...]:
        values = known if given is None else tuple(given)
        return values * spec.channels if len(values) == 1 else values

    try:
        spec = dataclasses.replace(spec, mean=each(mean, spec.mean), std=each(std, spec.std))
    except ValueError as exc:
        raise ModelError(path, f"does not go with these options: {exc}") from exc
    return dataclasses.replace(checkpoint, spec=spec)


def _with_options(
    checkpoint: Checkpoint, path: Path, labels: Sequence[str] | None, input_size: int | None
) -> Checkpoint:
    """Let given labels and a given input size take precedence over the file's."""
    network = checkpoint.network
    if labels is not None and len(labels) != len(network.labels):
        raise file_contract.label_count_error(path, len(network.labels), len(labels))
    names = network.labels if labels is None else tuple(labels)
    side = network.input_size if input_size is None else input_size
    try:
        spec = dataclasses.replace(checkpoint.spec, labels=names, input_size=side)
        options = {**network.to_dict(), "labels": names, "input_size": side}
        changed = networks.create(networks.name_of(network), options)
    except ValueError as exc:
        raise ModelError(path, f"does not go with these options: {exc}") from exc
    return dataclasses.replace(checkpoint, network=changed, spec=spec)
