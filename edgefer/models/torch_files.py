"""Arrays out of torch's state dicts (`.pth`, `.pt`), without torch and without executing pickles.

torch.save writes a zip since version 1.6: a pickle `data.pkl` that describes the tensors, and a
file for each storage. Before, it wrote five pickles one after the other (a magic number, a
version, the machine's types, the object, the storages' names) and then the storages. Both are
read here with Python alone, which no file can crash; sizes are checked before anything is read.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ModelError
from edgefer.models import torch_pickle
from edgefer.models.torch_pickle import SAVE_WEIGHTS, Storage, StoredTensor, UnreadableError

MOST_FILE_BYTES = 2**30
MOST_ARRAY_BYTES = 2**30
MOST_PICKLE_BYTES = 64 * 2**20
MOST_VALUES = 200_000
DEEPEST_NESTING = 16

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_DTYPES: Mapping[str, str] = {
    "FloatStorage": "f4", "float32": "f4",
    "DoubleStorage": "f8", "float64": "f8",
    "HalfStorage": "f2", "float16": "f2",
    "BFloat16Storage": "bf", "bfloat16": "bf",
    "LongStorage": "i8", "int64": "i8",
    "IntStorage": "i4", "int32": "i4",
    "ShortStorage": "i2", "int16": "i2",
    "CharStorage": "i1", "int8": "i1",
    "ByteStorage": "u1", "uint8": "u1", "UntypedStorage": "u1",
    "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "BoolStorage": "?", "bool": "?",
}  # fmt: skip
"""numpy's codes by torch's names of storages and types; `bf` is bfloat16, which numpy lacks."""

Array = npt.NDArray[Any]
Storages = Callable[[Storage], bytes]
"""Reads the bytes of a whole storage; its size has been checked."""


def read(path: Path) -> Mapping[str, Array]:
    """Read the tensors of a file of torch.save by name.

    Half precision, bfloat16 and float64 become float32, integers and booleans keep their types.
    The names of nested dicts and lists are joined with dots; a tensor on its own is called
    `tensor`. What is no tensor (an epoch, an optimizer's settings) is left out. Values are not
    looked at: NaN and infinity come through. Raises ModelError where the file is no such file, is
    damaged, holds code or a whole module, or is larger than a checkpoint can be.
    """
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            raise UnreadableError("is a folder; give a checkpoint file")
        if size_bytes > MOST_FILE_BYTES:
            raise UnreadableError(
                f"has {size_bytes / 2**30:.1f} GiB, of at most {MOST_FILE_BYTES / 2**30:g} GiB; "
                "save the weights alone"
            )
        with path.open("rb") as file:
            return _read_zip(file) if file.read(4) == _ZIP_MAGIC else _read_legacy(file)
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist; check the path") from exc
    except UnreadableError as exc:
        raise ModelError(path, str(exc)) from exc
    except (OSError, ValueError) as exc:
        raise ModelError(path, f"cannot be read: {exc}") from exc


def _read_zip(file: io.BufferedReader) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive)
    except (zipfile.BadZipFile, EOFError, RuntimeError, struct.error) as exc:
        raise UnreadableError("is damaged or cut short; copy or download it again") from exc


def _read_archive(archive: zipfile.ZipFile) -> dict[str, Array]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    folder = pickles[0].removesuffix("data.pkl") if pickles else ""
    _require_state_dict(entries, folder)

    def content(name: str, most_bytes: int) -> bytes:
        entry = entries.get(folder + name)
        if entry is None:
            raise UnreadableError(f"lacks a part of it ({name[:80]}); copy or download it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most_bytes:
            raise UnreadableError(f"has a part that torch never writes ({name[:80]})")
        return archive.read(entry)

    def stored(storage: Storage) -> bytes:
        return content(f"data/{storage.key}", MOST_ARRAY_BYTES)

    found = torch_pickle.load(io.BytesIO(content("data.pkl", MOST_PICKLE_BYTES)))
    is_big = f"{folder}byteorder" in entries and content("byteorder", 8) == b"big"
    return _arrays(found, stored, order=">" if is_big else "<")


def _require_state_dict(entries: Mapping[str, object], folder: str) -> None:
    """Tell torch's other zips apart, whose endings are the same."""
    parts = {name.partition("/")[2] for name in entries}
    if "archive_format" in parts or "serialized_exported_program.json" in entries:
        raise UnreadableError("is an exported program; name it .pt2 to convert it")
    if "constants.pkl" in parts:
        raise UnreadableError(f"is a TorchScript program; {SAVE_WEIGHTS}")
    if not folder:
        raise UnreadableError("is a zip without torch's data.pkl; give a file of torch.save")


def _read_legacy(file: io.BufferedReader) -> dict[str, Array]:
    file.seek(0)
    head = io.BytesIO(file.read(MOST_PICKLE_BYTES))
    if not head.getbuffer().nbytes:
        raise UnreadableError("is empty; copy or download it again")
    try:
        magic = torch_pickle.load(head)
    except UnreadableError as exc:
        raise UnreadableError("is not a file of torch.save, whatever its name") from exc
    if magic != _LEGACY_MAGIC:
        raise UnreadableError("is a pickle, but not one of torch.save; nothing was executed")
    if torch_pickle.load(head) != _LEGACY_PROTOCOL:
        raise UnreadableError("is of an unknown version of torch's format")
    machine = torch_pickle.load(head)
    found = torch_pickle.load(head)
    keys = torch_pickle.load(head)
    is_little = isinstance(machine, dict) and machine.get("little_endian") is not False
    order = "<" if is_little else ">"
    file.seek(head.tell())
    return _arrays(found, _legacy_storages(file, found, keys, order), order=order)


def _legacy_storages(file: io.BufferedReader, found: Any, keys: Any, order: str) -> Storages:
    """Find the storages that follow the pickles: each its length, then its elements."""
    kinds = {tensor.storage.key: tensor.storage.kind for _, tensor in _tensors(found)}
    places: dict[str, tuple[int, int]] = {}
    if not isinstance(keys, list):
        raise UnreadableError("is damaged or cut short; copy or download it again")
    end = file.seek(0, io.SEEK_END)
    position = ...
