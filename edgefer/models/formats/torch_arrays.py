"""Tensors that a file describes, as arrays: their names, their types, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgefer.models.formats.torch_objects import (
    DAMAGED,
    SAVE_WEIGHTS,
    Instance,
    Storage,
    StoredTensor,
    UnreadableError,
    printable,
    require_no_module,
)

MOST_BYTES = 2**30
MOST_VALUES = 500_000
DEEPEST_NESTING = 16

_BFLOAT16 = "bfloat16"
_NUMPY_TYPES: Mapping[str, str] = {
    "FloatStorage": "f4", "float32": "f4",
    "DoubleStorage": "f8", "float64": "f8",
    "HalfStorage": "f2", "float16": "f2",
    "BFloat16Storage": _BFLOAT16, "bfloat16": _BFLOAT16,
    "LongStorage": "i8", "int64": "i8",
    "IntStorage": "i4", "int32": "i4",
    "ShortStorage": "i2", "int16": "i2",
    "CharStorage": "i1", "int8": "i1",
    "ByteStorage": "u1", "uint8": "u1", "UntypedStorage": "u1",
    "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "BoolStorage": "?", "bool": "?",
}  # fmt: skip
"""numpy's codes by torch's names of types and of storages of them; numpy has no bfloat16."""

Array = npt.NDArray[Any]
ByteOrder = Literal["<", ">"]
"""numpy's sign for little and big endian."""


def arrays(
    described: Any, read: Callable[[Storage], bytes], *, present_bytes: int, order: ByteOrder = "<"
) -> dict[str, Array]:
    """Return the tensors in what a pickle describes, by name, each with memory of its own.

    `read` gets a storage's bytes, and `present_bytes` is how many a file has in all. Raises
    UnreadableError before anything is read where the tensors claim more than there is, or more
    than MOST_BYTES.
    """
    tensors = _named_tensors(described)
    storages: dict[Storage, list[str]] = {}
    for name, tensor in tensors.items():
        _require_inside(name, tensor)
        storages.setdefault(tensor.storage, []).append(name)
    if sum(size_bytes(storage) for storage in storages) > present_bytes:
        raise UnreadableError(DAMAGED)
    if sum(math.prod(tensor.shape) * 4 for tensor in tensors.values()) > MOST_BYTES:
        raise UnreadableError(f"has tensors of over {MOST_BYTES // 2**20:,} MiB; {SAVE_WEIGHTS}")
    found = {}
    for storage, names in storages.items():
        content = read(storage)
        if len(content) != size_bytes(storage):
            raise UnreadableError(DAMAGED)
        for name in names:
            found[name] = _array(tensors[name], content, order)
    return {name: found[name] for name in tensors}


def size_bytes(storage: Storage) -> int:
    """Return how many bytes a storage takes; UnreadableError where its type is not supported."""
    return storage.count * _item_bytes(storage.kind)


def _named_tensors(described: Any) -> dict[str, StoredTensor]:
    """Collect tensors from nested dicts and lists, names joined with dots."""
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in _walk(described):
        if name in tensors:
            raise UnreadableError(f"has two tensors called {printable(name)}")
        tensors[name or "tensor"] = tensor
    if not tensors:
        raise UnreadableError(f"has no tensors in it; {SAVE_WEIGHTS}")
    return tensors


def _walk(described: Any) -> Iterator[tuple[str, StoredTensor]]:
    """Yield tensors in order; a stack of iterators, since a file decides how deep it goes."""
    waiting: list[Iterator[tuple[str, Any]]] = [iter([("", described)])]
    seen = 0
    while waiting:
        name, value = next(waiting[-1], (None, None))
        if name is None:
            waiting.pop()
            continue
        seen += 1
        if seen > MOST_VALUES or len(waiting) > DEEPEST_NESTING:
            raise UnreadableError("is nested deeper, or holds more, than a checkpoint does")
        if isinstance(value, StoredTensor):
            yield name, value
        elif isinstance(value, dict | list | tuple):
            waiting.append(_children(name, value))
        elif isinstance(value, Instance):
            require_no_module(value)


def _children(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return ((f"{name}.{key}" if name else str(key), child) for key, child in pairs)


def _require_inside(name: str, tensor: StoredTensor) -> None:
    """Refuse a tensor that reaches beyond its storage: as a view it would show other memory."""
    held = size_bytes(tensor.storage) // _item_bytes(tensor.kind)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if 0 not in tensor.shape and last >= held:
        raise UnreadableError(f"{printable(name)} reaches beyond its storage; copy the file again")


def _item_bytes(kind: str) -> int:
    if kind not in _NUMPY_TYPES:
        raise UnreadableError(f"has tensors of a type that is not supported ({printable(kind)})")
    code = _NUMPY_TYPES[kind]
    return 2 if code == _BFLOAT16 else np.dtype(code).itemsize


def _array(tensor: StoredTensor, content: bytes, order: ByteOrder) -> Array:
    code = _NUMPY_TYPES[tensor.kind]
    if 0 in tensor.shape:
        return _converted(np.zeros(tensor.shape, "u2" if code == _BFLOAT16 else code), code)
    whole = np.frombuffer(
        content, np.dtype("u2" if code == _BFLOAT16 else code).newbyteorder(order)
    )
    strides = [stride * whole.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(whole[tensor.offset :], tensor.shape, strides)
    return _converted(view, code)


def _converted(values: Array, code: str) -> Array:
    """Return floating point as float32, everything else in its own type, as new memory."""
    if code == _BFLOAT16:
        return (values.astype("u4") << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, as it should
        return values.astype(np.float32 if code[0] == "f" else np.dtype(code))
