"""A bundle's folder on disk: it appears whole or not at all, and takes no one's files away."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgefer.errors import DataError, OutputError, UsageError
from edgefer.shipping.manifest import MANIFEST, files_of, read_manifest, shortened

_SCRIPT = b"#!"


def require_free(folder: Path, *, force: bool) -> None:
    """Check, before any long work, that a bundle can be written to `folder`.

    An empty folder is free; with `force` an earlier bundle is too, unless a file was added to it.
    Raises UsageError where it isn't, OutputError where it cannot be written to.
    """
    try:
        _require_free(folder, force=force)
    except OSError as exc:
        raise OutputError(folder, f"cannot be written: {exc.strerror or exc}") from exc


def write(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write all files by their path in `folder`, in one step; scripts become executable.

    Raises what `require_free` raises, and OutputError where the disk is full.
    """
    require_free(folder, force=force)
    with _replacing(folder.resolve()) as temporary:
        for name, content in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if content.startswith(_SCRIPT):
                path.chmod(0o777 & ~_umask())


def _require_free(folder: Path, *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(folder, "is a file; choose another --output")
    parent = next(path for path in folder.resolve().parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(folder, f"cannot be written: {parent} is not a writable folder")
    if folder.is_dir() and any(folder.iterdir()):
        _require_ours(folder, force=force)


def _require_ours(folder: Path, *, force: bool) -> None:
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} exists and is no bundle of edgefer's: choose another --output")
    if not force:
        raise UsageError(f"{folder} exists: --force replaces the bundle in it")
    try:
        added = files_of(folder) - {MANIFEST, *read_manifest(folder).files}
    except DataError as exc:
        raise UsageError(f"{exc}, or choose another --output") from exc
    if added:
        raise UsageError(
            f"{folder} holds {shortened(min(added))}, which edgefer did not make: "
            "move it away or choose another --output"
        )


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder` that takes its place when the block ends well.

    Whatever ends the block early, Ctrl-C too, removes the temporary folder.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"
        ) as holder:
            made = Path(holder) / "made"
            made.mkdir()
            yield made
            _exchange(folder, made, former=Path(holder) / "former")
    except OSError as exc:
        raise OutputError(folder, f"cannot be written: {exc.strerror or exc}") from exc


def _exchange(folder: Path, made: Path, *, former: Path) -> None:
    """Put `made` in the place of `folder`, or leave all as it was."""
    try:
        if folder.exists():
            folder.rename(former)
        made.rename(folder)
    except BaseException:  # Ctrl-C too
        if former.exists() and not folder.exists():
            former.rename(folder)
        raise


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
