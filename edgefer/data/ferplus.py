"""FER2013's faces with FER+'s crowd votes, as one .npz file.

For each split `train`, `valid` and `test` it holds `*_images`, uint8 (n, h, w) gray; `*_votes`,
integers (n, 10) in the order of FERPLUS_VOTES; `*_names`, text (n,).
"""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.data import images, splits
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import FERPLUS_VOTES
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.protocols import EMOTIONS, MAJORITY, Protocol, label_votes
from edgefer.data.splits import Split
from edgefer.errors import DataError

_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error),  # cut off or damaged
    *(ValueError, TypeError, OverflowError, MemoryError),  # a header that lies
    *(SyntaxError, tokenize.TokenError),  # a header that numpy takes for Python 2's
    *(NotImplementedError, RuntimeError),  # a compression or encryption that zipfile has not
)


@dataclass(frozen=True, kw_only=True)
class FerPlusArrays:
    """One split: `images` uint8 (n, h, w), `votes` int64 (n, 10), `names` text (n,)."""

    images: UInt8Array
    votes: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]


def read_ferplus(
    path: Path, *, split: str | None = None, protocol: Protocol = MAJORITY
) -> LabelledFaces:
    """Read the faces of one split that count under `protocol`; DataError for another layout."""
    arrays = read_arrays(path, split=split)
    labelled = label_votes(arrays.votes, protocol)
    return LabelledFaces(
        source=str(path),
        images=list(arrays.images[labelled.kept]),
        labels=labelled.labels,
        class_names=EMOTIONS,
        names=arrays.names[labelled.kept].tolist(),
        votes=labelled.votes,
    )


def read_arrays(path: Path, *, split: str | None = None) -> FerPlusArrays:
    """Read one split as it is stored, the faces that no protocol keeps included."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
        part, keys = _choose(path, sizes, split)
        with np.load(path, allow_pickle=False) as stored:
            faces, votes, names = (np.asarray(stored[key]) for key in keys)
    except _UNREADABLE as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise DataError(path, f"cannot be read as .npz: {reason}") from exc
    _check(path, part, faces, votes, names)
    return FerPlusArrays(images=faces, votes=votes.astype(np.int64), names=names)


def _choose(path: Path, sizes: Mapping[str, int], split: str | None) -> tuple[Split, list[str]]:
    """Return the split to read and its keys; `sizes` are the archive's members in bytes."""
    available = [part for part in Split if f"{part}_images.npy" in sizes]
    if not available:
        raise DataError(path, "is not FER+'s layout: it has no test_images")
    part = splits.choose(path, available, split)
    keys = [f"{part}_{kind}" for kind in ("images", "votes", "names")]
    if missing := [key for key in keys if f"{key}.npy" not in sizes]:
        raise DataError(path, f"is not FER+'s layout: it has no {missing[0]}")
    if sum(sizes[f"{key}.npy"] for key in keys) > images.MAX_DECODED_BYTES:
        raise DataError(path, images.TOO_LARGE)
    return part, keys


def _check(
    path: Path,
    part: Split,
    faces: npt.NDArray[np.generic],
    votes: npt.NDArray[np.generic],
    names: npt.NDArray[np.generic],
) -> None:
    if faces.dtype != np.uint8 or faces.ndim != 3 or min(faces.shape[1:]) < images.SMALLEST_SIDE:
        _refuse(path, f"{part}_images", faces, "uint8 (n, h, w) of at least 8x8")
    count = len(faces)
    if votes.dtype.kind not in "iu" or votes.shape != (count, len(FERPLUS_VOTES)):
        _refuse(path, f"{part}_votes", votes, f"integers ({count}, {len(FERPLUS_VOTES)})")
    if names.dtype.kind != "U" or names.shape != (count,):
        _refuse(path, f"{part}_names", names, f"text ({count},)")
    if votes.size and not 0 <= int(votes.min()) <= int(votes.max()) <= 1_000_000:
        raise DataError(path, f"{part}_votes has counts outside 0…1,000,000")


def _refuse(path: Path, key: str, array: npt.NDArray[np.generic], expected: str) -> None:
    raise DataError(path, f"{key} is {array.dtype} {array.shape}, expected {expected}")
