"""What a search has tried: every recipe once, kept as it goes, while there is time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.quantization import Report
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search import state
from edgefer.converters.search.budget import Verdict, verdict
from edgefer.converters.search.candidate import (
    Candidate,
    FailedCandidate,
    recipe_values,
    structure,
)
from edgefer.converters.search.held_out import HeldOutFaces
from edgefer.converters.search.precision import Ranking
from edgefer.errors import DataError, ModelError

Clock = Callable[[], float]


class TimeIsUpError(Exception):
    """The time limit was reached in the middle of something."""


class Timer:
    """Hands progress on, and ends with TimeIsUpError what is `limited` and takes too long."""

    def __init__(self, limit_s: float, report: Report | None, clock: Clock) -> None:
        self._limit_s, self._report, self._clock = limit_s, report, clock
        self._started = clock()
        self._is_limited = False

    @property
    def seconds(self) -> float:
        """What has passed since the start."""
        return self._clock() - self._started

    def report(self, what: str, done: int, total: int) -> None:
        """Tell how far work is, and end it where its time is up."""
        if self._is_limited and self.seconds > self._limit_s:
            raise TimeIsUpError
        if self._report is not None:
            self._report(what, done, total)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Limit the time of what is done inside."""
        self._is_limited = True
        try:
            yield
        finally:
            self._is_limited = False


class Trials:
    """Converts and compares by one recipe after the other; what `kept`, a file, holds is known.

    `candidates` and `failures` are in the order in which they were tried.
    """

    def __init__(
        self,
        conversion: Conversion,
        held_out: HeldOutFaces,
        max_drop_points: float,
        timer: Timer,
        *,
        kept: Path | None,
        identity: str,
    ) -> None:
        self._conversion, self._held_out, self._timer = conversion, held_out, timer
        self._max_drop_points, self._kept = max_drop_points, kept
        known = state.SearchState(identity=identity)
        self._state = known if kept is None else state.read(kept, identity)
        self._known: dict[str, Candidate | FailedCandidate] = {}
        self._known.update({_key(one.recipe): one for one in self._state.candidates})
        self._known.update({_key(one.recipe): one for one in self._state.failures})
        self._tried: dict[str, Candidate | None] = {}
        self.candidates: list[Candidate] = []
        self.failures: list[FailedCandidate] = []

    @property
    def is_met(self) -> bool:
        """Whether a candidate is within the budget."""
        return any(one.verdict is Verdict.WITHIN for one in self.candidates)

    @property
    def ranking(self) -> Ranking | None:
        """The order of operators that go back to float, where it was kept."""
        return self._state.ranking

    def keep_ranking(self, ranking: Ranking) -> None:
        """Keep an order of operators."""
        self._write(replace(self._state, ranking=ranking))

    def require(self, name: str, recipe: QuantizationRecipe) -> Candidate:
        """Convert and compare, unless that was done before; ModelError or DataError if it fails."""
        self._timer.report(f"Trying {name}", 0, 1)
        found = self._known.get(_key(recipe_values(recipe)))
        if not isinstance(found, Candidate):
            found = self._candidate(name, recipe)
            self._remember(found)
        return self._add(name, found)

    def attempt(self, name: str, recipe: QuantizationRecipe) -> Candidate | None:
        """Do alike, but return None for what fails, which is noted with its reason."""
        key = _key(recipe_values(recipe))
        if key in self._tried:
            return self._tried[key]
        self._timer.report(f"Trying {name}", 0, 1)
        found = self._known.get(key)
        if found is None:
            found = self._outcome(name, recipe)
            self._remember(found)
        if isinstance(found, Candidate):
            return self._add(name, found)
        self.failures.append(replace(found, name=name))
        self._tried[key] = None
        return None

    def _outcome(self, name: str, recipe: QuantizationRecipe) -> Candidate | FailedCandidate:
        try:
            return self._candidate(name, recipe)
        except (ModelError, DataError) as exc:
            return FailedCandidate(name=name, recipe=recipe_values(recipe), reason=str(exc))

    def _add(self, name: str, found: Candidate) -> Candidate:
        judged = verdict(found.comparison, self._max_drop_points)
        added = replace(found, name=name, verdict=judged)
        self.candidates.append(added)
        self._tried[_key(found.recipe)] = added
        return added

    def _remember(self, found: Candidate | FailedCandidate) -> None:
        self._known[_key(found.recipe)] = found
        everything = tuple(self._known.values())
        self._write(
            replace(
                self._state,
                candidates=tuple(one for one in everything if isinstance(one, Candidate)),
                failures=tuple(one for one in everything if isinstance(one, FailedCandidate)),
            )
        )

    def _candidate(self, name: str, recipe: QuantizationRecipe) -> Candidate:
        began = self._timer.seconds
        model = self._conversion.to(recipe)
        comparison = self._held_out.compare(model.tflite)
        return Candidate(
            name=name,
            recipe=recipe_values(recipe),
            comparison=comparison,
            verdict=verdict(comparison, self._max_drop_points),
            size_bytes=len(model.tflite),
            float_operators=sum(model.verification.kept_in_float.values()),
            structure=structure(graph.read(model.tflite)),
            sha256=hashlib.sha256(model.tflite).hexdigest(),
            seconds=self._timer.seconds - began,
        )

    def _write(self, changed: state.SearchState) -> None:
        self._state = changed
        if self._kept is not None:
            state.write(self._kept, changed)


def _key(recipe: object) -> str:
    return json.dumps(recipe, sort_keys=True)
