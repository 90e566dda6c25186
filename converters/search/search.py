"""The search: up the ladder until a candidate is within the budget, then the fastest of those.

Nothing in it is random: the same faces and model try the same candidates, byte for byte. Only what
latency decides, the order of operators that go back to float and the choice among candidates within
the budget, is as repeatable as the device is.

NNCF's accuracy-aware training and AIMET's AutoQuant do alike for OpenVINO and for Qualcomm's
runtimes; here candidates are judged by the interval of a paired drop, and timed on the device.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgefer.converters import graph
from edgefer.converters.conversion import Conversion, ConvertedModel, faces_hash
from edgefer.converters.quantization import Report
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search import ladder, state
from edgefer.converters.search.budget import Budget, Verdict, faces_needed, verdict
from edgefer.converters.search.candidate import (
    Candidate,
    SearchResult,
    recipe_values,
    structure,
)
from edgefer.converters.search.held_out import HeldOutFaces, split
from edgefer.converters.search.latencies import CHOOSING, RANKING, Latencies, on_device
from edgefer.converters.search.precision import float_steps
from edgefer.converters.sensitivity import with_floats
from edgefer.data.faces import LabelledFaces
from edgefer.models.spec import ModelSpec

SAME_LATENCY = 1.02
"""Latencies that differ by less are taken for the same, and the better answers decide."""

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What times candidates: for choosing among them, and for ranking single operators."""

    choosing: Latencies
    ranking: Latencies

    @classmethod
    def of(cls, device: str) -> Measures:
        """Return those that measure on a device."""
        return cls(choosing=on_device(device, CHOOSING), ranking=on_device(device, RANKING))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is converted: a float .tflite with its spec, by variations of an int8 recipe."""

    float_tflite: bytes
    spec: ModelSpec
    recipe: QuantizationRecipe
    source: Path | str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found: the model that it took, and all that it tried."""

    model: ConvertedModel
    result: SearchResult


def search(
    subject: Subject,
    faces: LabelledFaces,
    budget: Budget,
    *,
    kept: Path | None = None,
    measures: Measures | None = None,
    report: Report | None = None,
    clock: Clock = time.monotonic,
) -> Found:
    """Return the fastest conversion within the budget, or the nearest one that was found.

    `faces` are parted into those that ranges are taken from and those that candidates answer.
    `kept` is the file in which the search goes on where it was left. At least one candidate is
    tried, however short the time. Raises DataError where the faces are too few, DeviceError where
    the device fails.
    """
    calibration, held_out = split(faces)
    conversion = Conversion(
        subject.float_tflite, subject.spec, calibration, source=subject.source, report=report
    )
    answered = HeldOutFaces(held_out, conversion.spec, conversion.float_tflite)
    run = _Search(
        subject=subject,
        budget=budget,
        conversion=conversion,
        held_out=answered,
        measures=measures or Measures.of(budget.device),
        report=report or (lambda _what, _done, _total: None),
        clock=clock,
        kept=kept,
        identity=_identity(subject, faces, budget),
    )
    return run.run()


def _identity(subject: Subject, faces: LabelledFaces, budget: Budget) -> str:
    return state.identity(
        {
            "model": hashlib.sha256(subject.float_tflite).hexdigest(),
            "spec": subject.spec.to_dict(),
            "recipe": recipe_values(subject.recipe),
            "faces": faces_hash(faces),
            "max_drop_points": budget.max_drop_points,
        }
    )


