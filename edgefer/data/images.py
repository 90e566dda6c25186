"""Image files in: decoded by OpenCV, within bounds."""

import stat
from pathlib import Path

import cv2
import numpy as np

from edgefer.data.image_header import image_size
from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError

SMALLEST_SIDE = 8
MAX_PIXELS = 1 << 26
MAX_FILE_BYTES = 1 << 28
MAX_DECODED_BYTES = 8 << 30
"""A dataset is held in memory; one that decodes to more than this is refused."""
TOO_LARGE = f"holds more than {MAX_DECODED_BYTES >> 30} GB of pixels; use smaller images or fewer"


def read_image(path: Path) -> UInt8Array:
    """Read a PNG, JPEG, BMP, WebP or PNM file as uint8, (h, w) gray or (h, w, 3) RGB.

    Turned upright as its EXIF orientation says, without its transparency, 16 bits scaled to 8.
    Raises DataError where it is no such image, is damaged, under 8 pixels wide or high, or
    has more than 64 million pixels.
    """
    try:
        return decode_image(_read_bytes(path))
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise DataError(path, str(exc)) from exc


def decode_image(content: bytes) -> UInt8Array:
    """Decode the bytes of an image file as `read_image` does; ValueError holds the reason."""
    width, height = image_size(content)
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"is {width}x{height}, smaller than {SMALLEST_SIDE}x{SMALLEST_SIDE}")
    if width * height > MAX_PIXELS:
        raise ValueError(f"is {width}x{height}, more than {MAX_PIXELS >> 20} million pixels")
    image = _decode_quietly(content)
    if image is None:
        raise ValueError("the image is damaged")
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image, np.uint8)


def _read_bytes(path: Path) -> bytes:
    """Read a regular file; a pipe or a device would block or never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file")
    if status.st_size == 0:
        raise ValueError("is empty")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"has more than {MAX_FILE_BYTES >> 20} MB")
    return path.read_bytes()


def _decode_quietly(content: bytes) -> np.ndarray | None:
    """Decode without OpenCV's own lines on stderr: the caller reports what is wrong."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        # Not IMREAD_UNCHANGED, which would ignore the EXIF orientation.
        return cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        )
    except cv2.error:
        return None
    finally:
        logging.setLogLevel(level)
