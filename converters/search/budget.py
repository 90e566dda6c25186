"""What a conversion may cost, and what a measured drop says about it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from edgefer.errors import BudgetError, UsageError
from edgefer.evaluation.metrics import Comparison

LOCAL = "local"


class Verdict(StrEnum):
    """Whether a drop is within the budget, by its 95% interval and not by its point.

    `open` says that the faces are too few to tell.
    """

    WITHIN = "within"
    OPEN = "open"
    BEYOND = "beyond"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much accuracy a conversion may lose, in percentage points, and what finding it may take.

    Latency is measured on `device`, an address of `edgefer.benchmarks`.
    """

    max_drop_points: float
    time_limit_s: float = 1800.0
    device: str = LOCAL

    def __post_init__(self) -> None:
        if not (self.max_drop_points >= 0 and math.isfinite(self.max_drop_points)):
            raise UsageError(
                f"a drop of at most {self.max_drop_points} points: give 0 or more, such as 0.3"
            )
        if not self.time_limit_s > 0:
            raise UsageError(f"a time limit of {self.time_limit_s} s: give some minutes")


def verdict(comparison: Comparison, max_drop_points: float) -> Verdict:
    """Return what a drop's interval says about a budget."""
    if comparison.drop_high_points <= max_drop_points:
        return Verdict.WITHIN
    if comparison.drop_low_points > max_drop_points:
        return Verdict.BEYOND
    return Verdict.OPEN


def faces_needed(comparison: Comparison, max_drop_points: float, faces: int) -> int | None:
    """Return about how many faces would show that such a drop is within the budget.

    An interval narrows with the square root of the faces. None where the drop itself is beyond
    the budget, which no number of faces changes.
    """
    room = max_drop_points - comparison.drop_points
    if room <= 0:
        return None
    return math.ceil(faces * ((comparison.drop_high_points - comparison.drop_points) / room) ** 2)


def require_within(
    comparison: Comparison, max_drop_points: float, *, name: str, faces: int
) -> None:
    """Raise BudgetError, which says what is missing, unless a drop is shown to be within."""
    found = verdict(comparison, max_drop_points)
    if found is Verdict.WITHIN:
        return
    drop = (
        f"{name}: loses {comparison.drop_points:+.2f} points "
        f"({comparison.drop_low_points:+.2f}…{comparison.drop_high_points:+.2f})"
    )
    needed = faces_needed(comparison, max_drop_points, faces)
    if found is Verdict.BEYOND or needed is None:
        raise BudgetError(
            f"{drop}, more than the {max_drop_points:g} allowed; it is the nearest that was found"
        )
    raise BudgetError(
        f"{drop}, which {faces:,} faces do not show to be within the {max_drop_points:g} allowed: "
        f"give --data about {needed:,}, or allow more"
    )
