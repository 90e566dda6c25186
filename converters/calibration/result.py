"""What calibration found, as a file that stands for the faces and holds none of them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.calibration.density import Range
from edgefer.converters.calibration.identity import ModelIdentity, identity, is_of
from edgefer.converters.calibration.patches import corrected_layers, mean_patch
from edgefer.converters.calibration.ranges import activation_range
from edgefer.converters.calibration.statistics import TensorStatistics, float_tensors, gather
from edgefer.converters.recipes import RangeMethod
from edgefer.errors import DataError
from edgefer.files import first_bytes, write_bytes
from edgefer.progress import Progress
from edgefer.records import STRICT, InvalidRecordError, from_json, to_dict

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

MOST_BYTES = 64_000_000
"""Ten times what a network of 400 tensors takes."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class MeanPatch:
    """What a layer's kernel sees on average; `layer` is the tensor that the layer writes."""

    layer: str
    shape: tuple[int, int, int]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or math.prod(self.shape) != len(self.values):
            raise ValueError(f"{len(self.values)} values do not fill a patch of {self.shape}")


@STRICT
@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """Everything that a conversion asks of faces, for one float model.

    `faces_hash` is that of the `faces` faces. `tensors` are the graph's float tensors and
    `mean_patches` its corrected layers, both in the file's order.
    """

    kind: Literal["edgefer calibration"] = "edgefer calibration"
    schema_version: Literal[1] = 1
    model: ModelIdentity
    faces_hash: str
    faces: int
    tensors: tuple[TensorStatistics, ...]
    mean_patches: tuple[MeanPatch, ...]

    def __post_init__(self) -> None:
        if self.faces < 1:
            raise ValueError("faces are no number above zero")

    def ranges(self, method: RangeMethod, *, bits: int = 8) -> dict[str, Range]:
        """Return each tensor's range by name, for integers of 8 or 16 bits."""
        return {
            tensor.tensor: activation_range(tensor, method, bits=bits) for tensor in self.tensors
        }

    def patches(self) -> dict[str, Float64Array]:
        """Return each corrected layer's mean patch by the tensor that the layer writes."""
        return {
            patch.layer: np.array(patch.values, np.float64).reshape(patch.shape)
            for patch in self.mean_patches
        }

    def fitted_to(self, float_tflite: bytes, *, source: Path | str = "model") -> CalibrationResult:
        """Return the result with the names that a float .tflite has; DataError for another model.

        The same network built anew has other names.
        """
        content = graph.read(float_tflite, source=source)
        tensors, layers = float_tensors(content), corrected_layers(content)
        sizes = len(self.tensors), len(self.mean_patches)
        if not is_of(self.model, content) or sizes != (len(tensors), len(layers)):
            raise DataError(
                "the calibration", f"is of another float model than {source}; calibrate that one"
            )
        return dataclasses.replace(
            self,
            tensors=tuple(
                dataclasses.replace(known, tensor=tensor.name)
                for known, tensor in zip(self.tensors, tensors, strict=True)
            ),
            mean_patches=tuple(
                dataclasses.replace(known, layer=content.tensors[layer.operator.outputs[0]].name)
                for known, layer in zip(self.mean_patches, layers, strict=True)
            ),
        )


def calibrate(
    float_tflite: bytes,
    faces: Float32Array,
    *,
    faces_hash: str,
    source: Path | str = "model",
    progress: Progress | None = None,
) -> CalibrationResult:
    """Run a float .tflite once on each face; see `statistics.gather` for what is raised.

    `faces` are float32 (n, h, w, channels), normalised; `faces_hash` tells them from others.
    """
    content = graph.read(float_tflite, source=source)
    found = gather(float_tflite, content, faces, source=source, progress=progress)
    patches = []
    for layer in corrected_layers(content):
        patch = mean_patch(layer, found.mean_inputs[layer.operator.inputs[0]])
        name = content.tensors[layer.operator.outputs[0]].name
        height, width, channels = patch.shape
        values = tuple(_shortest(value) for value in patch.astype(np.float32).ravel())
        patches.append(MeanPatch(layer=name, shape=(height, width, channels), values=values))
    return CalibrationResult(
        model=identity(content),
        faces_hash=faces_hash,
        faces=len(faces),
        tensors=found.tensors,
        mean_patches=tuple(patches),
    )


def write(path: Path, result: CalibrationResult) -> None:
    """Write a result as JSON, packed if the name ends in .gz; the same result is the same file."""
    text = json.dumps(to_dict(result), separators=(",", ":"), allow_nan=False) + "\n"
    content = text.encode()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def is_calibration(path: Path) -> bool:
    """Say whether a file begins as a JSON object or is packed by gzip, as no dataset is."""
    try:
        return path.is_file() and first_bytes(path, 64).lstrip().startswith(b"{")
    except ValueError:  # of damaged gzip data, of which `read` tells
        return True
    except OSError:
        return False


def read(path: Path) -> CalibrationResult:
    """Read a result; DataError that says where it is not one."""
    try:
        content = first_bytes(path, MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(path, f"cannot be read: {reason}; check its path") from exc
    if len(content) > MOST_BYTES:
        raise DataError(path, f"is larger than {MOST_BYTES:,} bytes, which no calibration is")
    try:
        return from_json(CalibrationResult, content)
    except InvalidRecordError as exc:
        raise DataError(path, f"is not a calibration of edgefer's: {exc}; make it again") from exc


def _shortest(value: np.float32) -> float:
    """Return the number of fewest digits that is the same in float32, which keeps files small."""
    return float(str(value))
