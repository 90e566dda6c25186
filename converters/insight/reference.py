"""Where quantization hurts a model: it and the float model it was made from, on real faces."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgefer import calibration_data, metadata, runtime
from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.graph import Graph
from edgefer.converters.insight.comparison import OperatorComparison, compare
from edgefer.converters.insight.rounded_reference import Making, making, rounded_reference
from edgefer.converters.insight.sensitivity import Sensitivity, measurable, sensitivities
from edgefer.converters.insight.suspicion import most_suspicious
from edgefer.converters.job import open_float
from edgefer.converters.quantization import Report
from edgefer.converters.quantize import require_packages
from edgefer.converters.recipes import INT8, Precision, QuantizationRecipe
from edgefer.converters.shared_normalisation import (
    NORMALISED,
    is_shared,
    with_shared_normalisation,
)
from edgefer.data.faces import LabelledFaces
from edgefer.errors import ModelError, UsageError
from edgefer.evaluation.inference import inputs_of
from edgefer.models.contract import StatedContract
from edgefer.models.spec import ModelSpec

COMPARED_FACES = 12
SENSITIVITY_FACES = 64
FEWEST_OPERATORS = 8
MOST_MULTIPLY_ACCUMULATES = 2e13
"""What a sensitivity ranking may cost: some minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which models to hold against each other, on how many of which faces.

    `most_faces` of None stands for a number that suits each measurement. `stated` describes both
    models where they do not do so themselves.
    """

    model: Path
    reference: Path
    faces: LabelledFaces
    stated: StatedContract = field(default_factory=StatedContract)
    most_faces: int | None = None
    with_sensitivity: bool = False


@dataclass(frozen=True, kw_only=True)
class Insight:
    """What was found; `recipe` is what the sensitivity was measured by.

    `own_recipe` says whether it is the model's, by its metadata, and not edgefer's preset. `notes`
    say what could not be compared.
    """

    model: Path
    reference: Path
    faces: int
    faces_source: str
    operators: tuple[OperatorComparison, ...]
    sensitivity: Sensitivity | None = None
    recipe: QuantizationRecipe | None = None
    own_recipe: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Original:
    """The float model as the quantized one was made from it."""

    tflite: bytes
    spec: ModelSpec


def look(question: Question, *, progress: Report | None = None) -> Insight:
    """Compare a quantized .tflite with its float model, and rank its operators where asked to.

    Raises ModelError where the two do not belong together or one is of the wrong kind, UsageError
    where a file does not say how to feed it, MissingExtraError where packages are missing.
    """
    report = progress or (lambda _what, _done, _total: None)
    report("Reading models", 0, 1)
    quantized, content = _read_quantized(question.model)
    made = making(question.model)
    if question.with_sensitivity:
        require_packages()
        _require_int8(question.model, made)
    original = _original(question, content)
    reference = rounded_reference(original.tflite, original.spec, made, report=report)
    inputs = inputs_of(
        question.faces.spread(question.most_faces or COMPARED_FACES).images, original.spec
    )
    every = compare(
        reference.tflite,
        quantized,
        inputs,
        source=question.reference,
        progress=lambda done, total: report("Comparing", done, total),
    )
    compared = [one for one in every if one.tensor not in reference.unlike]
    found = Insight(
        model=question.model,
        reference=question.reference,
        faces=len(inputs),
        faces_source=question.faces.source,
        operators=tuple(compared),
        notes=reference.notes,
    )
    if not question.with_sensitivity:
        return found
    recipe = made.recipe or INT8
    ranking = _sensitivity(question, original, recipe, compared, report)
    own_recipe = made.recipe is not None
    return replace(found, sensitivity=ranking, recipe=recipe, own_recipe=own_recipe)


def _read_quantized(path: Path) -> tuple[bytes, Graph]:
    runtime.require_loadable(path)
    tflite = path.read_bytes()
    content = graph.read(tflite, source=path)
    if not any(tensor.quantization and not tensor.is_float for tensor in content.tensors):
        raise ModelError(path, "is not quantized; give a .tflite that was made from the reference")
    return tflite, content


def _require_int8(model: Path, made: Making) -> None:
    if made.recipe is not None and made.recipe.precision is not Precision.INT8:
        raise UsageError(f"{model} is {made.recipe.precision}; --sensitivity is of int8 models")


def _original(question: Question, content: Graph) -> _Original:
    known = metadata.read_spec(question.model)
    found = open_float(question.reference, _stated(question, known, content))
    tflite, spec = found.tflite, found.spec
    if known is not None and is_shared(known):
        tflite, spec = with_shared_normalisation(tflite, spec)
    _require_fit(question, spec, known)
    return _Original(tflite=tflite, spec=spec)


def _stated(question: Question, known: ModelSpec | None, content: Graph) -> StatedContract:
    """Complete what the user states of the reference by what the model says of itself.

    Not where edgefer put a layer in front of the model: the reference is normalised otherwise.
    """
    reference = question.reference
    describes_itself = reference.suffix.lower() != ".tflite" or (
        reference.is_file() and metadata.read_spec(reference) is not None
    )
    has_layer = any(tensor.name == NORMALISED for tensor in content.tensors)
    if describes_itself or known is None or has_layer:
        return question.stated
    given = question.stated
    return replace(
        given,
        labels=given.labels or known.labels,
        mean=given.mean or known.mean,
        std=given.std or known.std,
    )


def _require_fit(question: Question, spec: ModelSpec, known: ModelSpec | None) -> None:
    """Raise ModelError where the reference is not what the model can have been made from."""
    opened = runtime.open_model(question.model, checked=True)
    size = opened.input.shape[1:]
    wanted = (spec.input_size, spec.input_size, spec.channels)
    problem = None
    if size != wanted:
        problem = f"takes images of {_sizes(wanted)}, but {question.model} of {_sizes(size)}"
    elif opened.classes != len(spec.labels):
        problem = f"has {len(spec.labels)} classes, but {question.model} has {opened.classes}"
    elif known is not None and known.labels != spec.labels:
        problem = f"has other classes, or another order of them, than {question.model}"
    elif known is not None and (known.mean, known.std) != (spec.mean, spec.std):
        problem = f"normalises pixels otherwise than {question.model}"
    if problem is not None:
        raise ModelError(question.reference, f"{problem}; give the float model it was made from")


def _sizes(shape: tuple[Any, ...]) -> str:
    return "×".join(map(str, shape))


def _sensitivity(
    question: Question,
    original: _Original,
    recipe: QuantizationRecipe,
    compared: Sequence[OperatorComparison],
    report: Report,
) -> Sensitivity:
    report("Measuring sensitivity", 0, 1)
    content = graph.read(original.tflite, source=question.reference)
    faces = question.faces.spread(question.most_faces or SENSITIVITY_FACES)
    cost = 2 * len(faces) * max(multiply_accumulates(content), 1)
    most = max(FEWEST_OPERATORS, int(MOST_MULTIPLY_ACCUMULATES / cost))
    candidates = measurable(content, recipe)
    conversion = Conversion(
        original.tflite,
        original.spec,
        calibration_data.calibration_faces(),
        source=question.reference,
    )
    return sensitivities(
        conversion,
        recipe,
        inputs_of(faces.images, original.spec),
        positions=most_suspicious(content, compared, candidates, most),
        progress=lambda done, total: report("Measuring sensitivity", done, total),
    )
