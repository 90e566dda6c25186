"""The layouts of Keras's files, read with h5py and json alone, in a process of their own.

Three layouts hold weights: the `.h5` of Keras 2 (and of Keras 3's compatibility mode), whose groups
list their weights' names; Keras 3's `.weights.h5`, which numbers them; and Keras 3's `.keras`, a
zip of that and a config.json. `keras_files.read` runs this module in a child, where a crash of the
HDF5 library, or any exception that a damaged file leads to, harms nobody.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.errors import ModelError
from edgefer.models.formats.keras_files import (
    HDF5_MAGIC,
    FileLayer,
    Float32Array,
    KerasFile,
    code_error,
    first_bytes,
    pack,
)

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
LAMBDA = "Lambda"
LAMBDA_FUNCTION = "__lambda__"

MAX_WEIGHT_BYTES = 512 * 2**20
MAX_CONFIG_BYTES = 16 * 2**20
MAX_LAYERS = 5_000

VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "conv2d_transpose": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "attention": ("scale",),
}
"""The variables of Keras 3's layer classes in the order of their numbers in a file."""


def main() -> None:
    """Read the file that the command line names, and write what was found to stdout."""
    path = Path(sys.argv[1])
    try:
        packed = pack(parse(path))
    except ModelError as exc:
        packed = pack(None, str(exc).removeprefix(f"{path}: "))
    sys.stdout.buffer.write(packed)


def parse(path: Path) -> KerasFile:
    """Read a file in this process.

    Raises ModelError for what a file may not hold, and anything at all where it is damaged.
    """
    if first_bytes(path) == HDF5_MAGIC:
        return _read_hdf5(path, path, config=None)
    return _read_archive(path)


