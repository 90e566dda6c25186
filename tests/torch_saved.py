"""State dicts as files of torch.save, written without torch."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_KINDS = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage"}


def save(path: Path, states: Mapping[str, Array], *, inside: str = "") -> Path:
    """Write arrays by name as torch.save writes a state dict, below the key `inside` if any."""
    items = b"".join(
        _value(name) + _tensor(str(number), values)
        for number, (name, values) in enumerate(states.items())
    )
    pickled = b"}(" + items + b"u"
    if inside:
        pickled = b"}(" + _value(inside) + pickled + _value("epoch") + _value(7) + b"u"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("archive/byteorder", b"little")
        for number, values in enumerate(states.values()):
            archive.writestr(f"archive/data/{number}", np.ascontiguousarray(values).tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def _tensor(key: str, values: Array) -> bytes:
    """Return the opcodes that describe one tensor, as torch writes them."""
    strides = tuple(int(np.prod(values.shape[axis + 1 :])) for axis in range(values.ndim))
    storage = (
        b"(" + _value("storage") + _name("torch", _KINDS[values.dtype.str[1:]])
        + _value(key) + _value("cpu") + _value(values.size) + b"tQ"
    )  # fmt: skip
    return (
        _name("torch._utils", "_rebuild_tensor_v2")
        + b"(" + storage + _value(0) + _value(values.shape) + _value(strides) + b"\x89"
        + _name("collections", "OrderedDict") + b")R" + b"tR"
    )  # fmt: skip


def _name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def _value(value: Any) -> bytes:
    """Return the opcodes of a plain value, without those that begin and end a pickle."""
    return pickle.dumps(value, 2)[2:-1]
