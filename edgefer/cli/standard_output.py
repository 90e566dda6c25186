"""Standard output that remembers whether it was lost."""

import io
import sys
from typing import Any


class StandardOutput(io.FileIO):
    """stdout's file, of which one can tell afterwards whether a write failed.

    An OSError alone doesn't say whose it was: a device's pipe breaks with the same one. After
    the first failure everything is dropped, so that Python's flush at exit has nothing to say.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write `data`; raise the first failure, and swallow what comes after it."""
        if self.failure is not None:
            return len(data)
        try:
            return super().write(data)
        except OSError as exc:
            self.failure = exc
            raise


def install() -> StandardOutput | None:
    """Put a StandardOutput under `sys.stdout`; None where stdout is a terminal or closed.

    Characters that stdout's encoding lacks are escaped from then on instead of being an error.
    """
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    if sys.stdout.isatty():
        sys.stdout.reconfigure(errors="backslashreplace")
        return None
    raw = StandardOutput(sys.stdout.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=sys.stdout.encoding, errors="backslashreplace"
    )
    return raw
