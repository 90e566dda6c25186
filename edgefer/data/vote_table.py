"""FER+'s own label file, fer2013new.csv: ten counts of votes for each row of fer2013.csv."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.data.labels import FERPLUS_VOTES
from edgefer.data.wording import listed
from edgefer.errors import DataError

_LARGEST_FILE_BYTES = 1 << 28
_MOST_VOTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class VoteTable:
    """`usage` and `names` a row each, empty where it is no face; `votes` int64 (rows, 10)."""

    path: Path
    usage: Sequence[str]
    names: Sequence[str]
    votes: npt.NDArray[np.int64]


def read_votes(path: Path) -> VoteTable:
    """Read the file; DataError where a column is missing or a vote is not a count."""
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise DataError(path, f"has more than {_LARGEST_FILE_BYTES >> 20} MB")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DataError(path, f"cannot be read as CSV: {exc}") from exc
    header = [name.strip().lower() for name in table[0]] if table else []
    columns = ["usage", "image name", *(name.lower() for name in FERPLUS_VOTES)]
    if missing := [name for name in columns if name not in header]:
        raise DataError(path, f"is not fer2013new.csv: it has no column {listed(missing)}")
    positions = [header.index(name) for name in columns]
    try:
        rows = [[row[position].strip() for position in positions] for row in table[1:]]
        votes = np.array([[int(vote) for vote in row[2:]] for row in rows], np.int64)
    except (IndexError, ValueError, OverflowError) as exc:
        raise DataError(path, "has a row without ten whole numbers of votes") from exc
    if votes.size and not 0 <= int(votes.min()) <= int(votes.max()) <= _MOST_VOTES:
        raise DataError(path, f"has counts of votes outside 0…{_MOST_VOTES}")
    return VoteTable(
        path=path,
        usage=[row[0] for row in rows],
        names=[row[1] for row in rows],
        votes=votes.reshape(-1, len(FERPLUS_VOTES)),
    )
