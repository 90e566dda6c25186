"""The make-up of ARBEx: sizes of its stages, in the order in which they follow each other."""

from __future__ import annotations

from dataclasses import dataclass

NORM_EPSILON = 1e-5
"""Of batch norms and of layer norms at the three scales: PyTorch's default."""

TOKEN_EPSILON = 1e-6
"""Of the transformer's layer norms."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """An inverted residual of MobileFaceNet (Chen et al. 2018); `inner` is its widest part."""

    name: str
    filters: int
    inner: int
    stride: int


def _units(path: int, filters: int, first_inner: int, inner: int, count: int) -> tuple[Unit, ...]:
    first = Unit(name=f"landmark{path}_1", filters=filters, inner=first_inner, stride=2)
    rest = (
        Unit(name=f"landmark{path}_{number}", filters=filters, inner=inner, stride=1)
        for number in range(2, count + 1)
    )
    return (first, *rest)


LANDMARK_STEM = 64
LANDMARK_PATHS = (
    _units(1, 64, 128, 128, 5),
    _units(2, 128, 256, 256, 7),
    _units(3, 128, 512, 256, 3),
)
LANDMARK_LAST = 512


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """A residual of IR-50 (Deng et al. 2019); `projected` where its shortcut has a convolution."""

    name: str
    filters: int
    stride: int
    projected: bool


def _stage(stage: int, inputs: int, filters: int, count: int) -> tuple[Bottleneck, ...]:
    return tuple(
        Bottleneck(
            name=f"ir{stage}_{number}",
            filters=filters,
            stride=2 if number == 1 else 1,
            projected=number == 1 and inputs != filters,
        )
        for number in range(1, count + 1)
    )


IR_STEM = 64
IR_STAGES = (_stage(1, 64, 64, 3), _stage(2, 64, 128, 4), _stage(3, 128, 256, 14))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One of the three scales where landmarks look at the image.

    Its map has `fineness` positions, each way, for one of the grid's: 28, 14 and 7 for a grid of
    7. The window of the attention is the whole map.
    """

    name: str
    fineness: int
    width: int
    heads: int

    def side(self, grid: int) -> int:
        """Return the map's side for a grid of `grid` positions each way."""
        return self.fineness * grid


SCALES = (
    Scale(name="scale1", fineness=4, width=64, heads=2),
    Scale(name="scale2", fineness=2, width=128, heads=4),
    Scale(name="scale3", fineness=1, width=256, heads=8),
)
HEAD_WIDTH = 32
MLP_RATIO = 4

CELL = 16
"""Pixels each way for one position of the grid at which all scales become tokens."""

BLOCKS = ("vit1", "vit2")
BLOCK_HEADS = 8
HIDDEN = (384, 192, 96)
"""Of the classifier."""
