"""All inputs, one after the other: what can be read is answered, what cannot is reported."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgefer import files
from edgefer.data.images import read_image
from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError, DeviceError, EdgeferError
from edgefer.prediction.annotation import annotated
from edgefer.prediction.inputs import is_video
from edgefer.prediction.predictor import Predictor
from edgefer.prediction.result import (
    Face,
    FrameResult,
    InputResult,
    PictureResult,
    Prediction,
    VideoResult,
)
from edgefer.prediction.tracking import FaceTracker
from edgefer.prediction.videos import Frame, FrameSource, open_camera, open_video, writing
from edgefer.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What was seen, and what could not be read; a video that breaks off is in both."""

    prediction: Prediction
    failures: Sequence[EdgeferError]


def predict(
    predictor: Predictor,
    inputs: Sequence[Path],
    *,
    copies: Mapping[Path, Path],
    progress: Progress,
) -> Outcome:
    """Look at images and videos; `copies` says where annotated ones go.

    `progress` counts images and frames; its total grows as videos are opened. Raises ModelError
    where the model fails, OutputError where a copy cannot be written.
    """
    results: list[InputResult] = []
    failures: list[EdgeferError] = []
    done = 0
    for position, path in enumerate(inputs, start=1):
        counted = _following(progress, before=done, after=len(inputs) - position)
        try:
            result, failure = _look(predictor, path, copies.get(path), counted)
        except DataError as exc:
            failures.append(exc)
            continue
        results.append(result)
        failures += [failure] if failure else []
        done += len(result.frames) if isinstance(result, VideoResult) else 1
    return _outcome(predictor, results, failures)


def predict_camera(
    predictor: Predictor, camera: int, *, seconds: float, copy: Path | None, progress: Progress
) -> Outcome:
    """Watch a camera; DeviceError where it is not there."""
    with open_camera(camera, seconds=seconds) as source:
        video, failure = watch(predictor, source, copy, progress)
    return _outcome(predictor, [video], [failure] if failure else [])


def watch(
    predictor: Predictor,
    source: FrameSource,
    copy: Path | None,
    progress: Progress,
) -> tuple[VideoResult, EdgeferError | None]:
    """Look at every frame of a video or a camera, until it ends or breaks off, and why it did.

    Raises what `source.frames` raises where not even one frame could be read.
    """
    seen: list[FrameResult] = []
    failure: EdgeferError | None = None
    with ExitStack() as stack:
        video = stack.enter_context(writing(copy, source)) if copy else None
        try:
            for frame, faces in _followed(predictor, source):
                seen.append(FrameResult(time_s=frame.time_s, faces=faces))
                if video is not None:
                    labels = predictor.classifier.labels
                    video.show(annotated(frame.image, faces, labels), time_s=frame.time_s)
                progress(len(seen), max(len(seen), source.expected))
        except (DataError, DeviceError) as exc:
            if not seen:
                raise
            failure = exc
    result = VideoResult(source=source.name, width=source.width, height=source.height, frames=seen)
    return result, failure


def _followed(predictor: Predictor, source: FrameSource) -> Iterator[tuple[Frame, Sequence[Face]]]:
    """Yield each frame with its faces, numbered and smoothed."""
    tracker = FaceTracker()
    for frame in source.frames:
        yield frame, tracker.follow(predictor.faces(frame.image), time_s=frame.time_s)


def _outcome(
    predictor: Predictor, results: Sequence[InputResult], failures: Sequence[EdgeferError]
) -> Outcome:
    classifier = predictor.classifier
    return Outcome(
        prediction=Prediction(model=classifier.name, labels=classifier.labels, inputs=results),
        failures=failures,
    )


def _following(progress: Progress, *, before: int, after: int) -> Progress:
    """Return the progress of one input among `before` and `after` others."""
    return lambda done, total: progress(before + done, before + total + after)


def _look(
    predictor: Predictor, path: Path, copy: Path | None, progress: Progress
) -> tuple[InputResult, EdgeferError | None]:
    """Look at one file; DataError where nothing of it can be read."""
    if is_video(path):
        with open_video(path) as source:
            return watch(predictor, source, copy, progress)
    result = _look_at_picture(predictor, path, copy)
    progress(1, 1)
    return result, None


def _look_at_picture(predictor: Predictor, path: Path, copy: Path | None) -> PictureResult:
    image = read_image(path)
    faces = predictor.faces(image)
    if copy is not None:
        drawn = annotated(image, faces, predictor.classifier.labels)
        files.write_bytes(copy, _encoded(drawn, copy.suffix))
    height, width = image.shape[:2]
    return PictureResult(source=str(path), width=width, height=height, faces=faces)


def _encoded(image: UInt8Array, suffix: str) -> bytes:
    _, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return content.tobytes()
