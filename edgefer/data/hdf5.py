"""Faces as PAtt-Lite's authors store them: HDF5 with X_train, y_train, X_valid, … y_test.

Images are uint8 (n, h, w, 3) RGB or gray (n, h, w), labels integers (n,) whose order is the
alphabetical one, because the authors' loader sorts folder names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgefer.data import images, splits
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.splits import Split
from edgefer.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import h5py


def read_hdf5(
    path: Path, *, split: str | None = None, class_names: Sequence[str] | None = None
) -> LabelledFaces:
    """Read one split; `class_names` name the labels 0, 1, … where they are not alphabetical.

    Without them the largest label of all splits says whether there are 7 or 8 classes. Raises
    DataError for another layout.
    """
    try:
        import h5py
    except ImportError as exc:
        raise MissingExtraError("reading HDF5", "convert") from exc
    try:
        with h5py.File(path, "r") as file:
            part, stored = _all_labels(path, file, split)
            faces = _images(path, file, f"X_{part}")
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise DataError(path, f"cannot be read as HDF5: {reason}") from exc
    labels = stored[part]
    if len(faces) != len(labels):
        raise DataError(path, f"X_{part} has {len(faces)} faces, y_{part} {len(labels)} labels")
    return LabelledFaces(
        source=str(path),
        images=list(faces),
        labels=labels,
        class_names=_class_names(path, list(stored.values()), class_names),
        names=[f"X_{part}[{index}]" for index in range(len(faces))],
    )


def _all_labels(
    path: Path, file: h5py.File, split: str | None
) -> tuple[Split, dict[Split, npt.NDArray[np.int64]]]:
    """Return the split to read, and every split's labels."""
    available = [part for part in Split if f"X_{part}" in file and f"y_{part}" in file]
    if not available:
        raise DataError(path, "is not PAtt-Lite's layout: it has no X_test and y_test")
    part = splits.choose(path, available, split)
    return part, {other: _labels(path, file, f"y_{other}") for other in available}


def _labels(path: Path, file: h5py.File, key: str) -> npt.NDArray[np.int64]:
    stored = _dataset(path, file, key)
    if stored.dtype.kind not in "iu" or stored.shape not in {(stored.size,), (stored.size, 1)}:
        raise DataError(path, f"{key} is {stored.dtype} {stored.shape}, expected integers (n,)")
    return np.asarray(stored[()]).astype(np.int64).reshape(-1)


def _images(path: Path, file: h5py.File, key: str) -> UInt8Array:
    stored = _dataset(path, file, key)
    shape = stored.shape
    gray = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
    fits = gray or (len(shape) == 4 and shape[3] == 3)
    if stored.dtype != np.uint8 or not fits or min(shape[1:3]) < images.SMALLEST_SIDE:
        raise DataError(
            path,
            f"{key} is {stored.dtype} {shape}, expected uint8 (n, h, w, 3) of at least 8x8",
        )
    faces = np.asarray(stored[()], np.uint8)
    return faces.reshape(shape[:3]) if gray else faces


def _dataset(path: Path, file: h5py.File, key: str) -> Any:
    """Return a dataset whose numbers are in the file itself, never in another one it names."""
    import h5py

    stored = file.get(key) if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
        raise DataError(path, f"{key} is not a plain dataset")
    if stored.shape is None:
        raise DataError(path, f"{key} holds no array")
    if stored.nbytes > images.MAX_DECODED_BYTES:
        raise DataError(path, images.TOO_LARGE)
    return stored


def _class_names(
    path: Path, labels: Sequence[npt.NDArray[np.int64]], class_names: Sequence[str] | None
) -> tuple[str, ...]:
    filled = [part for part in labels if part.size]
    low = min((int(part.min()) for part in filled), default=0)
    count = max((int(part.max()) for part in filled), default=0) + 1
    if class_names is None:
        known = {len(order): order for order in (ALPHABETICAL_7, ALPHABETICAL_8)}
        if low < 0 or count not in known:
            raise DataError(
                path,
                f"labels are {low}…{count - 1}, neither 0…6 nor 0…7; name the classes in order",
            )
        return known[count]
    if low < 0 or count > len(class_names):
        raise DataError(
            path, f"labels are {low}…{count - 1}, but {len(class_names)} classes are named"
        )
    return tuple(class_names)
