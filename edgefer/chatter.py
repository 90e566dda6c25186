"""The TensorFlow Lite runtime's remarks kept off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep the runtime's INFO lines, which it writes to file descriptor 2, off the terminal."""
    if sys.stderr:
        sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # stderr is closed, so there is nothing to keep clean
        yield
        return
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)  # more than a pipe holds is dropped, and never waited for
    os.dup2(write_end, 2)
    os.close(write_end)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        _pass_on(read_end)


def _pass_on(read_end: int) -> None:
    """Write what the pipe holds to stderr, without its INFO lines, and close the pipe."""
    with open(read_end, "rb") as caught:
        for line in (caught.read() or b"").splitlines(keepends=True):
            if not line.startswith(b"INFO:"):
                os.write(2, line)
