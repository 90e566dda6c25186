"""What a file of weights leaves open, its labels and its input size, and who decides it."""

from collections.abc import Sequence
from pathlib import Path

from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.errors import ModelError
from edgefer.models.formats.keras_files import KerasFile


def input_size(path: Path, file: KerasFile, given: int | None) -> int:
    """Return the side in pixels: what the user gives, else what the file says."""
    size = file.input_size if given is None else given
    if size is None:
        raise ModelError(path, "does not say the size of its input: give it as input_size")
    return size


def labels(path: Path, classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels given, else 8 or 7 classes in alphabetical order."""
    if given is not None:
        if len(given) != classes:
            raise label_count_error(path, classes, len(given))
        return tuple(given)
    for order in (ALPHABETICAL_8, ALPHABETICAL_7):
        if len(order) == classes:
            return order
    raise ModelError(path, f"has {classes} classes and does not name them: give their labels")


def label_count_error(path: Path, classes: int, given: int) -> ModelError:
    """Say that the labels given do not fit the classes found."""
    return ModelError(path, f"has {classes} classes, but {given} labels were given")
