"""The one way to read labelled faces, whatever they are stored as."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer.data import kaggle
from edgefer.data.faces import LabelledFaces
from edgefer.data.ferplus import read_ferplus
from edgefer.data.folders import read_folder
from edgefer.data.hdf5 import read_hdf5
from edgefer.data.kaggle import read_kaggle
from edgefer.data.labels import canonical
from edgefer.data.protocols import MAJORITY, Protocol
from edgefer.data.splits import split_named
from edgefer.errors import DataError, UsageError
from edgefer.progress import Progress

_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_faces(
    path: Path,
    *,
    split: str | None = None,
    protocol: Protocol = MAJORITY,
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LabelledFaces:
    """Read labelled faces from a folder or a file, recognised by what is in it.

    - a folder with one folder of images a class, or with such folders in train, valid and test;
    - FER+'s arrays, `.npz`;
    - PAtt-Lite's HDF5 with X_train, y_train and so on;
    - Kaggle's fer2013.csv, with FER+'s fer2013new.csv beside it where there is one.

    `split` is train, valid or test; None means test, or everything where a folder has no splits.
    `protocol` turns FER+'s votes into labels and matters for them alone. `class_names` say which
    class folders there are, or what HDF5's labels 0, 1, … mean, in order; FER+ and FER2013 have
    their own. `progress` gets the done and the total of images, or of a CSV's bytes.

    What of the dataset could not be used is in `skipped`. Raises DataError where the dataset
    is unusable, none of it is readable or all of it is of one class; UsageError where options
    don't fit.
    """
    _require_distinct(class_names)
    faces = _read(path, split, protocol, class_names, progress)
    _require_classes(path, faces)
    return faces


def has_splits(path: Path) -> bool:
    """Say whether a dataset comes with train and validation parts: all but a bare class folder."""
    if not path.is_dir():
        return True
    children = list(path.iterdir())
    return any(split_named(child.name) or child.suffix == ".csv" for child in children)


def _read(
    path: Path,
    split: str | None,
    protocol: Protocol,
    class_names: Sequence[str] | None,
    progress: Progress | None,
) -> LabelledFaces:
    if _is_kaggle(path):
        _refuse_class_names(path, class_names)
        return read_kaggle(path, split=split, protocol=protocol, progress=progress)
    if path.is_dir():
        return read_folder(path, split=split, class_names=class_names, progress=progress)
    start = _first_bytes(path)
    if start.startswith(_ZIP):
        _refuse_class_names(path, class_names)
        return read_ferplus(path, split=split, protocol=protocol)
    if start.startswith(_HDF5):
        return read_hdf5(path, split=split, class_names=class_names)
    raise DataError(
        path,
        "is empty"
        if not start
        else "is not a dataset: give a folder with one folder a class, "
        "FER+ as .npz, PAtt-Lite's HDF5 or fer2013.csv",
    )


def _is_kaggle(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in (kaggle.FACES_NAME, kaggle.VOTES_NAME))
    return path.is_file() and path.suffix.lower() == ".csv"


def _first_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise DataError(path, "is neither a folder nor a regular file")
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5))
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc


def _require_distinct(class_names: Sequence[str] | None) -> None:
    if class_names is not None and len({canonical(name) for name in class_names}) < len(
        class_names
    ):
        raise UsageError(f"a class is named twice in {', '.join(class_names)}")


def _refuse_class_names(path: Path, class_names: Sequence[str] | None) -> None:
    if class_names is not None:
        raise UsageError(f"{path} names its own classes; leave out the class names")


def _require_classes(path: Path, faces: LabelledFaces) -> None:
    if not len(faces):
        first = faces.skipped[0] if faces.skipped else None
        why = f"; {len(faces.skipped)} skipped, {first.path}: {first.reason}" if first else ""
        raise DataError(path, f"has no usable face{why}")
    present = np.unique(faces.labels)
    if len(present) == 1:
        name = faces.class_names[int(present[0])]
        raise DataError(path, f"has faces of one class only, {name}; it needs two or more")
