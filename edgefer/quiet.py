"""Keep foreign libraries from writing to the terminal."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from edgefer.errors import MissingExtraError


@contextmanager
def quiet() -> Iterator[None]:
    """Send stdout and stderr to nowhere, and drop Python's warnings, for the block.

    TensorFlow, its converter and XNNPACK write to file descriptors 1 and 2 from C++, past
    sys.stdout and sys.stderr; progress bars write to these.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with (
        Path(os.devnull).open("w") as nowhere,
        _descriptor_to(nowhere, 1),
        _descriptor_to(nowhere, 2),
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _descriptor_to(file: TextIO, descriptor: int) -> Iterator[None]:
    stream = sys.stdout if descriptor == 1 else sys.stderr
    if stream is not None:
        stream.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # it is closed, so there is nothing to keep clean
        yield
        return
    os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


def load_keras(feature: str) -> None:
    """Import Keras without TensorFlow's greetings on the terminal.

    Raises MissingExtraError that names `feature` where the extra is not installed.
    """
    try:
        with quiet():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    except ImportError as exc:
        raise MissingExtraError(feature, "convert") from exc
