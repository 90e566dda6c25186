"""Which faces a model can be calibrated on."""

from edgefer.data.disjoint import content_hash
from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError

FEWEST = 8
"""One for each of eight emotions: with fewer, some expression is in no range at all."""


def require_usable(faces: LabelledFaces) -> None:
    """Raise DataError where fewer than 8 faces show something that no other of them shows.

    A picture of one colour is no face, and one picture many times is one face.
    """
    if not len(faces):
        raise DataError(faces.source, "has no faces to calibrate on; give a folder of them")
    if len(faces) < FEWEST:
        raise _too_few(faces, f"has {len(faces)} faces")
    pictures = [image for image in faces.images if not _is_of_one_colour(image)]
    if len(pictures) < FEWEST:
        flat = len(faces) - len(pictures)
        raise _too_few(faces, f"has {flat} pictures of one colour among {len(faces)}")
    different = len({content_hash(image) for image in pictures})
    if different < FEWEST:
        raise _too_few(faces, f"has {different} different faces, repeated to {len(faces)}")


def doubts(faces: LabelledFaces) -> tuple[str, ...]:
    """Return what is questionable about usable faces, a sentence each."""
    seen = set(faces.labels.tolist())
    if len(seen) > 1:
        return ()
    return (
        f"All calibration faces are of one class, {faces.class_names[seen.pop()]}: the ranges may "
        "cut off what other expressions need. Calibrate on faces of every class.",
    )


def _is_of_one_colour(image: UInt8Array) -> bool:
    return bool((image == image[:1, :1]).all())


def _too_few(faces: LabelledFaces, found: str) -> DataError:
    return DataError(faces.source, f"{found}; calibration needs at least {FEWEST} different faces")
