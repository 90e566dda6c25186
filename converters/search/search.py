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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.conversion import Conversion, ConvertedModel, tool_versions
from edgefer.converters.insight.sensitivity import with_floats
from edgefer.converters.quantization import Report
from edgefer.converters.recipes import QuantizationRecipe
from edgefer.converters.search import ladder, state
from edgefer.converters.search.budget import Budget, Verdict, least_shown
from edgefer.converters.search.candidate import Candidate, SearchResult
from edgefer.converters.search.choosing import choice, distance
from edgefer.converters.search.held_out import HeldOutFaces, split
from edgefer.converters.search.latencies import CHOOSING, RANKING, Latencies, on_device, quick
from edgefer.converters.search.precision import SENSITIVITY_FACES, FloatStep, Ranking, float_steps
from edgefer.converters.search.trials import Clock, TimeIsUpError, Timer, Trials
from edgefer.data.disjoint import content_hash
from edgefer.data.faces import LabelledFaces
from edgefer.errors import UsageError
from edgefer.models.spec import ModelSpec


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
    faces: LabelledFaces | CalibrationResult,
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
    tried, however short the time. Raises UsageError for a calibration without faces, DataError
    where they are too few, ModelError where not even plain int8 can be made, and DeviceError where
    the device fails.
    """
    if isinstance(faces, CalibrationResult):
        raise UsageError(
            "a search compares conversions on faces, and a calibration file holds none; give "
            "--calibration the dataset itself"
        )
    timer = Timer(budget.time_limit_s, report, clock)
    calibration, held_out = split(faces)
    conversion = Conversion(
        subject.float_tflite, subject.spec, calibration, source=subject.source, report=timer.report
    )
    answered = HeldOutFaces(held_out, conversion.spec, conversion.float_tflite)
    trials = Trials(
        conversion,
        answered,
        budget.max_drop_points,
        timer,
        kept=kept,
        identity=_identity(subject, faces),
    )
    return _Search(
        subject=subject,
        budget=budget,
        conversion=conversion,
        held_out=answered,
        measures=measures or Measures.of(budget.device),
        trials=trials,
        timer=timer,
    ).run()


def _identity(subject: Subject, faces: LabelledFaces) -> str:
    """Return a hash of all that decides over a candidate, which a budget does not."""
    return state.identity(
        {
            "model": hashlib.sha256(subject.float_tflite).hexdigest(),
            "spec": subject.spec.to_dict(),
            "faces": [content_hash(image) for image in faces.images],
            "labels": [faces.class_names[label] for label in faces.labels],
            "tools": tool_versions(),
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    subject: Subject
    budget: Budget
    conversion: Conversion
    held_out: HeldOutFaces
    measures: Measures
    trials: Trials
    timer: Timer

    def run(self) -> Found:
        self._reach_device()
        plain = self.trials.require(ladder.PLAIN_NAME, ladder.plain(self.subject.recipe))
        is_complete = self._try_more(plain)
        candidates = self._measured()
        chosen, reason = choice(candidates, self.budget.max_drop_points, len(self.held_out))
        model = self.conversion.to(candidates[chosen].quantization_recipe())
        return Found(
            model=model,
            result=SearchResult(
                max_drop_points=self.budget.max_drop_points,
                device=self.budget.device,
                faces=len(self.held_out),
                least_drop_points=self._least_drop_points,
                candidates=tuple(candidates),
                failures=tuple(self.trials.failures),
                chosen=chosen,
                reason=reason,
                complete=is_complete,
                seconds=self.timer.seconds,
            ),
        )

    @property
    def _least_drop_points(self) -> float:
        return least_shown(len(self.held_out), self.held_out.correct)

    def _reach_device(self) -> None:
        """Measure something, so that a device that fails does so before the work and not after."""
        self.timer.report("Reaching the device", 0, 1)
        self.measures.ranking({"float": self.conversion.float_tflite}, None)

    def _try_more(self, plain: Candidate) -> bool:
        """Try what is worth it; return whether there was time for all of it."""
        try:
            with self.timer.limited():
                best = self._climb(self._better(plain, ladder.GIVEN_NAME, self.subject.recipe))
                if self._is_worth_floats(best):
                    self._back_to_float(best)
        except TimeIsUpError:
            return False
        return True

    def _climb(self, best: Candidate) -> Candidate:
        """Take from each rung what is better than before, until something is within the budget."""
        for rung in ladder.RUNGS:
            if self.trials.is_met:
                break
            base = best
            for option in rung.options:
                recipe = replace(base.quantization_recipe(), **option.changes)
                is_plain = base.name == ladder.PLAIN_NAME
                name = option.name if is_plain else f"{base.name}, {option.name}"
                best = self._better(best, name, recipe)
        return best

    def _better(self, best: Candidate, name: str, recipe: QuantizationRecipe) -> Candidate:
        tried = self.trials.attempt(name, recipe)
        return best if tried is None else min(best, tried, key=distance)

    def _is_worth_floats(self, best: Candidate) -> bool:
        """Say whether more operators in float, which take time, could show anything.

        Not where a candidate is within the budget, nor where the faces are too few to show that of
        one that answers each of them as the float model.
        """
        can_show = self._least_drop_points <= self.budget.max_drop_points
        return not self.trials.is_met and (can_show or best.verdict is Verdict.BEYOND)

    def _back_to_float(self, best: Candidate) -> None:
        """Let more and more operators compute in float, until that is within the budget."""
        recipe = best.quantization_recipe()
        steps = self._steps(best)
        for count in _growing(len(steps)):
            names = {step.tensor for step in steps[:count]}
            what = "1 operator" if count == 1 else f"{count} operators"
            self.trials.attempt(f"{best.name}, {what} in float", with_floats(recipe, names))
            if self.trials.is_met:
                return

    def _steps(self, best: Candidate) -> tuple[FloatStep, ...]:
        kept, device = self.trials.ranking, self.budget.device
        if kept is not None and (kept.recipe, kept.device) == (best.recipe, device):
            return kept.steps
        steps = float_steps(
            self.conversion,
            best.quantization_recipe(),
            self.held_out.inputs(SENSITIVITY_FACES),
            self.measures.ranking,
            self.timer.report,
        )
        self.trials.keep_ranking(Ranking(recipe=best.recipe, device=device, steps=steps))
        return steps

    def _measured(self) -> list[Candidate]:
        """Time one candidate of each structure, in turns with the others, and give it to all."""
        first: dict[str, Candidate] = {}
        for one in self.trials.candidates:
            first.setdefault(one.structure, one)
        models = {
            mark: self.conversion.to(quick(one.quantization_recipe())).tflite
            for mark, one in first.items()
        }
        found = self.measures.choosing(
            models, lambda done, total: self.timer.report("Measuring latency", done, total)
        )
        return [replace(one, latency_ms=found.get(one.structure)) for one in self.trials.candidates]


def _growing(count: int) -> Iterator[int]:
    """Yield 1, 2, 4 … and `count`."""
    size = 1
    while size < count:
        yield size
        size *= 2
    if count:
        yield count
