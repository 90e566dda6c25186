"""From a face's box to the bytes that a model is fed, in arithmetic that any language repeats.

Three steps, none of which needs more than integers once the box is known:

1. `square_around` makes the box a square that lies in the picture.
2. `edgefer.data.resizing.stretch` brings it to the input's size, as OpenCV's INTER_LINEAR does
   with bytes on x86-64. For each axis with `source` pixels that become `size`, and for each target
   position d, f = (d + 1/2) · (source / size) − 1/2 in double precision, rounded to float32;
   s = floor(f); b = round(2048 · (f − s)), to even on a tie; a = 2048 − b. Columns: where s < 0
   or s ≥ source − 1, s becomes the nearest column, a = 2048 and b = 0. Rows: the weights stay,
   and s and s + 1 are each brought to the nearest row. With p the pixels of a row,
   h = a · p[s] + b · p[s + 1]; with h, k of rows s and s + 1, all divisions rounding down:
   pixel = ((a · (h / 16)) / 65536 + (b · (k / 16)) / 65536 + 2) / 4.
   A face of the input's own size is left as it is; where both axes shrink to exactly one half,
   a pixel is (the sum of its four + 2) / 4, which is the same.
3. Normalised and brought to the input's type as the model's contract says. For edgefer's int8
   files that is q = pixel − 128, for its uint8 files q = pixel.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import UInt8Array, normalise, to_pixels
from edgefer.models.spec import ModelSpec
from edgefer.prediction.boxes import Box
from edgefer.tensor import Tensor


def square_around(box: Box, *, width: int, height: int) -> Box:
    """Return the square that a face is cut out by, inside a picture of `width` × `height`.

    Its side is 7/6 of the box's longer side, and its centre lies 1/10 of that side above the
    box's. So it frames a face as FER+'s pictures do, on which the bundled networks were trained:
    there, BlazeFace's box is 6/7 of the picture and lies 1/10 of its side below the centre (the
    medians over 300 faces). A square that would stick out is moved into the picture, one that is
    too large shrinks to the picture's shorter side; no pixel is invented. All divisions round
    down.
    """
    longer = max(box.width, box.height)
    side = min(max(longer * 7 // 6, 1), width, height)
    left = (box.left + box.right - side) // 2
    top = (box.top + box.bottom - side) // 2 - longer // 10
    left = min(max(left, 0), width - side)
    top = min(max(top, 0), height - side)
    return Box(left=left, top=top, right=left + side, bottom=top + side)


def cut_out(image: UInt8Array, square: Box) -> UInt8Array:
    """Return the part of an image, (h, w) or (h, w, 3), that lies in `square`."""
    return image[square.top : square.bottom, square.left : square.right]


def input_values(face: UInt8Array, spec: ModelSpec, tensor: Tensor) -> npt.NDArray[Any]:
    """Return what the model's input takes for one face: (1, size, size, channels) of its type."""
    return tensor.quantize(normalise(to_pixels(face, spec)[np.newaxis], spec))
