"""BlazeFace's outputs as faces: its anchors, its boxes, and one answer for each face.

After Bazarevsky et al., BlazeFace (arXiv 1907.05047), and the options that MediaPipe publishes
for its models of 128 and of 256 pixels, which have the same anchors. Nothing here touches a file
or an interpreter.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import Float32Array

Float64Array = npt.NDArray[np.float64]

GRIDS = ((16, 2), (8, 6))
"""Cells along each side, and anchors in each cell; 896 anchors in all, row by row."""

LEAST_SCORE = 0.5
SAME_FACE_OVERLAP = 0.3
_LARGEST_LOGIT = 80.0


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A face in the network's input, whose sides are 1; `score` is 0…1."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


@functools.cache
def anchors() -> Float64Array:
    """Return the anchors' centres, (896, 2) of x and y, for an input whose sides are 1."""
    return np.array(
        [
            ((column + 0.5) / cells, (row + 0.5) / cells)
            for cells, repeats in GRIDS
            for row in range(cells)
            for column in range(cells)
            for _ in range(repeats)
        ]
    )


def decode(regressors: Float32Array, logits: Float32Array, *, input_size: int) -> list[Detection]:
    """Return the faces, the surest first.

    `regressors` is (896, 16): a box's centre, from its anchor, and its size, in pixels of the
    input, then six points that are not used. `logits` is (896,) or (896, 1).
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    numbers = regressors[:, :4].astype(np.float64) / input_size
    centres, halves = numbers[:, :2] + anchors(), numbers[:, 2:] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    usable = (scores >= LEAST_SCORE) & (halves > 0).all(axis=1) & np.isfinite(boxes).all(axis=1)
    return _one_a_face(boxes[usable], scores[usable].astype(np.float64))


def _one_a_face(boxes: Float64Array, scores: Float64Array) -> list[Detection]:
    """Blend the boxes that overlap the surest one, weighted by score, until none is left.

    The paper's answer to boxes that jitter between frames; MediaPipe calls it weighted
    non-maximum suppression.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    faces: list[Detection] = []
    while len(boxes):
        same = _overlaps(boxes[0], boxes) > SAME_FACE_OVERLAP
        left, top, right, bottom = np.average(boxes[same], axis=0, weights=scores[same])
        faces.append(
            Detection(
                left=float(left),
                top=float(top),
                right=float(right),
                bottom=float(bottom),
                score=float(scores[0]),
            )
        )
        boxes, scores = boxes[~same], scores[~same]
    return faces


def _overlaps(box: Float64Array, others: Float64Array) -> Float64Array:
    """Return intersection over union of one box with each of `others`."""
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.maximum(sizes, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    result: Float64Array = shared / (np.prod(box[2:] - box[:2]) + areas - shared)
    return result
