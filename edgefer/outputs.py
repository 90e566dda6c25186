"""Where results may go: a file is replaced only if edgefer made it, or when told to."""

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from edgefer import files
from edgefer.errors import OutputError, UsageError

GENERATOR = '<meta name="generator" content="edgefer'
MADE_BY = "edgefer_version"
RECIPE_MARK = "# A conversion by edgefer"
CALIBRATION_MARK = '{"kind":"edgefer calibration",'


def require_writable(paths: Iterable[Path], *, force: bool) -> None:
    """Check, before any long work, that all `paths` can be written.

    Raises UsageError for a path that comes twice and for a file that edgefer did not make, unless
    `force`, and OutputError for a folder that cannot be written to.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.absolute() in seen:
            raise UsageError(f"{path} would be written twice; give another name")
        seen.add(path.absolute())
        if path.is_dir():
            raise OutputError(path, "is a folder; choose another path")
        if path.exists() and not force and not is_ours(path):
            raise UsageError(f"{path} exists and was not made by edgefer: --force replaces it")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(path, f"cannot be written: {folder} is not a writable folder")


def is_ours(path: Path) -> bool:
    """Say whether edgefer wrote the file, by the mark that it leaves in each kind."""
    try:
        if path.suffix == ".tflite":
            with zipfile.ZipFile(path) as archive:
                return "edgefer.json" in archive.namelist()
        start = files.first_bytes(path, 2000).decode(errors="replace")
        if start.startswith((RECIPE_MARK, CALIBRATION_MARK)) or GENERATOR in start:
            return True
        return path.suffix == ".json" and MADE_BY in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, zipfile.BadZipFile):
        return False
