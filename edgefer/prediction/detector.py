"""Faces found in a picture by MediaPipe's BlazeFace, which edgefer brings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer import runtime
from edgefer.data.preprocessing import Float32Array, UInt8Array
from edgefer.data.resizing import stretch
from edgefer.prediction import blaze_face
from edgefer.prediction.blaze_face import Detection
from edgefer.prediction.boxes import Box

MODEL = Path(__file__).parent / "blaze_face_back.tflite"


@dataclass(frozen=True, kw_only=True)
class FoundFace:
    """A face's box in a picture, and how sure the detector is, 0…1."""

    box: Box
    score: float


class FaceDetector:
    """Finds the faces of a picture.

    A face narrower than about a tenth of the picture's longer side is often missed. `model` is
    one of MediaPipe's BlazeFace files with 896 anchors.
    """

    def __init__(self, model: Path = MODEL) -> None:
        self._interpreter = runtime.open_bundled(model)
        details = self._interpreter.get_input_details()[0]
        self._input = details["index"]
        self.input_size = int(details["shape"][1])
        self._outputs = {
            int(details["shape"][-1]): details["index"]
            for details in self._interpreter.get_output_details()
        }

    def find(self, image: UInt8Array) -> list[FoundFace]:
        """Return the faces of an image, uint8 (h, w) or (h, w, 3) RGB, from left to right."""
        height, width = image.shape[:2]
        faces = [
            FoundFace(box=box, score=detection.score)
            for detection in self.detections(detector_input(image, self.input_size))
            for box in [in_picture(detection, self.input_size, width=width, height=height)]
            if box.width > 0 and box.height > 0
        ]
        return sorted(faces, key=lambda face: (face.box.left, face.box.top))

    def detections(self, values: Float32Array) -> list[Detection]:
        """Return the faces in the network's input, (size, size, 3) of −1…1, the surest first."""
        self._interpreter.set_tensor(self._input, values[np.newaxis])
        self._interpreter.invoke()
        return blaze_face.decode(
            self._output(width=16), self._output(width=1), input_size=self.input_size
        )

    def _output(self, *, width: int) -> Float32Array:
        values: Float32Array = self._interpreter.get_tensor(self._outputs[width])[0]
        return values


def detector_input(image: UInt8Array, size: int) -> Float32Array:
    """Fit an image into a square with its proportions, black around it, and bring it to −1…1.

    By the bilinear arithmetic of `face_input`, so that a phone's detector can see the same.
    """
    height, width = image.shape[:2]
    columns, rows = fitted_size(size, width, height)
    fitted = stretch(image, width=columns, height=rows)
    if fitted.ndim == 2:
        fitted = np.repeat(fitted[:, :, np.newaxis], 3, axis=2)
    left, top = (size - columns) // 2, (size - rows) // 2
    canvas = np.zeros((size, size, 3), np.float32)
    canvas[top : top + rows, left : left + columns] = fitted
    return canvas / np.float32(127.5) - np.float32(1)


def fitted_size(size: int, width: int, height: int) -> tuple[int, int]:
    """Return the columns and rows that a picture has in the detector's input."""
    longer = max(width, height)
    return (
        max(1, (width * size + longer // 2) // longer),
        max(1, (height * size + longer // 2) // longer),
    )


def in_picture(detection: Detection, size: int, *, width: int, height: int) -> Box:
    """Return a detection's box in whole pixels of the picture, cut off at its border."""
    columns, rows = fitted_size(size, width, height)

    def scaled(value: float, fitted: int, length: int) -> int:
        pixels = (value * size - (size - fitted) // 2) * length / fitted
        return min(max(int(np.floor(pixels + 0.5)), 0), length)

    return Box(
        left=scaled(detection.left, columns, width),
        top=scaled(detection.top, rows, height),
        right=scaled(detection.right, columns, width),
        bottom=scaled(detection.bottom, rows, height),
    )
