"""Which candidate is taken, and which are worth a look."""

from collections.abc import Sequence

from edgefer.converters.search.budget import Verdict, faces_needed
from edgefer.converters.search.candidate import Candidate

SAME_LATENCY = 1.02
"""Latencies that differ by less are taken for the same, and the better answers decide."""


def choice(candidates: Sequence[Candidate], max_drop_points: float, faces: int) -> tuple[int, str]:
    """Return the position of the candidate to take, of those compared on `faces`, and why.

    The fastest of those within the budget. Without one, it is the one with the nearest answers
    among those that the faces do not show to be beyond, since a face more or less that is right
    says little there; and where all are beyond, the one whose interval ends nearest.
    """
    measured = [i for i, one in enumerate(candidates) if one.latency_ms is not None]
    positions = measured or list(range(len(candidates)))
    allowed = f"{max_drop_points:g} points"
    within = [i for i in positions if candidates[i].verdict is Verdict.WITHIN]
    if within:
        chosen = _fastest(candidates, within)
        return chosen, f"the fastest whose drop is shown to be within {allowed}"
    undecided = [i for i in positions if candidates[i].verdict is Verdict.OPEN]
    if undecided:
        chosen = min(undecided, key=lambda i: (distance(candidates[i]), i))
        needed = faces_needed(candidates[chosen].comparison, max_drop_points, faces)
        more = "" if needed is None else f", for which it takes about {needed:,}"
        return (
            chosen,
            f"none is shown to be within {allowed} on the {faces:,} faces held out{more}; of those "
            "that may be, its answers are nearest to the float model's",
        )
    chosen = min(
        positions,
        key=lambda i: (candidates[i].comparison.drop_high_points, distance(candidates[i]), i),
    )
    return chosen, f"all lose more than {allowed}; its drop's interval ends nearest to that"


def distance(candidate: Candidate) -> float:
    """Return how far answers are from the float model's, finer than counting faces."""
    return candidate.comparison.mean_probability_change


def pareto(candidates: Sequence[Candidate], costs: Sequence[float | None]) -> list[int]:
    """Return the positions of candidates that no other beats in both drop and cost, cheap first.

    A drop counts by the upper end of its interval. Of equals the one with the nearer answers
    stands, and of those the first one; what has no cost is left out.
    """
    known = [
        (cost, candidate.comparison.drop_high_points, distance(candidate), position)
        for position, (candidate, cost) in enumerate(zip(candidates, costs, strict=True))
        if cost is not None
    ]
    front: list[int] = []
    least = float("inf")
    for _, drop, _, position in sorted(known):
        if drop < least:
            front.append(position)
            least = drop
    return front


def _fastest(candidates: Sequence[Candidate], positions: Sequence[int]) -> int:
    fastest = min(_latency(candidates[i]) for i in positions)
    equal = [i for i in positions if _latency(candidates[i]) <= SAME_LATENCY * fastest]
    return min(equal, key=lambda i: (distance(candidates[i]), i))


def _latency(candidate: Candidate) -> float:
    return float("inf") if candidate.latency_ms is None else candidate.latency_ms
