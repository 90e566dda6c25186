"""How FER+'s crowd votes become labels.

The two protocols in use differ in the faces that they count, so a figure has to say which one it
is for. On FER+'s train, valid and test faces `majority` keeps 25,815, 3,264 and 3,226 of them,
`argmax` 28,385, 3,555 and 3,545.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from edgefer.data.labels import FERPLUS_VOTES

EMOTIONS = FERPLUS_VOTES[:8]


class Protocol(StrEnum):
    """`majority` is the usual 8-class protocol of FER+; `argmax` keeps all but the unknown."""

    MAJORITY = "majority"
    ARGMAX = "argmax"


MAJORITY = Protocol.MAJORITY
ARGMAX = Protocol.ARGMAX


@dataclass(frozen=True, kw_only=True)
class LabelledVotes:
    """The faces that count under a protocol.

    `kept` are int64 positions in the votes that were given; `labels` are int64 positions in
    `EMOTIONS`; `votes` are float32 (kept, 8), each row a distribution over `EMOTIONS`.
    """

    kept: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32]


def label_votes(votes: npt.NDArray[np.integer], protocol: Protocol) -> LabelledVotes:
    """Apply a protocol to crowd votes (n, 10), not negative, in the order of FERPLUS_VOTES."""
    counted = without_single_votes(votes) if protocol is MAJORITY else votes.astype(np.int64)
    counts = has_majority(counted) if protocol is MAJORITY else has_emotion_on_top(counted)
    kept = np.flatnonzero(counts)
    emotions = counted[kept, : len(EMOTIONS)]
    return LabelledVotes(
        kept=kept,
        labels=emotions.argmax(axis=1),
        votes=(emotions / emotions.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def without_single_votes(votes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the votes with 0 wherever a class has only one: FER+ takes those for mistakes."""
    return np.where(votes > 1, votes, 0).astype(np.int64)


def has_majority(votes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which faces have one emotion alone on top, with at least half of all the votes.

    Votes for `unknown` and `NF` count among all the votes.
    """
    top = votes.max(axis=1)
    alone = (votes == top[:, None]).sum(axis=1) == 1
    at_least_half = 2 * top >= votes.sum(axis=1)
    counts: npt.NDArray[np.bool_] = has_emotion_on_top(votes) & alone & at_least_half
    return counts


def has_emotion_on_top(votes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which faces have an emotion, rather than `unknown` or `NF`, as their first top class.

    The first in the order of FERPLUS_VOTES wins a tie, so an emotion wins against `unknown`.
    """
    is_emotion: npt.NDArray[np.bool_] = votes.argmax(axis=1) < len(EMOTIONS)
    return is_emotion & votes.any(axis=1)
