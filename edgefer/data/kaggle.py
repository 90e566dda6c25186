"""FER2013 as Kaggle's fer2013.csv, with FER+'s fer2013new.csv where that lies beside it.

The two align row by row. With FER+'s file the labels come from its votes, and the rows to which
it gives no image name, which are no faces, are left out as FER+ leaves them out; without it the
labels are FER2013's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer.data import splits
from edgefer.data.faces import LabelledFaces, SkippedFile
from edgefer.data.labels import CLASS_ORDERS
from edgefer.data.pixel_text import parse_pixels
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.protocols import EMOTIONS, MAJORITY, Protocol, label_votes
from edgefer.data.splits import Split
from edgefer.data.vote_table import VoteTable, read_votes
from edgefer.data.wording import listed
from edgefer.errors import DataError
from edgefer.progress import Progress

FACES_NAME = "fer2013.csv"
VOTES_NAME = "fer2013new.csv"
_SIDE = 48
_EMOTIONS = frozenset({b"0", b"1", b"2", b"3", b"4", b"5", b"6"})
_LONGEST_LINE = 1 << 16
_ROWS_A_REPORT = 1000


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of fer2013.csv; `number` counts from 0, the columns are as they are written."""

    number: int
    emotion: bytes
    pixels: bytes
    usage: str


@dataclass(frozen=True, kw_only=True)
class _Faces:
    """The readable faces of a split; `rows` and `emotions` as in fer2013.csv, one a face."""

    images: list[UInt8Array]
    rows: list[int]
    emotions: list[int]
    skipped: list[SkippedFile]


def read_kaggle(
    path: Path,
    *,
    split: str | None = None,
    protocol: Protocol = MAJORITY,
    progress: Progress | None = None,
) -> LabelledFaces:
    """Read one split; `path` is the folder, or either of the two files in it.

    Rows with an unknown emotion or usage, or with other than 48x48 pixels of 0…255, are listed
    as skipped. Raises DataError for other columns, or for files that don't align.
    """
    faces_path, votes_path = _paths(path)
    try:
        votes = None if votes_path is None else read_votes(votes_path)
        faces = _read_faces(faces_path, votes, split, progress)
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc
    if votes is None:
        return LabelledFaces(
            source=str(faces_path),
            images=faces.images,
            labels=np.array(faces.emotions, np.int64),
            class_names=CLASS_ORDERS["FER2013"],
            names=[f"row {row}" for row in faces.rows],
            skipped=tuple(faces.skipped),
        )
    labelled = label_votes(votes.votes[faces.rows], protocol)
    return LabelledFaces(
        source=str(faces_path),
        images=[faces.images[index] for index in labelled.kept],
        labels=labelled.labels,
        class_names=EMOTIONS,
        names=[votes.names[faces.rows[index]] for index in labelled.kept],
        votes=labelled.votes,
        skipped=tuple(faces.skipped),
    )


def _paths(path: Path) -> tuple[Path, Path | None]:
    """Return the file with the pixels, and FER+'s where there is one."""
    folder = path if path.is_dir() else path.parent
    faces = folder / FACES_NAME if path.is_dir() or path.name == VOTES_NAME else path
    votes = folder / VOTES_NAME
    if not faces.is_file():
        raise DataError(path, f"needs {FACES_NAME} beside {VOTES_NAME}: that has the pixels")
    return faces, votes if votes.is_file() else None


def _read_faces(
    path: Path, votes: VoteTable | None, split: str | None, progress: Progress | None
) -> _Faces:
    wanted = splits.choose(path, tuple(Split), split)
    found: set[Split] = set()
    rows = 0
    faces = _Faces(images=[], rows=[], emotions=[], skipped=[])
    for row in _rows(path, progress):
        rows += 1
        if votes is not None:
            _require_aligned(path, row, votes)
        part = splits.split_named(row.usage)
        if part is not None:
            found.add(part)
        if part not in {wanted, None} or (votes is not None and not votes.names[row.number]):
            continue
        try:
            faces.images.append(_image(row))
            faces.rows.append(row.number)
            faces.emotions.append(int(row.emotion))
        except ValueError as exc:
            faces.skipped.append(SkippedFile(path=f"{path} row {row.number}", reason=str(exc)))
    if votes is not None and rows != len(votes.usage):
        raise DataError(path, f"has {rows} rows, {votes.path.name} {len(votes.usage)}")
    splits.choose(path, found, split)
    return faces


def _image(row: _Row) -> UInt8Array:
    """Return a row's face; ValueError with the reason where the row is unusable."""
    if splits.split_named(row.usage) is None:
        raise ValueError(f"the usage is {row.usage[:20]!r}")
    if row.emotion not in _EMOTIONS:
        raise ValueError(f"the emotion is {row.emotion[:20].decode(errors='replace')!r}, not 0…6")
    pixels = parse_pixels(row.pixels)
    if pixels is None:
        raise ValueError("a pixel is not a number of 0…255")
    if pixels.size != _SIDE * _SIDE:
        raise ValueError(f"has {pixels.size} pixels, not {_SIDE}x{_SIDE}")
    return pixels.reshape(_SIDE, _SIDE)


def _require_aligned(path: Path, row: _Row, votes: VoteTable) -> None:
    if row.number < len(votes.usage) and votes.usage[row.number] != row.usage:
        raise DataError(
            path,
            f"row {row.number} is {row.usage[:20]!r}, in {votes.path.name} "
            f"{votes.usage[row.number][:20]!r}: the files don't belong together",
        )
    if row.number >= len(votes.usage):
        raise DataError(path, f"has more rows than {votes.path.name}, {len(votes.usage)}")


def _rows(path: Path, progress: Progress | None) -> Iterator[_Row]:
    """Read row by row without the csv module, which takes seconds for the 300 MB of pixels."""
    total = path.stat().st_size
    with path.open("rb") as file:
        header = [name.strip().lower() for name in _fields(path, file.readline(_LONGEST_LINE))]
        if missing := {b"emotion", b"pixels", b"usage"} - set(header):
            names = [name.decode() for name in sorted(missing)]
            raise DataError(path, f"is not {FACES_NAME}: it has no column {listed(names)}")
        columns = [header.index(name) for name in (b"emotion", b"pixels", b"usage")]
        number = 0
        while line := file.readline(_LONGEST_LINE):
            fields = _fields(path, line)
            if fields == [b""]:
                continue
            if len(fields) != len(header):
                raise DataError(path, f"row {number} has {len(fields)} columns, not {len(header)}")
            emotion, pixels, usage = (fields[column] for column in columns)
            yield _Row(
                number=number,
                emotion=emotion,
                pixels=pixels,
                usage=usage.decode(errors="replace"),
            )
            number += 1
            if progress is not None and number % _ROWS_A_REPORT == 0:
                progress(file.tell(), total)
        if progress is not None:
            progress(total, total)


def _fields(path: Path, line: bytes) -> list[bytes]:
    if len(line) == _LONGEST_LINE:
        raise DataError(path, f"has a line of {_LONGEST_LINE >> 10} KB or more")
    return [field.strip(b' "') for field in line.rstrip(b"\r\n").split(b",")]
