"""Rectangles of whole pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle; `right` and `bottom` are the first column and row outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """How many columns it has."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """How many rows it has."""
        return self.bottom - self.top

    def overlap(self, other: Box) -> float:
        """Return intersection over union, 0 where the boxes do not touch."""
        columns = min(self.right, other.right) - max(self.left, other.left)
        rows = min(self.bottom, other.bottom) - max(self.top, other.top)
        if columns <= 0 or rows <= 0:
            return 0.0
        shared = columns * rows
        return shared / (self.width * self.height + other.width * other.height - shared)


def whole(width: int, height: int) -> Box:
    """Return the box of a whole picture."""
    return Box(left=0, top=0, right=width, bottom=height)
