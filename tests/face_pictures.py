"""Pictures and videos with real faces at known places: FER+'s, enlarged, on a plain ground."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgefer import calibration_data
from edgefer.data.images import read_image
from edgefer.data.preprocessing import UInt8Array
from edgefer.prediction.boxes import Box

FOLDER = calibration_data.FOLDER / "evaluation"
CLEAR_FACES = ("happiness/fer0032230.png", "surprise/fer0032237.png")
"""A laughing girl and a startled boy, both from the front."""

GROUND = 90


def picture(
    places: Sequence[tuple[int, int]],
    *,
    width: int = 720,
    height: int = 480,
    side: int = 200,
    names: Sequence[str] = CLEAR_FACES,
) -> UInt8Array:
    """Return an RGB picture with the faces' upper left corners at `places`, (x, y)."""
    canvas = np.full((height, width, 3), GROUND, np.uint8)
    for name, (left, top) in zip(names, places, strict=False):
        face = cv2.resize(read_image(FOLDER / name), (side, side), interpolation=cv2.INTER_CUBIC)
        canvas[top : top + side, left : left + side] = face[:, :, np.newaxis]
    return canvas


def frame_of(place: tuple[int, int], *, side: int = 200) -> Box:
    """Return the box of a face that `picture` put at `place`."""
    left, top = place
    return Box(left=left, top=top, right=left + side, bottom=top + side)


def write_picture(path: Path, image: UInt8Array) -> Path:
    """Write an RGB picture."""
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def write_video(
    path: Path, frames: Sequence[UInt8Array], *, rate: float = 10.0, codec: str = "MJPG"
) -> Path:
    """Write a video with OpenCV; MJPG for .avi, mp4v for .mp4."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def moving_faces(count: int) -> list[UInt8Array]:
    """Return frames in which two faces move, one to the right and one downwards."""
    return [picture([(40 + 3 * step, 40), (440, 100 + 2 * step)]) for step in range(count)]
