"""A permuted label order is found, and the known order that it is gets named."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.data.label_order import likely_order
from edgefer.data.labels import ALPHABETICAL_8, CLASS_ORDERS

EIGHT_LABEL_ORDERS = [
    name for name, order in CLASS_ORDERS.items() if set(order) == set(ALPHABETICAL_8)
]


def confusion_of(true_order: tuple[str, ...], believed: tuple[str, ...], right: int) -> np.ndarray:
    """Return what a model of `true_order` shows when it is read as `believed`.

    Each class has 100 faces; `right` of them are recognised and the rest spread evenly.
    """
    confusion = np.full((len(believed),) * 2, (100 - right) // (len(believed) - 1))
    for output, meant in enumerate(true_order):
        confusion[believed.index(meant), output] = right
    return confusion


@pytest.mark.parametrize("name", [name for name in EIGHT_LABEL_ORDERS if name != "alphabetical"])
def test_a_public_order_read_as_alphabetical_is_named(name: str) -> None:
    found = likely_order(confusion_of(CLASS_ORDERS[name], ALPHABETICAL_8, 86), ALPHABETICAL_8)
    assert found is not None
    assert found.labels == CLASS_ORDERS[name]
    assert (found.known_order, found.is_known) == (name, True)
    assert found.gain_points > 20


@pytest.mark.parametrize("right", [30, 86, 100])
def test_the_right_order_is_left_alone(right: int) -> None:
    assert likely_order(confusion_of(ALPHABETICAL_8, ALPHABETICAL_8, right), ALPHABETICAL_8) is None


def test_labels_of_another_wording_are_matched_and_kept() -> None:
    believed = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    meant = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    found = likely_order(confusion_of(meant, believed, 93), believed)
    assert found is not None
    assert found.labels == meant
    assert (found.known_order, found.is_known) == ("FER2013", True)


def test_an_order_that_nobody_uses_names_the_closest() -> None:
    meant = list(CLASS_ORDERS["AffectNet"])
    meant[6], meant[7] = meant[7], meant[6]
    found = likely_order(confusion_of(tuple(meant), ALPHABETICAL_8, 86), ALPHABETICAL_8)
    assert found is not None
    assert found.labels == tuple(meant)
    assert (found.known_order, found.is_known) == ("AffectNet", False)


def test_a_class_without_faces_does_not_hide_the_public_order() -> None:
    confusion = confusion_of(CLASS_ORDERS["FER+"], ALPHABETICAL_8, 100)
    for label in ("contempt", "disgust", "fear"):
        confusion[ALPHABETICAL_8.index(label)] = 0
    found = likely_order(confusion, ALPHABETICAL_8)
    assert found is not None
    assert (found.labels, found.is_known) == (CLASS_ORDERS["FER+"], True)


def test_labels_that_no_public_order_has_get_no_name() -> None:
    found = likely_order(np.array([[0, 9], [9, 0]]), ("awake", "asleep"))
    assert found is not None
    assert (found.labels, found.known_order, found.is_known) == (("asleep", "awake"), None, False)
    assert found.gain_points == 100


def test_twenty_points_are_not_suspicious_and_more_are() -> None:
    labels = ("a", "b")
    assert likely_order(np.array([[40, 60], [0, 0]]), labels) is None
    found = likely_order(np.array([[39, 61], [0, 0]]), labels)
    assert found is not None
    assert found.gain_points == pytest.approx(22)


def test_no_faces_mean_no_order() -> None:
    assert likely_order(np.zeros((8, 8), int), ALPHABETICAL_8) is None


def test_a_confusion_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"confusion is \(7, 7\), expected \(8, 8\)"):
        likely_order(np.zeros((7, 7), int), ALPHABETICAL_8)


@given(arrays.arrays(np.int64, (4, 4), elements=st.integers(0, 50)))
def test_no_permutation_gains_more(confusion: np.ndarray) -> None:
    """Compare with trying all 24 permutations."""
    total = max(int(confusion.sum()), 1)
    hits = [int(confusion[list(order), range(4)].sum()) for order in permutations(range(4))]
    best_gain = 100 * (max(hits) - int(np.trace(confusion))) / total
    found = likely_order(confusion, ("a", "b", "c", "d"))
    assert (found is not None) == (best_gain > 20)
    if found is not None:
        assert found.gain_points == pytest.approx(best_gain)
        assert int(confusion[list(found.permutation), range(4)].sum()) == max(hits)
