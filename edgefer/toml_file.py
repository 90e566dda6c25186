"""TOML files that people write, read with bounds and answered in one line."""

import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 1_000_000
_LONGEST_SHOWN = 60


class TomlFileError(ValueError):
    """Why a file cannot be read; the message goes on after the file's name."""


def read(path: Path, *, kind: str) -> dict[str, Any]:
    """Return what a TOML file says; `kind` is what it should be, for messages."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise TomlFileError(f"cannot be read: {reason}; check its path") from exc
    if len(content) > MOST_BYTES:
        raise TomlFileError(f"is larger than {MOST_BYTES:,} bytes, which no {kind} is")
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise TomlFileError(f"is not TOML: {reason[:200]}") from exc


def shown(value: Any) -> str:
    """Return a value from a file such that it fits into a line and steers no terminal."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
