"""The start of an input, and outputs that appear whole or not at all."""

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgefer.errors import OutputError

_GZIP = b"\x1f\x8b"


def first_bytes(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, or of what gzip packed into it.

    Raises OSError where it cannot be read, ValueError where gzip's data are damaged.
    """
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not packed:
            return file.read(most)
        try:
            with gzip.open(file) as unpacked:
                return unpacked.read(most)
        except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
            raise ValueError(f"damaged gzip data: {exc}") from exc


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well.

    Whatever ends the block early, Ctrl-C too, removes the temporary file. Raises OutputError
    where the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as exc:
        raise OutputError(path, f"cannot be written: {exc.strerror or exc}") from exc
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as exc:
        raise OutputError(path, f"cannot be written: {exc.strerror or exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 in one step."""
    write_bytes(path, content.encode())
