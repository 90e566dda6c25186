"""Labelled faces in memory, whatever they were read from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import UInt8Array


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file of a dataset that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LabelledFaces:
    """Faces with their labels.

    `images` are uint8, (h, w) gray or (h, w, 3) RGB; `labels` are positions in `class_names`;
    `names` identify the faces to a person. `votes`, where the dataset has them, are float32
    (n, classes), each row a distribution over `class_names`.
    """

    source: str
    images: Sequence[UInt8Array]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    names: Sequence[str]
    votes: npt.NDArray[np.float32] | None = None
    skipped: tuple[SkippedFile, ...] = field(default=())

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.names):
            raise ValueError("images, labels and names differ in number")

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return the faces at `indices`, in that order."""
        picked = np.asarray(indices, np.int64)
        return type(self)(
            source=self.source,
            images=[self.images[index] for index in picked],
            labels=self.labels[picked],
            class_names=self.class_names,
            names=[self.names[index] for index in picked],
            votes=None if self.votes is None else self.votes[picked],
            skipped=self.skipped,
        )

    def spread(self, most: int) -> Self:
        """Return at most `most` faces, evenly spread over the dataset."""
        count = min(most, len(self))
        return self.select(np.linspace(0, len(self) - 1, count).astype(np.int64))
