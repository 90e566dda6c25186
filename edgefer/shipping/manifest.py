"""edgefer-bundle.json: which files a bundle has, and whether they are still the same."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgefer.errors import DataError
from edgefer.records import STRICT, InvalidRecordError, from_json

FORMAT: Literal[1] = 1
MANIFEST = "edgefer-bundle.json"

LARGEST_JSON_BYTES = 1 << 22
LARGEST_FILE_BYTES = 1 << 31
LONGEST_NAME = 1000

_SAFE_PART = re.compile(r"[^\x00-\x1f\x7f\\:]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@STRICT
@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of edgefer-bundle.json; `files` are SHA-256 by path, relative with slashes."""

    format: Literal[1]
    target: str
    edgefer: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, digest in self.files.items():
            if not is_inside(name):
                raise ValueError(f"{shortened(name)!r} is no path inside of the bundle")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"the hash of {shortened(name)!r} is no SHA-256")


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How a bundle's files differ from its list, by name."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]


def is_inside(name: str) -> bool:
    """Say whether a path from outside stays in the folder that it is relative to."""
    path = PurePosixPath(name)
    return (
        0 < len(name) <= LONGEST_NAME
        and name == path.as_posix() != "."
        and not path.is_absolute()
        and all(part != ".." and _SAFE_PART.fullmatch(part) for part in path.parts)
    )


def shortened(name: str) -> str:
    """Return a name from outside in a length that fits on a line."""
    return name if len(name) <= 80 else f"{name[:79]}…"


def sha256(content: bytes) -> str:
    """Return the hash that a manifest holds."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's list of files; DataError where `folder` is no bundle."""
    path = folder / MANIFEST
    try:
        if not folder.is_dir():
            raise DataError(folder, "is no folder" if folder.exists() else "does not exist")
        if not path.exists():
            raise DataError(folder, f"is no bundle of edgefer's: it has no {MANIFEST}")
    except OSError as exc:
        raise DataError(folder, f"cannot be read: {exc.strerror or exc}") from exc
    try:
        return from_json(Manifest, read_json_bytes(path))
    except InvalidRecordError as exc:
        raise DataError(path, f"is no list of a bundle's files ({exc}); ship it again") from exc


def read_json_bytes(path: Path) -> bytes:
    """Return a JSON file of a bundle; DataError where it is far too large or cannot be read."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(path, "is not a regular file; ship the bundle again")
        if status.st_size > LARGEST_JSON_BYTES:
            raise DataError(path, "is too large to be edgefer's; ship the bundle again")
        return path.read_bytes()
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc


def differences(folder: Path, manifest: Manifest) -> Differences:
    """Compare the files below `folder` with the list; DataError where one cannot be read."""
    present = files_of(folder) - {MANIFEST}
    listed = set(manifest.files)
    return Differences(
        changed=tuple(
            name
            for name in sorted(present & listed)
            if _digest(folder / name) != manifest.files[name]
        ),
        missing=tuple(sorted(listed - present)),
        added=tuple(sorted(present - listed)),
    )


def files_of(folder: Path) -> set[str]:
    """Return all below `folder` that is no folder, links too, relative with slashes."""
    found: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_raise_unreadable):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found.update((Path(place) / name).relative_to(folder).as_posix() for name in files + links)
    return found


def _raise_unreadable(error: OSError) -> None:
    raise DataError(error.filename, f"cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str | None:
    """Return a file's hash; None for a link, a device, or a file too large to be edgefer's."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE_BYTES:
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc
