"""Torch's checkpoints (`.pth`, `.pt`) read without torch, and without executing their pickles.

torch.save writes a zip since version 1.6: `data.pkl` describes the tensors, and each storage is a
file of its own. Before, it wrote five pickles one after the other (a magic number, a version, the
machine's types, the object, the storages' keys) and then the storages. Both are read with Python
alone, which no file can crash; what a file claims is checked before it is read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from edgefer.errors import ModelError
from edgefer.models.formats import torch_arrays, torch_pickle
from edgefer.models.formats.torch_arrays import Array
from edgefer.models.formats.torch_objects import (
    DAMAGED,
    SAVE_WEIGHTS,
    Storage,
    UnreadableError,
    printable,
)
from edgefer.models.formats.torch_pickle import Pickled

MOST_FILE_BYTES = 2**30
MOST_PICKLE_BYTES = 64 * 2**20

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


def read(path: Path) -> Mapping[str, Array]:
    """Read the tensors of a file that torch.save wrote, by name.

    Half precision, bfloat16 and float64 become float32; integers and booleans keep their types.
    The keys of nested dicts and the places in lists are joined with dots; a tensor on its own is
    called `tensor`. What is no tensor (an epoch, an optimizer's settings) is left out. Values are
    not judged: NaN and infinity come through. Raises ModelError where the file is another one, is
    damaged, holds code or a whole module, or is larger than a checkpoint should be.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist; check the path") from exc
    except IsADirectoryError as exc:
        raise ModelError(path, "is a folder; give a checkpoint file") from exc
    except UnreadableError as exc:
        raise ModelError(path, str(exc)) from exc
    except (OSError, ValueError) as exc:
        raise ModelError(path, f"cannot be opened: {exc}") from exc


def _read(file: BinaryIO, file_bytes: int) -> dict[str, Array]:
    if file_bytes > MOST_FILE_BYTES:
        raise UnreadableError(
            f"has {file_bytes / 2**30:.1f} GiB; a checkpoint of at most "
            f"{MOST_FILE_BYTES // 2**30} GiB is read: {SAVE_WEIGHTS}"
        )
    start = file.read(len(_ZIP_MAGIC))
    if not start:
        raise UnreadableError("is empty; copy or download it again")
    file.seek(0)
    if start != _ZIP_MAGIC:
        return _read_legacy(file, file_bytes)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_zip(archive, file_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error) as exc:
        raise UnreadableError(DAMAGED) from exc


def _read_zip(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, Array]:
    names = frozenset(archive.namelist())
    folder = _folder(names)

    def content(name: str, most_bytes: int) -> bytes:
        if folder + name not in names:
            raise UnreadableError(DAMAGED)
        entry = archive.getinfo(folder + name)
        if entry.file_size > most_bytes:
            raise UnreadableError(DAMAGED)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise UnreadableError(f"has a part that torch never writes ({printable(name)})")
        return archive.read(entry)

    def stored(storage: Storage) -> bytes:
        return content(f"data/{storage.key}", torch_arrays.size_bytes(storage))

    described = torch_pickle.load(io.BytesIO(content("data.pkl", MOST_PICKLE_BYTES)))
    is_big = f"{folder}byteorder" in names and content("byteorder", 8) == b"big"
    return torch_arrays.arrays(
        described.value, stored, present_bytes=file_bytes, order=">" if is_big else "<"
    )


def _folder(names: frozenset[str]) -> str:
    """Return the folder that everything in the zip lies in; other zips of torch are told apart."""
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        raise UnreadableError("is an exported program; give it the ending .pt2 to convert it")
    if "constants.pkl" in inner:
        raise UnreadableError(f"is a TorchScript program; {SAVE_WEIGHTS}")
    folders = [name.partition("/")[0] for name in names if name.partition("/")[2] == "data.pkl"]
    if len(folders) != 1:
        raise UnreadableError("is a zip without torch's data.pkl; give a file of torch.save")
    return f"{folders[0]}/"


def _read_legacy(file: BinaryIO, file_bytes: int) -> dict[str, Array]:
    head = io.BytesIO(file.read(MOST_PICKLE_BYTES))
    try:
        magic = torch_pickle.load(head).value
    except UnreadableError as exc:
        raise UnreadableError(
            "is not a checkpoint that torch.save wrote, whatever its name"
        ) from exc
    if magic != _LEGACY_MAGIC:
        raise UnreadableError("is a pickle, but none of torch.save; nothing was executed")
    if torch_pickle.load(head).value != _LEGACY_VERSION:
        raise UnreadableError("is of a version of torch's old format that is not known")
    torch_pickle.load(head)  # the machine's byte order and types, which torch does not heed either
    described = torch_pickle.load(head)
    keys = torch_pickle.load(head).value
    places = _places(file, head.tell(), described, keys)

    def stored(storage: Storage) -> bytes:
        if storage.key not in places:
            raise UnreadableError(DAMAGED)
        file.seek(places[storage.key])
        return file.read(torch_arrays.size_bytes(storage))

    return torch_arrays.arrays(described.value, stored, present_bytes=file_bytes)


def _places(file: BinaryIO, start: int, described: Pickled, keys: Any) -> dict[str, int]:
    """Return where each storage's elements begin: they lie in the order of `keys`, after a count.

    Counts and elements are little-endian on whatever machine they were written.
    """
    places: dict[str, int] = {}
    if not isinstance(keys, list):
        raise UnreadableError(DAMAGED)
    for key in keys:
        storage = described.storages.get(key) if isinstance(key, str) else None
        file.seek(start)
        count = file.read(8)
        if storage is None or count != storage.count.to_bytes(8, "little"):
            raise UnreadableError(DAMAGED)
        places[storage.key] = start + 8
        start += 8 + torch_arrays.size_bytes(storage)
    return places
