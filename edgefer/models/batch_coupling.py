"""Whether a model's answer for an image depends on the other images of its batch.

A network that mixes the images of a batch has an accuracy that depends on how it is evaluated,
and loses on a device, which sees one image at a time, whatever the mixing gave.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.errors import ModelError
from edgefer.progress import Progress

if TYPE_CHECKING:
    import keras

Float32Array = npt.NDArray[np.float32]

TOLERANCE = 1e-4
"""A change up to this is rounding: float kernels sum in another order for another batch size,
which moves probabilities by about 1e-6. It is a share of the largest output where that is above
1, as logits can be.
"""

GROUP_SIZES = (2, 4, 8)
"""Each image is seen in one group of about each of these sizes, with other neighbours in each."""


@dataclass(frozen=True, kw_only=True)
class BatchCoupling:
    """How much the answers for single images change when the images share a batch.

    `largest_change` is that of one output (a probability of 0…1 after a softmax);
    `changed_answers` counts the images whose highest class changes. All but `images` are None
    where it cannot be measured, and `reason` says why.
    """

    images: int
    largest_change: float | None = None
    changed_answers: int | None = None
    coupled: bool | None = None
    reason: str | None = None

    @property
    def changed_share(self) -> float | None:
        """The share of images whose answer changes."""
        return None if self.changed_answers is None else self.changed_answers / self.images


def measure(
    predict: Callable[[Float32Array], Float32Array],
    images: Float32Array,
    *,
    source: Path | str = "the model",
    progress: Progress | None = None,
) -> BatchCoupling:
    """Compare each image's answer alone with its answers among others.

    `predict` takes float32 (batch, ...) and returns float32 (batch, classes). `images` are
    float32 (n, ...), at least two that differ (ValueError); the more they differ, the better
    coupling shows. Raises ModelError that names `source` where the outputs are no answers.
    """
    if len(images) < 2 or np.array_equal(images, np.broadcast_to(images[:1], images.shape)):
        raise ValueError("batch coupling needs at least two different images")
    total = (1 + len(GROUP_SIZES)) * len(images)
    alone = _answers(predict, images, np.arange(len(images)), len(images), source)
    report = progress or (lambda _done, _total: None)
    report(len(images), total)
    changes = np.zeros(len(images), np.float32)
    is_changed = np.zeros(len(images), np.bool_)
    shuffle = np.random.default_rng(0)
    for passes, size in enumerate(GROUP_SIZES, start=2):
        order = shuffle.permutation(len(images))
        among = _answers(predict, images, order, max(1, len(images) // size), source)
        changes = np.maximum(changes, abs(among - alone).max(axis=1))
        is_changed |= among.argmax(axis=1) != alone.argmax(axis=1)
        report(passes * len(images), total)
    return BatchCoupling(
        images=len(images),
        largest_change=float(changes.max()),
        changed_answers=int(is_changed.sum()),
        coupled=bool(changes.max() > TOLERANCE * max(1.0, abs(alone).max())),
    )


def of_keras(
    model: keras.Model, images: Float32Array, *, progress: Progress | None = None
) -> BatchCoupling:
    """Measure a Keras model of one input and one output; its batch must not be fixed."""
    inputs = getattr(model, "inputs", None) or []
    outputs = getattr(model, "outputs", None) or []
    if len(inputs) > 1 or len(outputs) > 1:
        return _not_measurable(images, "it has more than one input or output")
    if inputs and inputs[0].shape[0] is not None:
        return _not_measurable(images, f"its batch size is fixed at {inputs[0].shape[0]}")

    return measure(
        lambda batch: keras_answers(model, batch), images, source=model.name, progress=progress
    )


def keras_answers(model: keras.Model, batch: Float32Array) -> Float32Array:
    """Return what a Keras model answers for a batch, float32 (batch, classes)."""
    with warnings.catch_warnings():
        # Keras warns of attention over a batch of one, which is what a device computes.
        warnings.filterwarnings("ignore", "You are using a softmax over axis", UserWarning)
        return np.asarray(model(batch, training=False), np.float32)


def of_tflite(
    path: Path, images: Float32Array, *, progress: Progress | None = None
) -> BatchCoupling:
    """Measure a .tflite classifier whose file leaves the batch size free."""
    model = runtime.open_model(path)
    if not model.free_batch:
        return _not_measurable(images, "its batch size is fixed at 1")
    return measure(model.probabilities_together, images, source=path, progress=progress)


def _not_measurable(images: Float32Array, reason: str) -> BatchCoupling:
    return BatchCoupling(images=len(images), reason=reason)


def _answers(
    predict: Callable[[Float32Array], Float32Array],
    images: Float32Array,
    order: npt.NDArray[np.int64],
    groups: int,
    source: Path | str,
) -> Float32Array:
    """Predict in `groups` batches of near equal size, drawn in `order`; rows as in `images`."""
    rows: dict[int, Float32Array] = {}
    for group in np.array_split(order, groups):
        outputs = predict(images[group])
        if outputs.shape[:1] != group.shape or not np.isfinite(outputs).all():
            raise ModelError(source, f"gives no finite answer for each of {len(group)} images")
        rows.update(zip(group.tolist(), outputs.reshape(len(group), -1), strict=True))
    return np.stack([rows[position] for position in range(len(images))])
