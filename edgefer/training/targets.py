"""What the network is trained towards: distributions over its classes."""

import numpy as np
import numpy.typing as npt

from edgefer.data import labels as label_names
from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import Float32Array


def targets(faces: LabelledFaces, class_names: tuple[str, ...], *, soft: bool) -> Float32Array:
    """Return target distributions (n, classes) in the network's class order.

    Soft targets are the votes where the dataset has them; otherwise one-hot labels.
    """
    columns = label_names.match(faces.class_names, class_names)
    result = np.zeros((len(faces), len(class_names)), np.float32)
    if soft and faces.votes is not None:
        result[:, columns] = faces.votes
    else:
        result[np.arange(len(faces)), np.asarray(columns)[faces.labels]] = 1
    return result


def balanced_weights(hard_labels: npt.NDArray[np.int64], classes: int) -> Float32Array:
    """Return n / (classes × count) for each class, as scikit-learn's `balanced` does."""
    counts = np.bincount(hard_labels, minlength=classes)
    present = np.count_nonzero(counts)
    return (len(hard_labels) / (present * np.maximum(counts, 1))).astype(np.float32)
