#!/usr/bin/env python3
"""Find the faces in pictures, videos or before a camera, and name their expressions.

    python recognise.py photo.jpg holiday.mp4
    python recognise.py --camera 0 --every 0.5 --json
    python recognise.py --check

Needs numpy, OpenCV and LiteRT (requirements.txt), and the folder model/ beside it. contract.md
says what each step has to do to the byte; --check proves with golden/ that it does so here.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # 32-bit boards have its predecessor
    from tflite_runtime.interpreter import Interpreter

HERE = Path(__file__).resolve().parent
VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}


class UnreadableError(Exception):
    """A picture, a video or a camera that gives no pictures."""


class Box(NamedTuple):
    """Whole pixels; `right` and `bottom` lie outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Face:
    """A face in a picture: where, how surely it is one, and a score for each label."""

    box: Box
    square: Box
    score: float
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, uint8 (height, width, 3); `time_s` is its place in a video."""

    image: np.ndarray
    time_s: float | None = None


class FaceDetector:
    """BlazeFace: finds faces that are wider than about a tenth of the picture's longer side."""

    SIZE = 256
    LEAST_SCORE = 0.5
    SAME_FACE_OVERLAP = 0.3

    def __init__(self, model: Path, threads: int) -> None:
        self._interpreter = opened(model, threads)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {
            details["shape"][-1]: details["index"]
            for details in self._interpreter.get_output_details()
        }
        self._anchors = np.array(
            [
                ((column + 0.5) / cells, (row + 0.5) / cells)
                for cells, repeats in ((16, 2), (8, 6))
                for row in range(cells)
                for column in range(cells)
                for _ in range(repeats)
            ]
        )

    def find(self, image: np.ndarray) -> list[tuple[Box, float]]:
        """Return the boxes of a picture's faces and their scores, from left to right."""
        height, width = image.shape[:2]
        longer = max(width, height)
        columns = max(1, (width * self.SIZE + longer // 2) // longer)
        rows = max(1, (height * self.SIZE + longer // 2) // longer)
        left, top = (self.SIZE - columns) // 2, (self.SIZE - rows) // 2
        canvas = np.zeros((1, self.SIZE, self.SIZE, 3), np.float32)
        canvas[0, top : top + rows, left : left + columns] = stretched(image, columns, rows)

        def edge(value: float, before: int, fitted_length: int, length: int) -> int:
            position = (value * self.SIZE - before) * length / fitted_length
            return min(max(int(np.floor(position + 0.5)), 0), length)

        faces = []
        for (x0, y0, x1, y1), score in self._detect(canvas / np.float32(127.5) - np.float32(1)):
            box = Box(
                left=edge(x0, left, columns, width),
                top=edge(y0, top, rows, height),
                right=edge(x1, left, columns, width),
                bottom=edge(y1, top, rows, height),
            )
            if box.left < box.right and box.top < box.bottom:
                faces.append((box, score))
        return sorted(faces)

    def _detect(self, values: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Yield boxes in an input whose sides are 1, one a face, and their scores."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        numbers = self._output(16)[:, :4].astype(np.float64) / self.SIZE
        scores = 1 / (1 + np.exp(-np.clip(self._output(1)[:, 0], -80, 80)))
        centres, halves = numbers[:, :2] + self._anchors, numbers[:, 2:] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        usable = (scores >= self.LEAST_SCORE) & (halves > 0).all(axis=1)
        boxes, scores = boxes[usable], scores[usable].astype(np.float64)
        order = np.argsort(-scores, kind="stable")
        boxes, scores = boxes[order], scores[order]
        while len(boxes):
            same = overlaps(boxes[0], boxes) > self.SAME_FACE_OVERLAP
            yield np.average(boxes[same], axis=0, weights=scores[same]), float(scores[0])
            boxes, scores = boxes[~same], scores[~same]

    def _output(self, width: int) -> np.ndarray:
        return self._interpreter.get_tensor(self._outputs[width])[0]


class Classifier:
    """The model: a face in, a score for each label out."""

    def __init__(self, model: Path, contract: dict[str, Any], threads: int) -> None:
        self._interpreter = opened(model, threads)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._contract = contract
        self._table = value_table(contract["input"])
        self.labels: list[str] = contract["labels"]

    def input_values(self, face: np.ndarray) -> np.ndarray:
        """Return what the model is fed for a face, uint8 (h, w, 3) RGB of any size."""
        size = self._contract["input"]["size"]
        if self._contract["input"]["colour"] == "gray":
            face = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[:, :, np.newaxis]
        pixels = stretched(face, size, size)
        return self._table[pixels, np.arange(pixels.shape[2])][np.newaxis]

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the model's raw output for the values that it is fed."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)

    def scores(self, raw: np.ndarray) -> np.ndarray:
        """Return the scores, float32, that a raw output stands for."""
        output = self._contract["output"]
        if not output["scale"]:
            return raw[0].astype(np.float32)
        return (raw[0].astype(np.float32) - output["zero_point"]) * np.float32(output["scale"])


class Recogniser:
    """From a picture to its faces and their expressions."""

    def __init__(self, folder: Path = HERE / "model", threads: int = 1) -> None:
        contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        self.classifier = Classifier(folder / "model.tflite", contract, threads)
        self.detector = FaceDetector(folder / "face-detector.tflite", threads)

    def faces(self, image: np.ndarray) -> list[Face]:
        """Return the faces of an upright RGB picture, uint8 (h, w, 3), from left to right."""
        return [self._named(image, box, score) for box, score in self.detector.find(image)]

    def _named(self, image: np.ndarray, box: Box, score: float) -> Face:
        height, width = image.shape[:2]
        square = square_around(box, width, height)
        values = self.classifier.input_values(cut_out(image, square))
        scores = self.classifier.scores(self.classifier.run(values))
        labels = self.classifier.labels
        return Face(
            box=box,
            square=square,
            score=score,
            label=labels[int(scores.argmax())],
            probabilities={label: float(p) for label, p in zip(labels, scores, strict=True)},
        )


def opened(model: Path, threads: int) -> Any:
    """Return an interpreter that is ready to run."""
    interpreter = Interpreter(model_path=str(model), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def value_table(stated: dict[str, Any]) -> np.ndarray:
    """Return what each byte of each channel becomes, (256, channels) of the input's type."""
    pixels = np.arange(256, dtype=np.float32)[:, np.newaxis]
    values = (pixels - np.float32(stated["mean"])) / np.float32(stated["std"])
    if not stated["scale"]:
        return values.astype(stated["type"])
    steps = np.floor(values / np.float32(stated["scale"]) + np.float32(0.501))
    limits = np.iinfo(stated["type"])
    return np.clip(steps + stated["zero_point"], limits.min, limits.max).astype(stated["type"])


def square_around(box: Box, width: int, height: int) -> Box:
    """Return the square that a face is cut out by; it lies in the picture."""
    longer = max(box.right - box.left, box.bottom - box.top)
    side = min(max(longer * 7 // 6, 1), width, height)
    left = (box.left + box.right - side) // 2
    top = (box.top + box.bottom - side) // 2 - longer // 10
    left = min(max(left, 0), width - side)
    top = min(max(top, 0), height - side)
    return Box(left, top, left + side, top + side)


def cut_out(image: np.ndarray, square: Box) -> np.ndarray:
    """Return the part of a picture that lies in `square`."""
    return image[square.top : square.bottom, square.left : square.right]


def stretched(image: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Return a picture, (h, w, channels), in another size: step 4 of contract.md.

    Not by cv2.resize: that is the same on x86-64, but rounds differently on ARM.
    """
    height, width = image.shape[:2]
    x, right_weight = between_pixels(width, columns)
    y, lower_weight = between_pixels(height, rows)
    right_weight = np.where((x >= 0) & (x < width - 1), right_weight, 0)[:, np.newaxis]
    lower_weight = lower_weight[:, np.newaxis, np.newaxis]

    def across(y: np.ndarray) -> np.ndarray:
        lines = image[np.clip(y, 0, height - 1)].astype(np.int32)
        left, right = (lines[:, np.clip(x + step, 0, width - 1)] for step in (0, 1))
        return ((2048 - right_weight) * left + right_weight * right) >> 4

    upper = ((2048 - lower_weight) * across(y)) >> 16
    lower = (lower_weight * across(y + 1)) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def between_pixels(source: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of `size` positions the pixel before it and the next one's weight of 2048."""
    position = ((np.arange(size) + 0.5) * (source / size) - 0.5).astype(np.float32)
    before = np.floor(position)
    return before.astype(int), np.rint(2048 * (position - before)).astype(np.int32)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of one box with each of `others`."""
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.maximum(sizes, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + areas - shared)


def pictures_of(path: Path, every_s: float) -> Iterator[Picture]:
    """Yield a picture file's one picture, or those of a video."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        yield from video_pictures(cv2.VideoCapture(str(path)), str(path), every_s)
        return
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)  # turned as its EXIF orientation says
    if image is None:
        raise UnreadableError(f"{path} is no picture that OpenCV reads")
    yield Picture(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def video_pictures(video: cv2.VideoCapture, name: str, every_s: float) -> Iterator[Picture]:
    """Yield the pictures of an open video, of each `every_s` seconds the first."""
    rate = video.get(cv2.CAP_PROP_FPS)
    seen, due_s = 0, 0.0
    while video.grab():
        time_s = seen / rate if rate > 0 else 0.0
        seen += 1
        if time_s >= due_s:
            due_s = time_s + every_s
            yield Picture(rgb_frame(video), time_s)
    if not seen:
        raise UnreadableError(f"{name} is no video that OpenCV reads")


def camera_pictures(number: int, every_s: float) -> Iterator[Picture]:
    """Yield what a camera sees, of each `every_s` seconds one picture, until it is unplugged."""
    camera = cv2.VideoCapture(number)
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not one that waited
    start_s, due_s = time.monotonic(), 0.0
    while camera.grab():
        time_s = time.monotonic() - start_s
        if time_s >= due_s:
            due_s = time_s + every_s
            yield Picture(rgb_frame(camera), time_s)
    raise UnreadableError(
        f"camera {number} gives no pictures; is it plugged in, and yours to open?"
    )


def rgb_frame(video: cv2.VideoCapture) -> np.ndarray:
    """Return the frame that was grabbed last."""
    _, image = video.retrieve()
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def report(source: str, picture: Picture, faces: list[Face], *, as_json: bool) -> None:
    """Print a picture's faces: one JSON object, or a line a face."""
    if as_json:
        found = [
            {**vars(face), "box": face.box._asdict(), "square": face.square._asdict()}
            for face in faces
        ]
        print(json.dumps({"source": source, "time_s": picture.time_s, "faces": found}), flush=True)
        return
    where = source if picture.time_s is None else f"{source} at {picture.time_s:.1f} s"
    for face in faces:
        left, top, right, bottom = face.box
        box = f"{right - left}×{bottom - top} pixels at {left}, {top}"
        print(f"{where}: {face.label} {face.probabilities[face.label]:.1%}, {box}", flush=True)
    if not faces:
        print(f"{where}: no face found", flush=True)


class Check:
    """golden/ against what this file makes of the same pictures, on this board."""

    def __init__(self, recogniser: Recogniser, folder: Path = HERE / "golden") -> None:
        self._recogniser = recogniser
        self._classifier = recogniser.classifier
        self._folder = folder
        self._golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))

    def problems(self) -> Iterator[str]:
        """Yield a line for whatever differs."""
        for face in self._golden["faces"]:
            yield from self._of_answer(face, self._picture(face))
        for scene in self._golden["scenes"]:
            yield from self._of_scene(scene)

    def summary(self) -> str:
        """Say what there is to compare."""
        return f"{len(self._golden['faces'])} faces and {len(self._golden['scenes'])} pictures"

    def _of_scene(self, scene: dict[str, Any]) -> Iterator[str]:
        image = self._picture(scene)
        found = [box for box, _ in self._recogniser.detector.find(image)]
        stated = [face["box"] for face in scene["faces"]]
        if len(found) != len(stated) or np.any(np.abs(np.subtract(found, stated)) > 1):
            yield f"{scene['picture']}: faces at {found}, not at {stated}"
        for face in scene["faces"]:
            square = square_around(Box(*face["box"]), scene["width"], scene["height"])
            if list(square) != face["square"]:
                yield f"{scene['picture']}: the square is {square}, not {face['square']}"
            yield from self._of_answer(face, cut_out(image, Box(*face["square"])))

    def _of_answer(self, stated: dict[str, Any], face: np.ndarray) -> Iterator[str]:
        values = self._classifier.input_values(face)
        expected = self._values(stated["input"], values)
        if not np.array_equal(values, expected):
            yield f"{stated['input']}: {np.sum(values != expected)} input values differ"
        raw = self._classifier.run(expected)
        scores = self._classifier.scores(raw)
        off = np.abs(scores - self._classifier.scores(self._values(stated["output"], raw))).max()
        if not off <= self._golden["tolerance"] + 1e-6:
            yield f"{stated['output']}: a score is off by {off:.4f}"

    def _picture(self, stated: dict[str, Any]) -> np.ndarray:
        shape = stated["height"], stated["width"], 3
        return np.fromfile(self._folder / stated["picture"], np.uint8).reshape(shape)

    def _values(self, name: str, like: np.ndarray) -> np.ndarray:
        """Read raw values, little endian, of the type and shape of `like`."""
        stored = np.fromfile(self._folder / name, like.dtype.newbyteorder("<"))
        return stored.astype(like.dtype).reshape(like.shape)


def check(recogniser: Recogniser) -> None:
    """Print whether golden/ comes out here as it should; exits with 1 if not."""
    checked = Check(recogniser)
    problems = list(checked.problems())
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    print(f"{checked.summary()}: inputs to the byte, outputs within a step")


def recognise(recogniser: Recogniser, options: argparse.Namespace) -> None:
    """Print what is in every source; exits with 1 where one could not be read."""
    sources: dict[str, Iterator[Picture]] = {
        str(path): pictures_of(path, options.every) for path in options.sources
    }
    if options.camera is not None:
        sources[f"camera {options.camera}"] = camera_pictures(options.camera, options.every)
    failed = False
    for source, pictures in sources.items():
        try:
            for picture in pictures:
                report(source, picture, recogniser.faces(picture.image), as_json=options.json)
        except UnreadableError as problem:
            print(f"recognise: {problem}", file=sys.stderr)
            failed = True
    if failed:
        sys.exit(1)


def parsed() -> argparse.Namespace:
    """Return what the user asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", type=Path, help="pictures and videos")
    parser.add_argument(
        "--camera", type=int, metavar="NUMBER", help="watch a camera; 0 is the first"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="of videos and cameras, look at one picture in so many seconds",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object a picture")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the runtime")
    parser.add_argument(
        "--check", action="store_true", help="prove with golden/ that it works here"
    )
    options = parser.parse_args()
    if bool(options.sources or options.camera is not None) == options.check:
        parser.error("give pictures, videos or --camera, or else --check")
    return options


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # how systemd stops a service
    options = parsed()
    recogniser = Recogniser(threads=options.threads)
    if options.check:
        check(recogniser)
    else:
        recognise(recogniser, options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
