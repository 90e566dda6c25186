"""Pixels written as text, as FER2013 has them: `70 80 82 …`."""

import numpy as np

from edgefer.data.preprocessing import UInt8Array

_ALLOWED = b"0123456789 "


def parse_pixels(text: bytes) -> UInt8Array | None:
    """Return the numbers of 0…255 in `text`, one or more spaces apart; None for anything else."""
    if text.translate(None, _ALLOWED) or not text.strip():
        return None
    # As int64, because numpy wraps what is too large for a smaller type.
    numbers = np.fromstring(text, np.int64, sep=" ")
    return None if numbers.max() > 255 or numbers.min() < 0 else numbers.astype(np.uint8)
