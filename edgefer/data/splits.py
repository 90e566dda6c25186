"""The parts of a dataset, under the names that public datasets give them."""

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

from edgefer.errors import DataError, UsageError


class Split(StrEnum):
    """A part of a dataset."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


_NAMES = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "valid": Split.VALID,
    "validation": Split.VALID,
    "val": Split.VALID,
    "publictest": Split.VALID,  # FER2013 and FER+
    "test": Split.TEST,
    "testing": Split.TEST,
    "privatetest": Split.TEST,
}


def split_named(word: str) -> Split | None:
    """Return the split that a folder or a column calls `word`, None where it is none."""
    return _NAMES.get(word.strip().lower())


def choose(source: Path, available: Collection[Split], wanted: str | None) -> Split:
    """Return the split to read: the wanted one, or `test`.

    Raises UsageError where no split is called so, DataError where the dataset has no such split.
    """
    split = Split.TEST if wanted is None else split_named(wanted)
    if split is None:
        raise UsageError(f"{wanted!r} is not a split; choose {', '.join(Split)}")
    if split not in available:
        found = " and ".join(part for part in Split if part in available)
        raise DataError(source, f"has no {split} split, only {found or 'none at all'}")
    return split