def _read_archive(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.lower().endswith(PICKLE_SUFFIXES):
                raise code_error(path, f"has a pickle in it ({_plain(name)})")
        if not {"config.json", "model.weights.h5"} <= set(archive.namelist()):
            raise ModelError(path, "is a zip without config.json and model.weights.h5: not .keras")
        config = _parse_config(path, _member(path, archive, "config.json", MAX_CONFIG_BYTES))
        weights = _member(path, archive, "model.weights.h5", MAX_WEIGHT_BYTES)
    return _read_hdf5(path, io.BytesIO(weights), config=config)


def _member(path: Path, archive: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    """Decompress one file of a zip.

    Reading an exact number of bytes keeps deflate to it, whatever the file expands to; the other
    methods expand without a bound, and Keras never uses them.
    """
    info = archive.getinfo(name)
    if info.file_size > limit_bytes:
        raise ModelError(path, f"{name} is larger than {limit_bytes // 2**20} MiB")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(path, f"{name} is compressed in a way that Keras never uses")
    with archive.open(info) as member:
        return member.read(info.file_size)


def _parse_config(path: Path, text: str | bytes) -> dict[str, Any]:
    """Parse a model's configuration; code outside of Lambda layers is refused."""
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ModelError(path, "has a configuration that is not a model's")
    for node in _nodes(config):
        is_function = node.get("class_name") == LAMBDA_FUNCTION
        if is_function or node.get("function_type") == "lambda":
            raise code_error(path, f"has a Lambda in it ({_name(node)})")
    return config


def _nodes(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of a configuration, in its order, but nothing inside of a Lambda."""
    waiting: list[Any] = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(reversed(node.values()) if node.get("class_name") != LAMBDA else ())
        elif isinstance(node, list):
            waiting.extend(reversed(node))


def _lambdas(config: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_name(node) for node in _nodes(config) if node.get("class_name") == LAMBDA)


def _gathers(config: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Return the constant positions that `tf.gather` layers pick, in the layers' order."""
    found = []
    for node in _nodes(config):
        options = node.get("config")
        if isinstance(options, dict) and str(options.get("function", "")).endswith("gather"):
            calls = _nodes({"calls": node.get("inbound_nodes")})
            picked = next((call["indices"] for call in calls if "indices" in call), None)
            if isinstance(picked, list) and all(isinstance(index, int) for index in picked):
                found.append((_by_number(_name(node)), tuple(picked)))
    return tuple(picked for _, picked in sorted(found))


def _name(node: dict[str, Any]) -> str:
    config = node.get("config")
    return _plain(config.get("name", "unnamed")) if isinstance(config, dict) else "unnamed"


def _plain(name: object) -> str:
    """Return a name that fits into one line of a message, whatever the file calls things."""
    return "".join(c if c.isprintable() else "?" for c in str(name)[:100])


def _input_size(config: dict[str, Any]) -> int | None:
    layers = [
        (node.get("class_name"), node["config"])
        for node in _nodes(config)
        if isinstance(node.get("config"), dict)
    ]
    for kind, options in layers:
        if kind == "Resizing":
            return _square(options.get("height"), options.get("width"))
    for kind, options in layers:
        if kind == "InputLayer":
            shape = options.get("batch_shape") or options.get("batch_input_shape")
            if isinstance(shape, list) and len(shape) == 4:
                return _square(shape[1], shape[2])
    return None


def _square(height: object, width: object) -> int | None:
    return height if isinstance(height, int) and height == width else None


def _read_hdf5(
    path: Path, source: Path | io.BytesIO, *, config: dict[str, Any] | None
) -> KerasFile:
    import h5py

    with h5py.File(source, "r") as file:
        reader = _Reader(path, file)
        if config is None and "model_config" in file.attrs:
            config = _parse_config(path, file.attrs["model_config"])
        if "layers" in file:
            layers, names = _numbered_layers(reader, _names_by_place(config or {}))
        else:
            layers, names = _named_layers(reader)
    if not layers:
        raise ModelError(path, "holds no layer with weights")
    return KerasFile(
        layers=tuple(layers),
        layer_names=frozenset(names),
        input_size=_input_size(config) if config else None,
        lambdas=_lambdas(config) if config else (),
        gathers=_gathers(config) if config else (),
    )


class _Reader:
    """Reads groups and arrays of one HDF5 file, within bounds and never outside of it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.file = file
        self._bytes_left = MAX_WEIGHT_BYTES

    def group(self, parent: Any, name: str) -> Any:
        """Return the group at `name` below `parent`."""
        import h5py

        found = self._member(parent, name)
        if not isinstance(found, h5py.Group):
            raise ModelError(self.path, f"has no group at {_plain(name)}, where layers should be")
        return found

    def _member(self, parent: Any, name: str) -> Any:
        """Return what lies at `name` below `parent`; links to elsewhere are refused."""
        import h5py

        for part in filter(None, name.split("/")):
            if not isinstance(parent.get(part, getlink=True), h5py.HardLink):
                raise ModelError(self.path, f"links from {_plain(part)} to somewhere else")
            parent = parent[part]
        return parent

    def array(self, group: Any, name: str, layer: str) -> Float32Array:
        """Return one weight array as float32; half and double precision are converted."""
        import h5py

        dataset = self._member(group, name)
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise ModelError(self.path, f"layer {layer} has no weights of its own in this file")
        self._bytes_left -= max(4, dataset.dtype.itemsize) * dataset.size
        if self._bytes_left < 0:
            raise ModelError(self.path, f"has more than {MAX_WEIGHT_BYTES // 2**20} MiB of weights")
        if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype.itemsize == 2:
            halves = np.asarray(dataset[()]).view(np.uint16)
            return np.asarray(halves.astype(np.uint32) << 16).view(np.float32)
        if dataset.dtype.kind in "OV":
            raise code_error(self.path, f"layer {layer} has objects for weights, maybe a pickle")
        if dataset.dtype.kind != "f":
            raise ModelError(self.path, f"layer {layer}: {dataset.dtype} weights, expected float")
        with np.errstate(over="ignore"):
            return np.asarray(dataset[()], np.float32)


def _named_layers(reader: _Reader) -> tuple[list[FileLayer], list[str]]:
    """Read Keras 2's layout: a group a layer of the outer model, with its weights' full names."""
    root = reader.file
    if "model_weights" in root:
        root = reader.group(root, "model_weights")
    if "layer_names" not in root.attrs:
        raise ModelError(reader.path, "is an HDF5 file, but no Keras model's")
    names = _texts(root.attrs["layer_names"])
    found: dict[tuple[str, str], dict[str, Float32Array]] = {}
    for outer in names:
        group = reader.group(root, outer)
        for full_name in _texts(group.attrs["weight_names"]):
            parts = full_name.removesuffix(":0").split("/")
            inner = _plain(parts[-2] if len(parts) > 1 else outer)
            model = "" if inner == outer else _plain(outer)
            arrays = found.setdefault((model, inner), {})
            if len(found) > MAX_LAYERS:
                raise ModelError(reader.path, f"has more than {MAX_LAYERS} layers")
            arrays[_plain(parts[-1])] = reader.array(group, full_name, inner)
    layers = [
        FileLayer(name=name, model=model, arrays=_in_keras_3_names(arrays))
        for (model, name), arrays in found.items()
    ]
    return layers, names


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _in_keras_3_names(arrays: dict[str, Float32Array]) -> dict[str, Float32Array]:
    """Rename what Keras 3 calls otherwise: a depthwise convolution's only kernel."""
    if "depthwise_kernel" in arrays and "pointwise_kernel" not in arrays:
        return {name.removeprefix("depthwise_"): array for name, array in arrays.items()}
    return arrays


def _numbered_layers(
    reader: _Reader, names_by_place: Mapping[str, str]
) -> tuple[list[FileLayer], list[str]]:
    """Read Keras 3's layout: `layers/conv2d_1/vars/0`, nested models below `layers` of a layer."""
    layers: list[FileLayer] = []
    names: list[str] = []
    waiting = [("", "", reader.file)]
    while waiting:
        model, place, group = waiting.pop(0)
        members = reader.group(group, "layers")
        for key in sorted(members, key=_by_number):
            member, member_place = reader.group(members, key), f"{place}/{key}"
            variables = reader.group(member, "vars")
            name = variables.attrs.get("name") or names_by_place.get(member_place)
            if name is None:
                raise ModelError(
                    reader.path,
                    "was written by a Keras too old to name its layers; save it there as .keras",
                )
            name = _plain(name)
            names.append(name)
            if len(names) > MAX_LAYERS:
                raise ModelError(reader.path, f"has more than {MAX_LAYERS} layers")
            if "layers" in member:
                waiting.append((name, member_place, member))
            elif len(variables):
                arrays = _numbered_arrays(reader, variables, key, name)
                layers.append(FileLayer(name=name, model=model, arrays=arrays))
    return layers, names


def _by_number(key: str) -> tuple[str, int]:
    """Sort `dense_10` behind `dense_9`."""
    stem, _, number = key.rpartition("_")
    return (stem, int(number)) if number.isdecimal() else (key, 0)


def _numbered_arrays(
    reader: _Reader, variables: Any, key: str, layer: str
) -> dict[str, Float32Array]:
    kind = _by_number(key)[0]
    if kind not in VARIABLES or len(variables) > len(VARIABLES[kind]):
        raise ModelError(
            reader.path, f"layer {layer} is a {_plain(kind)}, which edgefer does not know"
        )
    return {
        name: reader.array(variables, str(number), layer)
        for number, name in enumerate(VARIABLES[kind][: len(variables)])
    }


def _names_by_place(config: dict[str, Any]) -> dict[str, str]:
    """Work out where Keras 3 puts each layer: classes in snake case, counted in each model.

    Keras before 3.8 does not write a layer's name beside its weights.
    """
    names: dict[str, str] = {}
    waiting = [("", config)]
    while waiting:
        place, model = waiting.pop(0)
        counted: Counter[str] = Counter()
        options = model.get("config")
        for layer in options.get("layers", []) if isinstance(options, dict) else []:
            kind = _snake_case(str(layer["class_name"]))
            number = counted[kind]
            counted[kind] += 1
            layer_place = f"{place}/{kind}_{number}" if number else f"{place}/{kind}"
            names[layer_place] = _name(layer)
            waiting.append((layer_place, layer))
    return names


def _snake_case(class_name: str) -> str:
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


if __name__ == "__main__":
    main()
