"""The files that travel behind a .tflite, as a ZIP archive."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

METADATA_NAME = b"TFLITE_METADATA"
OWN_FILE = "edgefer.json"
LABELS_FILE = "labels.txt"

_LARGEST_FILE = 1_000_000
_MOST_FILES = 64
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, OverflowError, RuntimeError, EOFError,
    OSError,
)  # fmt: skip
"""What zipfile raises for a damaged archive."""


class Archive:
    """The files behind a .tflite, none where there is no archive.

    Everything raises ValueError where the archive is damaged or unlike any that a model has.
    """

    def __init__(self, tflite: bytes) -> None:
        self._zip: zipfile.ZipFile | None = None
        try:
            if zipfile.is_zipfile(io.BytesIO(tflite)):
                self._zip = zipfile.ZipFile(io.BytesIO(tflite))
        except _DAMAGED as exc:
            raise ValueError("its archive of files is damaged") from exc
        if len(self.names) > _MOST_FILES:
            raise ValueError(f"it has {len(self.names):,} associated files")

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return () if self._zip is None else tuple(self._zip.namelist())

    def text(self, name: str) -> str:
        """Return a file that is there; ValueError also where it is large, or no UTF-8."""
        if self._zip is None:
            raise ValueError(f"{name} is missing")
        if self._zip.getinfo(name).compress_type not in _PACKINGS:
            raise ValueError(f"{name} is packed in an unusual way")
        try:
            with self._zip.open(name) as packed:
                content = packed.read(_LARGEST_FILE + 1)
        except _DAMAGED as exc:
            raise ValueError(f"{name} is damaged") from exc
        if len(content) > _LARGEST_FILE:
            raise ValueError(f"{name} holds more than {_LARGEST_FILE:,} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"{name} is not UTF-8 text") from exc


def with_files(tflite: bytes, files: Mapping[str, str]) -> bytes:
    """Append an archive: stored, not deflated, as MediaPipe maps the files into memory."""
    whole = io.BytesIO(tflite)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return whole.getvalue()
