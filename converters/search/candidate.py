"""What a search tried: one conversion, and what it is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgefer.converters.graph import Graph
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search.budget import Verdict
from edgefer.evaluation.metrics import Comparison
from edgefer.records import STRICT


@STRICT
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A conversion by a recipe, compared with the float model on faces held out.

    `recipe` is QuantizationRecipe.to_dict's. Candidates of one `structure` have the same operators
    in the same types, and so the same latency; `latency_ms`, one inference's on the device, is None
    where it was not measured. `seconds` is what converting and comparing took.
    """

    name: str
    recipe: dict[str, str | bool | list[str]]
    comparison: Comparison
    verdict: Verdict
    size_bytes: int
    float_operators: int
    structure: str
    sha256: str
    seconds: float
    latency_ms: float | None = None

    def quantization_recipe(self) -> QuantizationRecipe:
        """Return the recipe as convert takes it."""
        return QuantizationRecipe.from_dict(self.recipe)


@STRICT
@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """All candidates in the order in which they were tried, and the position of the one taken.

    `faces` is on how many the candidates were compared, `reason` says why this one was taken, and
    `complete` whether the ladder was climbed as far as it was worth it within the time limit.
    """

    schema_version: Literal[1] = 1
    max_drop_points: float
    device: str
    faces: int
    candidates: tuple[Candidate, ...]
    chosen: int
    reason: str
    complete: bool
    seconds: float

    @property
    def choice(self) -> Candidate:
        """The candidate that was taken."""
        return self.candidates[self.chosen]


def recipe_values(recipe: QuantizationRecipe) -> dict[str, str | bool | list[str]]:
    """Return a recipe as JSON has it."""
    values = recipe.to_dict()
    return {
        key: value
        if isinstance(value, bool)
        else list(value)
        if isinstance(value, tuple)
        else str(value)
        for key, value in values.items()
    }


def structure(content: Graph) -> str:
    """Return a mark of a graph's operators, and of the types and shapes of what they write."""
    parts = [
        (operator.kind, *((t.dtype, t.shape) for t in content.operands(operator)))
        for operator in content.operators
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def pareto(candidates: Sequence[Candidate]) -> list[int]:
    """Return the positions of measured candidates that no other beats in both drop and latency.

    A drop counts by the upper end of its interval; of equals the first one stands.
    """
    measured = [
        (candidate.latency_ms, candidate.comparison.drop_high_points, position)
        for position, candidate in enumerate(candidates)
        if candidate.latency_ms is not None
    ]
    front: list[int] = []
    least = float("inf")
    for _, drop, position in sorted(measured):
        if drop < least:
            front.append(position)
            least = drop
    return front
