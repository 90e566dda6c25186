"""Whether a model's labels stand in the wrong order, found from its confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from edgefer.data.labels import CLASS_ORDERS, canonical

SUSPICIOUS_GAIN_POINTS = 20.0


@dataclass(frozen=True, kw_only=True)
class PermutedOrder:
    """The order of labels under which a model is much better.

    Output `i` of the model, so far called `model_labels[i]`, is `labels[i]`, which is
    `model_labels[permutation[i]]`. `known_order` names the public order with the most labels in
    the same places, None where none has the model's labels; `is_known` says that it is equal.
    """

    permutation: tuple[int, ...]
    labels: tuple[str, ...]
    gain_points: float
    known_order: str | None
    is_known: bool


def likely_order(
    confusion: npt.NDArray[np.integer], model_labels: Sequence[str]
) -> PermutedOrder | None:
    """Return the order that raises the accuracy most, None where that is 20 points or less.

    `confusion` counts faces [true, predicted], both axes in the order of `model_labels`. Where a
    public order is as good as the best one, which can happen when a class has no faces, it is
    the likelier one.
    """
    size = len(model_labels)
    if confusion.shape != (size, size):
        raise ValueError(f"confusion is {confusion.shape}, expected {(size, size)}")
    if not confusion.any():
        return None
    _, best = linear_sum_assignment(confusion.T, maximize=True)
    known = _known_permutations(model_labels)
    hits = _hits(confusion, best)
    equal = [permutation for permutation in known.values() if _hits(confusion, permutation) == hits]
    chosen = equal[0] if equal else best
    gain_points = 100.0 * (hits - int(np.trace(confusion))) / int(confusion.sum())
    if gain_points <= SUSPICIOUS_GAIN_POINTS:
        return None
    nearest = max(known, key=lambda name: int((known[name] == chosen).sum()), default=None)
    return PermutedOrder(
        permutation=tuple(int(position) for position in chosen),
        labels=tuple(model_labels[position] for position in chosen),
        gain_points=gain_points,
        known_order=nearest,
        is_known=nearest is not None and bool((known[nearest] == chosen).all()),
    )


def _hits(confusion: npt.NDArray[np.integer], permutation: npt.NDArray[np.int64]) -> int:
    """Count the faces that are right when output `i` means label `permutation[i]`."""
    return int(confusion[permutation, np.arange(len(permutation))].sum())


def _known_permutations(model_labels: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the public orders of exactly these labels, as positions in `model_labels`."""
    positions = {canonical(label): index for index, label in enumerate(model_labels)}
    return {
        name: np.array([positions[label] for label in order], np.int64)
        for name, order in CLASS_ORDERS.items()
        if set(order) == set(positions) and len(order) == len(model_labels)
    }
