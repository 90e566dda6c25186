"""Layers and weights out of Keras's files, without loading anything of Keras.

Nothing of a file is ever executed: code in a pickle or an activation is refused, and a Lambda
layer is named, for whoever knows what it should compute. The HDF5 library can crash on a corrupt
file, so `keras_layouts` reads it in a child process and sends back plain arrays.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import child
from edgefer.errors import MissingExtraError, ModelError

Float32Array = npt.NDArray[np.float32]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGICS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))

_CHILD = "edgefer.models.formats.keras_layouts"
READ_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class FileLayer:
    """One layer with weights; `model` is the nested model it belongs to, "" at the top.

    `arrays` are keyed by Keras 3's variable names.
    """

    name: str
    model: str
    arrays: Mapping[str, Float32Array]


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """What a file says of its model.

    `layers` are those with weights, those of one nested model in its order as far as equal
    classes go; `layer_names` are all. `input_size` is the side in pixels that the network proper
    sees (that of a Resizing layer, else of the input), None where the file does not say it.
    `lambdas` are the names of layers that hold code; `gathers` the positions that `tf.gather`
    layers pick, in the order of their numbers.
    """

    layers: tuple[FileLayer, ...]
    layer_names: frozenset[str]
    input_size: int | None
    lambdas: tuple[str, ...] = ()
    gathers: tuple[tuple[int, ...], ...] = ()


def read(path: Path) -> KerasFile:
    """Read a `.keras`, `.weights.h5` or `.h5` file, whatever its name says.

    Raises ModelError where it is none of these, is damaged, or holds code.
    """
    start = first_bytes(path)
    if start.startswith(PICKLE_MAGICS):
        raise code_error(path, "is a pickle")
    if not start.startswith((HDF5_MAGIC, ZIP_MAGIC)):
        raise ModelError(path, "is neither an HDF5 file nor a .keras archive, whatever its name")
    if importlib.util.find_spec("h5py") is None:
        raise MissingExtraError("reading a Keras file", "convert")
    try:
        answer = child.run(
            "edgefer.models.formats.keras_layouts", str(path), timeout_s=READ_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(path, f"could not be read within {READ_TIMEOUT_S:.0f} s") from exc
    if answer.returncode != 0:
        raise ModelError(path, "is damaged, cut short or no Keras model; copy it again")
    return _unpack(path, answer.stdout)


def first_bytes(path: Path) -> bytes:
    """Return a file's first eight bytes; ModelError where there is no file or nothing in it."""
    if path.is_dir():
        raise ModelError(path, "is a folder; give a checkpoint file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist; check the path") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(path, f"cannot be opened: {exc}") from exc
    if not start:
        raise ModelError(path, "is empty; copy or download it again")
    return start


def code_error(path: Path, what: str) -> ModelError:
    """Refuse a file because of code that it holds."""
    return ModelError(path, f"{what}, which holds code; nothing was executed, it is not supported")


def pack(file: KerasFile | None, problem: str = "") -> bytes:
    """Write what was read of a file, or the problem with it, for another process."""
    header = (
        {
            "problem": problem,
            "layers": [[layer.name, layer.model, list(layer.arrays)] for layer in file.layers],
            "layer_names": sorted(file.layer_names),
            "input_size": file.input_size,
            "lambdas": file.lambdas,
            "gathers": file.gathers,
        }
        if file
        else {"problem": problem}
    )
    arrays = [values for layer in file.layers for values in layer.arrays.values()] if file else []
    packed = io.BytesIO()
    np.savez(packed, np.frombuffer(json.dumps(header).encode(), np.uint8), *arrays)
    return packed.getvalue()


def _unpack(path: Path, packed: bytes) -> KerasFile:
    """Read what `pack` wrote; raises ModelError for a problem."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        arrays = iter([file[name] for name in file.files])
    header = json.loads(next(arrays).tobytes())
    if header["problem"]:
        raise ModelError(path, header["problem"])
    return KerasFile(
        layers=tuple(
            FileLayer(
                name=name, model=model, arrays={variable: next(arrays) for variable in variables}
            )
            for name, model, variables in header["layers"]
        ),
        layer_names=frozenset(header["layer_names"]),
        input_size=header["input_size"],
        lambdas=tuple(header["lambdas"]),
        gathers=tuple(tuple(picked) for picked in header["gathers"]),
    )
