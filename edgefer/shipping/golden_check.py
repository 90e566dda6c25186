"""Golden files against what edgefer's own code makes of the same pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError
from edgefer.prediction.boxes import Box
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.face_input import cut_out, input_values, square_around
from edgefer.runtime import TfliteModel
from edgefer.shipping.camera_frames import Plane, upright_from_bgra, upright_from_yuv
from edgefer.shipping.contract import Contract
from edgefer.shipping.golden import GOLDEN_FILE, corners
from edgefer.shipping.golden_format import (
    Answer,
    Corners,
    Golden,
    GoldenFace,
    GoldenFrame,
    GoldenScene,
    GoldenYuvFrame,
    SceneFace,
)
from edgefer.shipping.manifest import shortened

BOX_TOLERANCE_PIXELS = 1
LARGEST_PLANE_BYTES = 1 << 26
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file of a bundle, by its path there, and what is wrong with it."""

    file: str
    problem: str


class GoldenCheck:
    """Repeats what golden.json states; `folder` holds the bundle, whose paths are all listed.

    Every method raises DataError where a golden file cannot be what golden.json says.
    """

    def __init__(
        self,
        folder: Path,
        listed: frozenset[str],
        model: TfliteModel,
        contract: Contract,
        detector: FaceDetector,
    ) -> None:
        self._folder = folder
        self._listed = listed
        self._model = model
        self._contract = contract
        self._spec = contract.spec()
        self._detector = detector

    def problems(self, golden: Golden) -> Iterator[Problem]:
        """Yield whatever differs."""
        if golden.tolerance != golden.tolerance_steps * self._contract.output.step:
            yield _statement("its tolerance is not the output's quantization step")
        for face in golden.faces:
            yield from self._of_face(face)
        for scene in golden.scenes:
            yield from self._of_scene(scene)
        for frame in golden.frames:
            yield from self._of_frame(frame)

    def _of_face(self, face: GoldenFace) -> Iterator[Problem]:
        picture = self._pixels(face.picture, width=face.width, height=face.height)
        yield from self._of_answer(face, picture)

    def _of_scene(self, scene: GoldenScene) -> Iterator[Problem]:
        picture = self._pixels(scene.picture, width=scene.width, height=scene.height)
        found = [corners(face.box) for face in self._detector.find(picture)]
        stated = [face.box for face in scene.faces]
        if not _close(found, stated):
            yield _named(scene.picture, f"has faces at {found}, not at {stated}")
        for face in scene.faces:
            yield from self._of_scene_face(face, picture)

    def _of_scene_face(self, face: SceneFace, picture: UInt8Array) -> Iterator[Problem]:
        height, width = picture.shape[:2]
        square = square_around(_box(face.box), width=width, height=height)
        if corners(square) != face.square:
            yield _statement(
                f"the square around {face.box} is {corners(square)}, not {face.square}"
            )
            return
        yield from self._of_answer(face, cut_out(picture, square))

    def _of_answer(self, answer: Answer, face: UInt8Array) -> Iterator[Problem]:
        """Compare the input with `face`'s, and the output with the one of the stated input."""
        tensor, output = self._model.input, self._model.output
        stated = self._values(answer.input, tensor.dtype, tensor.shape)
        different = int(np.sum(stated != input_values(face, self._spec, tensor)))
        if different:
            yield _named(answer.input, f"{different} of {stated.size} values differ")
        scores = self._values(answer.output, output.dtype, output.shape)
        real = output.dequantize(scores)[0]
        off = np.abs(output.dequantize(self._model.scores(stated))[0] - real).max()
        if not off <= self._contract.output.step + _ROUNDING:  # NaN is no answer either
            yield _named(answer.output, f"a score is off by {off:.6g}")
        yield from self._of_statement(answer, real)

    def _of_statement(self, answer: Answer, real: npt.NDArray[np.float32]) -> Iterator[Problem]:
        same = len(real) == len(answer.probabilities) and np.allclose(
            real, answer.probabilities, rtol=0, atol=_ROUNDING
        )
        if not same or answer.label != self._contract.labels[int(np.argmax(real))]:
            yield _statement(f"its label and probabilities are not those of {answer.output}")

    def _of_frame(self, frame: GoldenFrame) -> Iterator[Problem]:
        stated = self._pixels(frame.upright, width=frame.upright_width, height=frame.upright_height)
        try:
            upright = self._upright(frame)
        except ValueError as exc:
            raise DataError(self._folder, f"golden frame {shortened(frame.name)}: {exc}") from exc
        if not np.array_equal(upright, stated):
            yield _named(frame.upright, "is not the frame's upright picture")

    def _upright(self, frame: GoldenFrame) -> UInt8Array:
        size = {"width": frame.width, "height": frame.height, "rotation": frame.rotation}
        if isinstance(frame, GoldenYuvFrame):
            planes = [
                self._plane(plane.file, plane.row_stride, plane.pixel_stride)
                for plane in frame.planes
            ]
            return upright_from_yuv(planes, **size)
        return upright_from_bgra(self._plane(frame.file, frame.row_stride, 4), **size)

    def _plane(self, name: str, row_stride: int, pixel_stride: int) -> Plane:
        size = self._path(name).stat().st_size
        if size > LARGEST_PLANE_BYTES:
            raise DataError(self._path(name), "is too large for a plane of a golden frame")
        content = self._values(name, np.dtype(np.uint8), (size,))
        return Plane(content=content, row_stride=row_stride, pixel_stride=pixel_stride)

    def _pixels(self, name: str, *, width: int, height: int) -> UInt8Array:
        return self._values(name, np.dtype(np.uint8), (height, width, 3))

    def _values(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a file's raw values; DataError unless it has exactly as many."""
        path = self._path(name)
        size, expected = path.stat().st_size, int(np.prod(shape)) * dtype.itemsize
        if size != expected:
            raise DataError(path, f"has {size} bytes, {GOLDEN_FILE} says {expected}")
        return np.fromfile(path, dtype.newbyteorder("<")).astype(dtype).reshape(shape)

    def _path(self, name: str) -> Path:
        """Return a golden file's path; only one that the bundle lists, whose hash was checked."""
        if f"golden/{name}" not in self._listed:
            raise DataError(
                self._folder, f"{GOLDEN_FILE} names {shortened(name)}, which is not in the bundle"
            )
        return self._folder / "golden" / name


def _close(found: Sequence[Corners], stated: Sequence[Corners]) -> bool:
    return len(found) == len(stated) and all(
        abs(edge - other) <= BOX_TOLERANCE_PIXELS
        for box, other_box in zip(found, stated, strict=True)
        for edge, other in zip(box, other_box, strict=True)
    )


def _box(edges: Corners) -> Box:
    left, top, right, bottom = edges
    return Box(left=left, top=top, right=right, bottom=bottom)


def _named(name: str, problem: str) -> Problem:
    return Problem(file=f"golden/{name}", problem=problem)


def _statement(problem: str) -> Problem:
    return _named(GOLDEN_FILE, problem)
