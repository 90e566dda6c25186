"""Golden files: pictures, the bytes that a model is fed for them, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import ModelError
from edgefer.models.spec import ModelSpec
from edgefer.prediction.boxes import Box
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.face_input import cut_out, input_values, square_around
from edgefer.records import to_json
from edgefer.runtime import TfliteModel
from edgefer.shipping.contract import OutputContract
from edgefer.shipping.golden_format import (
    FORMAT,
    TOLERANCE_STEPS,
    Answer,
    Corners,
    Golden,
    GoldenFace,
    GoldenScene,
    SceneFace,
)
from edgefer.shipping.golden_frames import make_frames
from edgefer.shipping.golden_pictures import Picture, Pictures, resized

GOLDEN_FILE = "golden.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenFiles:
    """What golden.json says, and all files of the folder by name, itself too."""

    record: Golden
    files: Mapping[str, bytes]


class GoldenMaker:
    """Runs a model on pictures and keeps every file that golden.json names."""

    def __init__(self, model: TfliteModel, spec: ModelSpec, output: OutputContract) -> None:
        self._model = model
        self._spec = spec
        self._output = output
        self._files: dict[str, bytes] = {}

    def make(self, pictures: Pictures) -> GoldenFiles:
        """Return the golden files of some pictures."""
        frames = make_frames(pictures.scenes[0].image)
        record = Golden(
            format=FORMAT,
            tolerance_steps=TOLERANCE_STEPS,
            tolerance=TOLERANCE_STEPS * self._output.step,
            faces=tuple(
                self._face(number, face)
                for number, face in enumerate(in_sizes(pictures, self._spec.input_size))
            ),
            scenes=self._scenes(pictures),
            frames=tuple(frame.record for frame in frames),
        )
        for frame in frames:
            self._files.update(frame.files)
        self._files[GOLDEN_FILE] = (to_json(record) + "\n").encode()
        return GoldenFiles(record=record, files=self._files)

    def _face(self, number: int, face: Picture) -> GoldenFace:
        stem = f"face-{number}"
        height, width = face.image.shape[:2]
        answer = self._answer(stem, face.image)
        return GoldenFace(
            name=face.name,
            picture=self._kept(f"{stem}.rgb", face.image),
            width=width,
            height=height,
            input=answer.input,
            output=answer.output,
            label=answer.label,
            probabilities=answer.probabilities,
        )

    def _scenes(self, pictures: Pictures) -> tuple[GoldenScene, ...]:
        detector = FaceDetector()
        return tuple(
            self._scene(number, scene, detector) for number, scene in enumerate(pictures.scenes)
        )

    def _scene(self, number: int, scene: Picture, detector: FaceDetector) -> GoldenScene:
        stem = f"scene-{number}"
        height, width = scene.image.shape[:2]
        faces = []
        for position, found in enumerate(detector.find(scene.image)):
            square = square_around(found.box, width=width, height=height)
            answer = self._answer(f"{stem}-face-{position}", cut_out(scene.image, square))
            faces.append(
                SceneFace(
                    box=corners(found.box),
                    score=found.score,
                    square=corners(square),
                    input=answer.input,
                    output=answer.output,
                    label=answer.label,
                    probabilities=answer.probabilities,
                )
            )
        return GoldenScene(
            name=scene.name,
            picture=self._kept(f"{stem}.rgb", scene.image),
            width=width,
            height=height,
            faces=tuple(faces),
        )

    def _answer(self, stem: str, face: UInt8Array) -> Answer:
        values = input_values(face, self._spec, self._model.input)
        scores = self._model.scores(values)
        probabilities = self._model.output.dequantize(scores)[0]
        if not np.isfinite(probabilities).all():
            raise ModelError(
                self._model.path, "gives NaN or infinity; check the network that it was made from"
            )
        return Answer(
            input=self._kept(f"{stem}-input.bin", values),
            output=self._kept(f"{stem}-output.bin", scores),
            label=self._spec.labels[int(np.argmax(probabilities))],
            probabilities=tuple(float(value) for value in probabilities),
        )

    def _kept(self, name: str, values: npt.NDArray[Any]) -> str:
        """Keep an array as raw bytes, little endian, and return its file's name."""
        self._files[name] = values.astype(values.dtype.newbyteorder("<")).tobytes()
        return name


def in_sizes(pictures: Pictures, size: int) -> list[Picture]:
    """Return faces smaller and larger than an input of `size`, twice it, odd, and not square."""
    sides = [
        ("smaller", 48, 48),
        ("the input's own size", size, size),
        ("exactly twice as large", 2 * size, 2 * size),
        ("larger, odd", size * 4 // 3 | 1, size * 4 // 3 | 1),
        ("one pixel less", size - 1, size - 1),
        ("wide", size * 5 // 4, size * 3 // 4),
        ("tall", size * 2 // 3 | 1, size * 7 // 6),
    ]
    faces = pictures.faces
    return [
        Picture(
            name=f"{faces[number % len(faces)].name}, {name}",
            image=resized(faces[number % len(faces)].image, width=width, height=height),
        )
        for number, (name, width, height) in enumerate(sides)
    ]


def corners(box: Box) -> Corners:
    """Return a box as golden.json has it."""
    return box.left, box.top, box.right, box.bottom
