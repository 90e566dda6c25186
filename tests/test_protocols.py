"""FER+'s votes to labels, against a plain reading of the protocols one face at a time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.data.ferplus import read_arrays
from edgefer.data.protocols import EMOTIONS, Protocol, label_votes

VOTES = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 20), st.just(10)),
    elements=st.integers(0, 10),
)


def majority_label(votes: list[int]) -> int | None:
    """Apply the majority protocol to one face, in words rather than arrays."""
    remaining = [0 if vote == 1 else vote for vote in votes]
    ranked = sorted(range(10), key=lambda label: remaining[label], reverse=True)
    first, second = ranked[:2]
    if remaining[first] == 0 or remaining[first] == remaining[second]:
        return None
    if remaining[first] / sum(remaining) < 0.5:
        return None
    return first if first < 8 else None


def argmax_label(votes: list[int]) -> int | None:
    """Apply the argmax protocol to one face: the first of the largest, if it is an emotion."""
    label = votes.index(max(votes))
    return label if label < 8 and max(votes) > 0 else None


@given(VOTES)
def test_majority_agrees_with_a_plain_reading_of_it(votes: np.ndarray) -> None:
    labelled = label_votes(votes, Protocol.MAJORITY)
    expected = [majority_label(row) for row in votes.tolist()]
    assert labelled.kept.tolist() == [i for i, label in enumerate(expected) if label is not None]
    assert labelled.labels.tolist() == [label for label in expected if label is not None]


@given(VOTES)
def test_argmax_agrees_with_a_plain_reading_of_it(votes: np.ndarray) -> None:
    labelled = label_votes(votes, Protocol.ARGMAX)
    expected = [argmax_label(row) for row in votes.tolist()]
    assert labelled.kept.tolist() == [i for i, label in enumerate(expected) if label is not None]
    assert labelled.labels.tolist() == [label for label in expected if label is not None]


@given(VOTES, st.sampled_from(Protocol))
def test_votes_are_distributions_whose_top_is_the_label(
    votes: np.ndarray, protocol: Protocol
) -> None:
    labelled = label_votes(votes, protocol)
    assert labelled.votes.dtype == np.float32
    assert labelled.votes.shape == (len(labelled.kept), len(EMOTIONS))
    np.testing.assert_allclose(labelled.votes.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(labelled.votes.argmax(axis=1), labelled.labels)


def test_single_votes_are_dropped_by_majority_and_kept_by_argmax() -> None:
    votes = np.array([[6, 1, 0, 1, 0, 0, 0, 0, 2, 0]], np.uint8)
    assert label_votes(votes, Protocol.MAJORITY).votes.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]
    assert label_votes(votes, Protocol.ARGMAX).votes.tolist() == [
        [0.75, 0.125, 0, 0.125, 0, 0, 0, 0]
    ]


def test_unknown_votes_count_towards_the_half_that_a_majority_needs() -> None:
    exactly_half = [5, 0, 0, 0, 3, 0, 0, 0, 2, 0]
    below_half = [4, 0, 0, 0, 3, 0, 0, 0, 3, 0]
    labelled = label_votes(np.array([exactly_half, below_half]), Protocol.MAJORITY)
    assert labelled.kept.tolist() == [0]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("protocol", "split", "count"),
    [
        (Protocol.MAJORITY, "train", 25_815),
        (Protocol.MAJORITY, "valid", 3_264),
        (Protocol.MAJORITY, "test", 3_226),
        (Protocol.ARGMAX, "train", 28_385),
        (Protocol.ARGMAX, "valid", 3_555),
        (Protocol.ARGMAX, "test", 3_545),
    ],
)
def test_the_published_numbers_of_faces_come_out(
    ferplus_path: Path, protocol: Protocol, split: str, count: int
) -> None:
    votes = read_arrays(ferplus_path, split=split).votes
    assert len(label_votes(votes, protocol).kept) == count
