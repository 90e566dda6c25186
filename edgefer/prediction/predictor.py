"""The faces of one picture, found and classified."""

from collections.abc import Sequence

from edgefer.data.preprocessing import UInt8Array
from edgefer.prediction.boxes import whole
from edgefer.prediction.classifier import Classifier
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.face_input import cut_out, square_around
from edgefer.prediction.result import Face


class Predictor:
    """Classifies the faces that `detector` finds; without one, the whole picture is a face."""

    def __init__(self, classifier: Classifier, detector: FaceDetector | None) -> None:
        self.classifier = classifier
        self._detector = detector

    def faces(self, image: UInt8Array) -> Sequence[Face]:
        """Return the faces of an image, uint8 (h, w) or (h, w, 3) RGB, from left to right."""
        height, width = image.shape[:2]
        if self._detector is None:
            everything = whole(width, height)
            scores = self.classifier(image)
            return [
                Face(number=1, box=everything, square=everything, score=None, probabilities=scores)
            ]
        faces = []
        for number, found in enumerate(self._detector.find(image), start=1):
            square = square_around(found.box, width=width, height=height)
            faces.append(
                Face(
                    number=number,
                    box=found.box,
                    square=square,
                    score=found.score,
                    probabilities=self.classifier(cut_out(image, square)),
                )
            )
        return faces