@dataclass
class _Search:
    subject: Subject
    budget: Budget
    conversion: Conversion
    held_out: HeldOutFaces
    measures: Measures
    report: Report
    clock: Clock
    kept: Path | None
    identity: str
    candidates: list[Candidate] = field(default_factory=list)
    known: dict[str, Candidate] = field(default_factory=dict)
    started: float = 0.0
    complete: bool = True

    def run(self) -> Found:
        self.started = self.clock()
        if self.kept is not None:
            self.known = {one.name: one for one in state.read(self.kept, self.identity)}
        best = self._try("plain", ladder.plain(self.subject.recipe))
        best = self._climb(best)
        if not self._is_met():
            self._back_to_float(best)
        self._measure()
        chosen, reason = choice(self.candidates, self.budget, len(self.held_out))
        model = self.conversion.to(self.candidates[chosen].quantization_recipe())
        return Found(
            model=model,
            result=SearchResult(
                max_drop_points=self.budget.max_drop_points,
                device=self.budget.device,
                faces=len(self.held_out),
                candidates=tuple(self.candidates),
                chosen=chosen,
                reason=reason,
                complete=self.complete,
                seconds=self.clock() - self.started,
            ),
        )

    def _climb(self, best: Candidate) -> Candidate:
        """Take from each rung what is better than before, until something is within the budget."""
        for rung in ladder.RUNGS:
            if self._is_met():
                break
            base = best
            for option in rung.options:
                if self._out_of_time():
                    return best
                recipe = replace(base.quantization_recipe(), **option.changes)
                name = f"{base.name}, {option.name}" if base.name != "plain" else option.name
                best = min(best, self._try(name, recipe), key=_distance)
        return best

    def _back_to_float(self, best: Candidate) -> None:
        """Let more and more operators compute in float, until that is within the budget."""
        if self._out_of_time():
            return
        recipe = best.quantization_recipe()
        steps = float_steps(
            self.conversion,
            recipe,
            self.held_out.inputs,
            self.measures.ranking,
            progress=lambda done, total: self.report("Ranking operators", done, total),
        )
        for count in _growing(len(steps)):
            if self._out_of_time():
                return
            names = {step.tensor for step in steps[:count]}
            what = "1 operator" if count == 1 else f"{count} operators"
            tried = self._try(f"{best.name}, {what} in float", with_floats(recipe, names))
            if tried.verdict is Verdict.WITHIN:
                return

    def _try(self, name: str, recipe: QuantizationRecipe) -> Candidate:
        """Convert and compare, unless that was done before."""
        self.report(f"Trying {name}", 0, 1)
        values = recipe_values(recipe)
        found = self.known.get(name)
        if found is None or found.recipe != values:
            found = self._candidate(name, recipe)
        self.candidates.append(found)
        self._keep()
        return found

    def _candidate(self, name: str, recipe: QuantizationRecipe) -> Candidate:
        began = self.clock()
        model = self.conversion.to(recipe)
        comparison = self.held_out.compare(model.tflite)
        return Candidate(
            name=name,
            recipe=recipe_values(recipe),
            comparison=comparison,
            verdict=verdict(comparison, self.budget.max_drop_points),
            size_bytes=len(model.tflite),
            float_operators=sum(model.verification.kept_in_float.values()),
            structure=structure(graph.read(model.tflite)),
            sha256=hashlib.sha256(model.tflite).hexdigest(),
            seconds=self.clock() - began,
        )

    def _measure(self) -> None:
        """Time one candidate of each structure, in turns with the others, and give it to all."""
        first = {one.structure: one for one in reversed(self.candidates)}
        models = {
            mark: self.conversion.to(one.quantization_recipe()).tflite
            for mark, one in first.items()
        }
        found = self.measures.choosing(
            models, lambda done, total: self.report("Measuring latency", done, total)
        )
        self.candidates = [replace(one, latency_ms=found[one.structure]) for one in self.candidates]

    def _keep(self) -> None:
        if self.kept is not None:
            everything = {**self.known, **{one.name: one for one in self.candidates}}
            state.write(self.kept, self.identity, tuple(everything.values()))

    def _is_met(self) -> bool:
        return any(one.verdict is Verdict.WITHIN for one in self.candidates)

    def _out_of_time(self) -> bool:
        if self.clock() - self.started > self.budget.time_limit_s:
            self.complete = False
        return not self.complete


def choice(candidates: Sequence[Candidate], budget: Budget, faces: int) -> tuple[int, str]:
    """Return the position of the candidate to take, of those compared on `faces`, and why.

    The fastest of those within the budget, else the one whose interval ends nearest to it.
    """
    within = [i for i, one in enumerate(candidates) if one.verdict is Verdict.WITHIN]
    allowed = f"{budget.max_drop_points:g} points"
    if within:
        fastest = min(_latency(candidates[i]) for i in within)
        equal = [i for i in within if _latency(candidates[i]) <= SAME_LATENCY * fastest]
        chosen = min(equal, key=lambda i: (_distance(candidates[i]), i))
        return chosen, f"the fastest whose drop is shown to be within {allowed}"
    chosen = min(
        range(len(candidates)),
        key=lambda i: (candidates[i].comparison.drop_high_points, _distance(candidates[i]), i),
    )
    needed = faces_needed(candidates[chosen].comparison, budget.max_drop_points, faces)
    more = "" if needed is None else f", for which about {needed:,} faces held out would be needed"
    return (
        chosen,
        f"none is shown to be within {allowed} on the {faces:,} faces held out{more}; its drop's "
        "interval ends nearest to that",
    )


def _distance(candidate: Candidate) -> float:
    """Return how far answers are from the float model's, finer than counting faces."""
    return candidate.comparison.mean_probability_change


def _latency(candidate: Candidate) -> float:
    return float("inf") if candidate.latency_ms is None else candidate.latency_ms


def _growing(count: int) -> Iterator[int]:
    """Yield 1, 2, 4 … and `count`."""
    size = 1
    while size < count:
        yield size
        size *= 2
    if count:
        yield count
