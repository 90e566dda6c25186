"""Searches without networks: conversions whose worth a test states, for several test modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer.converters.conversion import ConvertedModel
from edgefer.converters.quantization import Prepared
from edgefer.converters.recipes import INT8, QuantizationRecipe
from edgefer.converters.search import search as module
from edgefer.converters.search.budget import Budget, Verdict
from edgefer.converters.search.candidate import Candidate, recipe_values
from edgefer.converters.search.precision import FloatStep
from edgefer.converters.search.search import Found, Measures, Subject, search
from edgefer.converters.verify import Verification
from edgefer.data.faces import LabelledFaces
from edgefer.errors import EdgeferError
from edgefer.evaluation.metrics import Comparison
from edgefer.progress import Progress

TFLITE = Path(__file__).parent / "golden" / "tflite" / "float32.tflite"

Worth = Callable[[QuantizationRecipe], Comparison | EdgeferError]
"""What a recipe's conversion loses, or why there is none."""


def comparison(drop: float = 0.0, half: float = 0.1, change: float = 0.01) -> Comparison:
    """Return a drop with an interval of twice `half`, in points."""
    return Comparison(
        only_reference_right=0,
        only_model_right=0,
        drop_points=drop,
        drop_low_points=drop - half,
        drop_high_points=drop + half,
        mcnemar_p=1.0,
        agreement=1.0,
        mean_probability_change=change,
    )


def candidate(
    verdict: Verdict = Verdict.WITHIN,
    *,
    name: str = "one",
    drop: float = 0.0,
    half: float = 0.1,
    change: float = 0.01,
    latency_ms: float | None = 1.0,
    size_bytes: int = 1000,
) -> Candidate:
    """Return a candidate of the int8 preset with these figures."""
    return Candidate(
        name=name,
        recipe=recipe_values(INT8),
        comparison=comparison(drop, half, change),
        verdict=verdict,
        size_bytes=size_bytes,
        float_operators=0,
        structure="s",
        sha256="0" * 64,
        seconds=1.0,
        latency_ms=latency_ms,
    )


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@dataclass
class Bench:
    """A search whose conversions are only recorded, and are worth what `worth` says.

    Each conversion takes `cost_s` on the clock; operators in float make another structure.
    """

    worth: Worth
    cost_s: float = 1.0
    clock: Clock = field(default_factory=Clock)
    converted: list[QuantizationRecipe] = field(default_factory=list)
    timed: list[list[str]] = field(default_factory=list)
    ranked: int = 0
    steps: tuple[FloatStep, ...] = ()

    def run(
        self,
        budget: Budget | None = None,
        *,
        kept: Path | None = None,
        recipe: QuantizationRecipe = INT8,
        faces: LabelledFaces | None = None,
    ) -> Found:
        """Search with everything that takes long replaced."""
        bench = self

        class Conversion:
            """Records what it is asked for."""

            def __init__(self, float_tflite: bytes, spec: Any, *_: Any, **others: Any) -> None:
                self.float_tflite, self.spec = float_tflite, spec
                self.report = others["report"]

            def to(self, recipe: QuantizationRecipe) -> ConvertedModel:
                bench.converted.append(recipe)
                bench.clock.now += bench.cost_s
                self.report("Halfway", 1, 2)
                found = bench.worth(recipe)
                if isinstance(found, EdgeferError):
                    raise found
                return converted(recipe)

        class HeldOut:
            """Knows what the last conversion is worth."""

            correct = 900

            def __init__(self, *_: Any) -> None:
                pass

            def __len__(self) -> int:
                return 1000

            def inputs(self, most: int) -> Any:
                return np.zeros((most, 1, 1, 3), np.float32)

            def compare(self, _: bytes) -> Comparison:
                found = bench.worth(bench.converted[-1])
                assert isinstance(found, Comparison)
                return found

        def float_steps(*_: Any) -> tuple[FloatStep, ...]:
            bench.ranked += 1
            return bench.steps

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "Conversion", Conversion)
            patch.setattr(module, "HeldOutFaces", HeldOut)
            patch.setattr(module, "float_steps", float_steps)
            return search(
                Subject(
                    float_tflite=TFLITE.read_bytes(),
                    spec=small_models.SPEC,
                    recipe=recipe,
                    source="small.tflite",
                ),
                faces or small_models.faces(90),
                budget or Budget(max_drop_points=1.0),
                kept=kept,
                measures=Measures(choosing=self._time, ranking=self._time),
                clock=self.clock,
            )

    def _time(self, models: Mapping[str, bytes], _: Progress | None) -> dict[str, float]:
        self.timed.append(list(models))
        return {name: 1.0 + 0.5 * number for number, name in enumerate(models)}


def converted(recipe: QuantizationRecipe) -> ConvertedModel:
    """Return a file whose operators, but not whose values, are those of the recipe."""
    floats = len(recipe.float_operators)

    def repeat(model: Any) -> None:
        model.subgraphs[0].operators += [model.subgraphs[0].operators[-1]] * floats

    tflite = small_models.patched(TFLITE.read_bytes(), repeat)
    verification = Verification(
        operators={},
        float_operators=0,
        kept_in_float={"CONV_2D": floats},
        rounding_layers=0,
        per_channel_layers=0,
        input_type="int8",
        output_type="int8",
        size_bytes=len(tflite),
        weights_bytes=0,
    )
    prepared = Prepared(tflite=tflite, calibration=None, faces=None)
    return ConvertedModel(
        tflite=tflite,
        spec=small_models.SPEC,
        recipe=recipe,
        verification=verification,
        prepared=prepared,
    )
