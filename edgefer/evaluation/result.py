"""The outcome of an evaluation, and whether it is good enough."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.label_order import PermutedOrder
from edgefer.data.preprocessing import Float32Array
from edgefer.errors import BudgetError, UsageError
from edgefer.evaluation.metrics import Comparison, IntArray, ModelMetrics

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelResult:
    """What one model did.

    `labels` are the model's own, and everything per class is in their order: `metrics`, `truth`,
    the position of each face's true class, int (n,), and `probabilities`, float32 (n, classes).
    `comparison` is with the first model, None for the first itself; `differing` are the positions
    of the faces on which its answer is not the first model's. `permuted` is the order in which
    the labels probably should be, None where they look right.
    """

    name: str
    labels: tuple[str, ...]
    metrics: ModelMetrics
    truth: IntArray
    probabilities: Float32Array
    comparison: Comparison | None
    differing: IntArray
    permuted: PermutedOrder | None

    @property
    def answers(self) -> IntArray:
        """The position in `labels` of each face's answer."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """What all models did on the same faces, the reference first."""

    faces: LabelledFaces
    models: tuple[ModelResult, ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single probabilities as JSON-ready values."""
        counts = np.bincount(self.faces.labels, minlength=len(self.faces.class_names))
        return {
            "schema_version": SCHEMA_VERSION,
            "versions": self.versions,
            "dataset": {
                "source": self.faces.source,
                "faces": len(self.faces),
                "faces_per_class": {
                    name: int(count)
                    for name, count in zip(self.faces.class_names, counts, strict=True)
                },
                "skipped": [dataclasses.asdict(file) for file in self.faces.skipped],
            },
            "models": [self._model_to_dict(model) for model in self.models],
        }

    def _model_to_dict(self, model: ModelResult) -> dict[str, Any]:
        return {
            "name": model.name,
            "labels": list(model.labels),
            "metrics": dataclasses.asdict(model.metrics),
            "comparison": model.comparison and dataclasses.asdict(model.comparison),
            "differing": [self._difference(model, int(index)) for index in model.differing],
            "permuted": model.permuted and dataclasses.asdict(model.permuted),
        }

    def _difference(self, model: ModelResult, index: int) -> dict[str, Any]:
        reference = self.models[0]
        return {
            "face": self.faces.names[index],
            "label": self.faces.class_names[self.faces.labels[index]],
            "reference_answer": reference.labels[reference.answers[index]],
            "answer": model.labels[model.answers[index]],
        }


def require(
    result: EvaluationResult,
    *,
    max_drop_points: float | None = None,
    min_accuracy: float | None = None,
    except_drop_of: str | None = None,
) -> None:
    """Raise BudgetError where a model is outside what is allowed.

    `max_drop_points` bounds every drop from the first model, in percentage points;
    `min_accuracy`, 0…1, is the least accuracy of every model. The drop of the model called
    `except_drop_of` is not bounded here.
    """
    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise UsageError(f"the least accuracy is a share of 0…1, not {min_accuracy}")
    if max_drop_points is not None and len(result.models) < 2:
        raise UsageError("a drop needs two models: the reference first, then the other")
    for model in result.models:
        accuracy, comparison = model.metrics.accuracy, model.comparison
        if min_accuracy is not None and accuracy.value < min_accuracy:
            raise BudgetError(
                f"{model.name}: its accuracy of {100 * accuracy.value:.2f}% "
                f"is under the {100 * min_accuracy:.2f}% required"
            )
        is_bounded = max_drop_points is not None and model.name != except_drop_of
        if is_bounded and comparison and comparison.drop_points > max_drop_points:
            raise BudgetError(
                f"{model.name}: loses {comparison.drop_points:.2f} points of accuracy against "
                f"{result.models[0].name}, more than the {max_drop_points:.2f} allowed"
            )
