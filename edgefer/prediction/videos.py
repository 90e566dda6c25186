"""Frames out of video files and cameras, and into annotated videos, through OpenCV."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgefer import files
from edgefer.data.images import MAX_PIXELS
from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError, DeviceError, OutputError

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""What an annotated video may be written as: those that OpenCV's own wheels can encode."""

ASSUMED_RATE = 25.0
"""Frames a second where a file or a camera does not say."""

_HIGHEST_RATE = 1000.0
_LOST_SHARE = 0.02
"""A container's number of frames is often an estimate; more than this missing is a break."""

# Read by OpenCV when it opens a file: no lines of FFmpeg's own, and no playlist that fetches.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A picture, uint8 (h, w, 3) RGB, and when it is shown."""

    time_s: float
    image: UInt8Array


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSource:
    """An opened video or camera. `expected` is about how many frames it has, 0 if unknown.

    `frames` may raise when the source breaks off, after the frames that could be read.
    """

    name: str
    width: int
    height: int
    rate: float
    expected: int
    frames: Iterator[Frame]


@contextmanager
def open_video(path: Path) -> Iterator[FrameSource]:
    """Open a video file; DataError where it is none, and from `frames` where it breaks off."""
    _require_file(path)
    with _capture(lambda: cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)) as capture:
        if not capture.isOpened():
            raise DataError(path, "is not a video that OpenCV can read, or is cut off")
        width, height = _size(capture)
        if not 0 < width * height <= MAX_PIXELS:
            raise DataError(
                path, f"is {width}x{height}, more than {MAX_PIXELS >> 20} million pixels"
            )
        expected = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        yield FrameSource(
            name=str(path),
            width=width,
            height=height,
            rate=_rate(capture),
            expected=expected,
            frames=_recorded(path, capture, expected),
        )


@contextmanager
def open_camera(
    number: int, *, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[FrameSource]:
    """Open a camera for `seconds`; DeviceError where it is not there or stops."""
    name = f"camera {number}"
    with _capture(lambda: cv2.VideoCapture(number)) as capture:
        if not capture.isOpened():
            raise DeviceError(name, "is not there, or is in use; --camera takes 0 for the first")
        width, height = _size(capture)
        rate = _rate(capture)
        yield FrameSource(
            name=name,
            width=width,
            height=height,
            rate=rate,
            expected=round(seconds * rate),
            frames=_live(name, capture, seconds, clock),
        )


class VideoFile:
    """A video that is being written; `written` counts its frames."""

    def __init__(self, writer: cv2.VideoWriter, source: FrameSource) -> None:
        self._writer = writer
        self._rate = source.rate
        self._size = (source.width, source.height)
        self.written = 0

    def show(self, image: UInt8Array, *, time_s: float) -> None:
        """Add an RGB picture, as often as it takes until `time_s` is reached."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if image.shape[1::-1] != self._size:  # OpenCV would leave the frame out, and say nothing
            bgr = cv2.resize(bgr, self._size)
        while self.written <= round(time_s * self._rate):
            with _silence():
                self._writer.write(bgr)
            self.written += 1


@contextmanager
def writing(path: Path, source: FrameSource) -> Iterator[VideoFile]:
    """Write a video of the source's size and rate, which appears whole or not at all."""
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    with files.replacing(path) as temporary:
        named = temporary.with_suffix(path.suffix.lower())  # FFmpeg goes by the suffix
        try:
            with _silence():
                writer = cv2.VideoWriter(
                    str(named), cv2.CAP_FFMPEG, codec, source.rate, (source.width, source.height)
                )
            if not writer.isOpened():
                raise OutputError(path, "cannot be written as a video by this OpenCV")
            try:
                video = VideoFile(writer, source)
                yield video
            finally:
                with _silence():
                    writer.release()
            if _frames_of(named) != video.written:  # OpenCV says nothing of a full disk
                raise OutputError(path, "was not written whole; is the disk full?")
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _frames_of(path: Path) -> int:
    """Return how many frames of a video can be read."""
    with _capture(lambda: cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)) as capture, _silence():
        count = 0
        while capture.isOpened() and capture.grab():
            count += 1
    return count


def _require_file(path: Path) -> None:
    if not path.exists():
        raise DataError(path, "does not exist")
    if not path.is_file():
        raise DataError(path, "is not a regular file")


@contextmanager
def _capture(opened: Callable[[], cv2.VideoCapture]) -> Iterator[cv2.VideoCapture]:
    with _silence():
        capture = opened()
    try:
        yield capture
    finally:
        capture.release()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep OpenCV's own lines off stderr: the caller reports what is wrong."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _size(capture: cv2.VideoCapture) -> tuple[int, int]:
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def _rate(capture: cv2.VideoCapture) -> float:
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= _HIGHEST_RATE else ASSUMED_RATE


def _read(capture: cv2.VideoCapture) -> UInt8Array | None:
    with _silence():
        is_read, image = capture.read()
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if is_read else None


def _recorded(path: Path, capture: cv2.VideoCapture, expected: int) -> Iterator[Frame]:
    rate = _rate(capture)
    count = 0
    while (image := _read(capture)) is not None:
        yield Frame(time_s=count / rate, image=image)
        count += 1
    if count == 0:
        raise DataError(path, "has no frame that can be read")
    if expected - count > max(1, _LOST_SHARE * expected):
        raise DataError(path, f"breaks off after {count} of {expected} frames")


def _live(
    name: str, capture: cv2.VideoCapture, seconds: float, clock: Callable[[], float]
) -> Iterator[Frame]:
    start = clock()
    while (elapsed := clock() - start) < seconds:
        image = _read(capture)
        if image is None:
            raise DeviceError(name, "stopped sending pictures")
        yield Frame(time_s=elapsed, image=image)
