"""Calibration and evaluation faces must not be the same."""

import hashlib

import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.wording import listed
from edgefer.errors import DataError


def content_hash(image: UInt8Array) -> str:
    """Return the SHA-256, in hexadecimal, of a decoded image's shape and pixels.

    The file format and the name make no difference, nor does gray stored as RGB.
    """
    if image.ndim == 3 and (image == image[:, :, :1]).all():
        image = image[:, :, 0]
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def require_disjoint(calibration: LabelledFaces, evaluation: LabelledFaces) -> None:
    """Raise DataError that counts and names the evaluation faces that are calibration faces too."""
    seen = {content_hash(image) for image in calibration.images}
    shared = [
        name
        for name, image in zip(evaluation.names, evaluation.images, strict=True)
        if content_hash(image) in seen
    ]
    if shared:
        raise DataError(
            evaluation.source,
            f"{len(shared)} of its faces are also among the calibration faces of "
            f"{calibration.source}: {listed(shared)}; calibrate on other faces",
        )
