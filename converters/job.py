"""The main job: from a model to verified .tflite files, and what they lost."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgefer import calibration_data, metadata, outputs, runtime
from edgefer.converters import exported_program, float_model, graph, pytorch
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.calibration_source import Calibration, comparison_faces, require_apart
from edgefer.converters.conversion import Conversion, ConvertedModel, read_float_tflite
from edgefer.converters.insight.against_float import AgainstFloat, against_float
from edgefer.converters.operator_plan import operator_plan
from edgefer.converters.quantization import faces_missing, require_no_faces
from edgefer.converters.recipes import FLOAT32, INT8, Precision, QuantizationRecipe
from edgefer.converters.search.budget import Budget, require_within
from edgefer.converters.search.candidate import SearchResult
from edgefer.converters.search.held_out import MOST_CALIBRATION_FACES
from edgefer.converters.search.search import Found, Subject, search
from edgefer.data.faces import LabelledFaces
from edgefer.errors import UsageError
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.result import EvaluationResult
from edgefer.evaluation.runner import evaluate
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models import batch_coupling, bundled, checkpoints
from edgefer.models.batch_coupling import BatchCoupling
from edgefer.models.contract import StatedContract, complete
from edgefer.models.spec import ModelSpec

COUPLING_FACES = 16
SOFTMAX_NOTE = (
    "the model's scores were no probabilities: a softmax was added, the order is the same"
)

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """What to convert, how, and where to; None stands for what edgefer brings.

    With `is_evaluated` the drop is measured on the evaluation faces, which must not be among the
    calibration faces. With a `budget` the int8 recipe is searched for. `recipe_path` and
    `calibration_path` are where the recipe and what calibration found are kept, None for nowhere.
    """

    model: Path | None = None
    recipes: tuple[QuantizationRecipe, ...]
    output: Path = Path()
    stated: StatedContract = field(default_factory=StatedContract)
    calibration: Calibration | None = None
    evaluation: LabelledFaces | None = None
    is_evaluated: bool = True
    budget: Budget | None = None
    recipe_path: Path | None = None
    calibration_path: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.recipe_path is not None and len(self.recipes) > 1:
            raise UsageError("--save-recipe keeps one recipe: make one precision at a time")
        if self.budget is not None:
            self._require_searchable()
        if self.calibration_path is None:
            return
        seen = [recipe for recipe in self.recipes if recipe.needs_faces]
        if not seen:
            raise UsageError("--save-calibration has nothing to keep: no face is looked at")
        prepared = {(recipe.equalization, recipe.bias_absorption) for recipe in seen}
        if len(prepared) > 1 or (self.budget is not None and len(seen) > 1):
            raise UsageError("--save-calibration keeps one calibration, and the precisions differ")

    @property
    def kept(self) -> tuple[Path, ...]:
        """Where the recipe and the calibration go, as far as they are kept."""
        return tuple(path for path in (self.recipe_path, self.calibration_path) if path)

    def _require_searchable(self) -> None:
        if all(recipe.precision is not Precision.INT8 for recipe in self.recipes):
            raise UsageError("a search to an accuracy budget makes int8: ask for that precision")
        if not self.is_evaluated:
            raise UsageError("an accuracy budget needs the evaluation")

    @property
    def source(self) -> Path:
        """The model's path, the bundled one's where none was given."""
        return self.model or bundled.models()[bundled.DEFAULT]

    @property
    def search_file(self) -> Path:
        """Where a search keeps what it has tried until its result is written."""
        return self.path_of(INT8).with_suffix(".search.json")

    def path_of(self, recipe: QuantizationRecipe) -> Path:
        """Return where the .tflite goes: named after the model and the precision."""
        name = re.sub(r"\.weights\.h5$", "", self.source.name, flags=re.IGNORECASE)
        stem = re.sub(r"[-_](float32|fp32)$", "", Path(name).stem) or "model"
        return self.output / f"{stem}-{recipe.precision}.tflite"


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """What every precision is made from; `coupling` is None where a file has no batch to share.

    `notes` say what was done to the model on the way, for its owner to know.
    """

    tflite: bytes
    spec: ModelSpec
    coupling: BatchCoupling | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Everything a conversion made, not yet written; `evaluation` has the float model first.

    `comparisons` hold each model with integer weights against the float one, operator by
    operator; None stands where that would have taken too long. `are_faces_apart` says whether
    evaluation faces are known to be no calibration faces, None where nothing was evaluated.
    `search` is how the int8 recipe was found, where there was a budget for it.
    """

    job: ConversionJob
    original: FloatModel
    models: tuple[ConvertedModel, ...]
    evaluation: EvaluationResult | None
    comparisons: Mapping[Precision, AgainstFloat | None]
    are_faces_apart: bool | None
    search: SearchResult | None = None


def deliver(job: ConversionJob, *, progress: Progress | None = None) -> Delivery:
    """Convert, verify and evaluate; nothing is written but the state of a search.

    Raises UsageError or OutputError before any work where the results could not be written
    later, UsageError where a recipe names an operator that there is not, DataError where
    calibration and evaluation faces overlap or a calibration file is too little.
    """
    report = progress or (lambda _what, _done, _total: None)
    _require_doable(job)
    report("Reading faces and model", 0, 1)
    calibration, evaluation, are_faces_apart = _faces(job)
    original = open_float(job.source, job.stated)
    conversion = Conversion(
        original.tflite,
        original.spec,
        calibration if job.budget is None else _as_without_search(calibration),
        source=job.source,
        report=report,
    )
    for recipe in job.recipes:
        operator_plan(graph.read(conversion.float_tflite), recipe)
    models = []
    found = None
    for recipe in job.recipes:
        if job.budget is not None and recipe.precision is Precision.INT8:
            found = _searched(job, job.budget, original, recipe, calibration, report)
            models.append(found.model)
        else:
            report(f"Converting to {recipe.precision}", 0, 1)
            models.append(conversion.to(recipe))
    result = _evaluated(job, original, models, evaluation, report) if evaluation else None
    return Delivery(
        job=job,
        original=original,
        models=tuple(models),
        evaluation=result,
        comparisons=_comparisons(models, evaluation or comparison_faces(calibration), report),
        are_faces_apart=are_faces_apart,
        search=None if found is None else found.result,
    )


def _as_without_search(calibration: Calibration) -> Calibration:
    """Return as many faces as a conversion without a search takes."""
    if isinstance(calibration, LabelledFaces):
        return calibration.spread(MOST_CALIBRATION_FACES)
    return calibration


def _require_doable(job: ConversionJob) -> None:
    written = [
        job.path_of(recipe).with_suffix(suffix)
        for recipe in job.recipes
        for suffix in (".tflite", ".json", ".html")
    ]
    if job.budget is not None:
        written.append(job.search_file)
    outputs.require_writable([*written, *job.kept], force=job.force)
    if isinstance(job.calibration, CalibrationResult):
        if job.budget is not None:
            raise faces_missing("the search for a recipe")
        for recipe in job.recipes:
            require_no_faces(recipe)


def _faces(job: ConversionJob) -> tuple[Calibration, LabelledFaces | None, bool | None]:
    """Return the calibration, the evaluation faces, and whether these are known to be others."""
    calibration = job.calibration
    if calibration is None:
        calibration = calibration_data.calibration_faces()
    if not job.is_evaluated:
        return calibration, None, None
    evaluation = job.evaluation or calibration_data.evaluation_faces()
    return calibration, evaluation, require_apart(calibration, evaluation)


def require_budget(delivery: Delivery) -> None:
    """Raise BudgetError unless the evaluation shows the int8 model to be within the budget.

    The drop's interval decides, not its point.
    """
    budget, result = delivery.job.budget, delivery.evaluation
    if budget is None or result is None:
        return
    name = delivery.job.path_of(INT8).name
    for model in result.models:
        if model.name == name and model.comparison is not None:
            require_within(
                model.comparison, budget.max_drop_points, name=name, faces=len(result.faces)
            )


def _searched(
    job: ConversionJob,
    budget: Budget,
    original: FloatModel,
    recipe: QuantizationRecipe,
    faces: Calibration,
    report: Progress,
) -> Found:
    subject = Subject(
        float_tflite=original.tflite, spec=original.spec, recipe=recipe, source=job.source
    )
    return search(subject, faces, budget, kept=job.search_file, report=report)


def open_float(source: Path, stated: StatedContract) -> FloatModel:
    """Make the float .tflite, batch fixed to 1, of whatever kind of model `source` is.

    Batch coupling is measured on the network as it was trained; what is converted is its equal
    for a batch of one.
    """
    if source.is_dir():
        return _described(source, float_model.from_saved_model(source), stated)
    if source.suffix.lower() == ".tflite":
        return _described(source, read_float_tflite(source), stated)
    if source.suffix.lower() == pytorch.SUFFIX:
        return _from_pytorch(source, stated)
    checkpoint = checkpoints.read_stated(source, stated)
    faces = calibration_data.calibration_faces().spread(COUPLING_FACES)
    coupling = batch_coupling.of_keras(
        checkpoint.build(batch_size=None), inputs_of(faces.images, checkpoint.spec)
    )
    deployed = checkpoints.deployable(checkpoint)
    return FloatModel(
        tflite=float_model.from_keras(deployed.build(batch_size=1)),
        spec=deployed.spec,
        coupling=coupling,
        notes=deployed.network.notes,
    )


def _from_pytorch(source: Path, stated: StatedContract) -> FloatModel:
    """Convert an exported program; its contract is checked before the minute that may take."""
    program = exported_program.read(source)
    shape, classes = program.input_shape, program.classes
    spec = complete(source, None, stated, input_shape=shape, classes=classes)
    converted = pytorch.from_exported_program(program, source=source)
    notes = (SOFTMAX_NOTE,) if converted.added_softmax else ()
    return FloatModel(tflite=converted.tflite, spec=spec, coupling=None, notes=notes)


def _described(source: Path, tflite: bytes, stated: StatedContract) -> FloatModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        opened = runtime.open_model(path, checked=True)
    known = metadata.read_spec(source) if source.is_file() else None
    spec = complete(source, known, stated, input_shape=opened.input.shape, classes=opened.classes)
    return FloatModel(tflite=tflite, spec=spec, coupling=None)


def _comparisons(
    models: Sequence[ConvertedModel], faces: LabelledFaces, report: Progress
) -> dict[Precision, AgainstFloat | None]:
    rounded = [model for model in models if model.recipe.precision.rounds_weights]
    found = {}
    for done, model in enumerate(rounded):
        report("Comparing operators", done, len(rounded))
        found[model.recipe.precision] = against_float(
            model.prepared.tflite, model.spec, model.tflite, faces
        )
    return found


def _evaluated(
    job: ConversionJob,
    original: FloatModel,
    models: Sequence[ConvertedModel],
    faces: LabelledFaces,
    report: Progress,
) -> EvaluationResult:
    """Evaluate the float model and every other precision on the same faces."""
    contents = {job.path_of(FLOAT32).name: (original.tflite, original.spec)}
    for model in models:
        if model.recipe.precision is not Precision.FLOAT32:
            contents[job.path_of(model.recipe).name] = model.tflite, model.spec
    with tempfile.TemporaryDirectory() as folder:
        evaluated = []
        for name, (content, spec) in contents.items():
            path = Path(folder) / name
            path.write_bytes(content)
            evaluated.append(EvaluatedModel(name=name, spec=spec, source=path, checked=True))
        return evaluate(
            evaluated, faces, progress=lambda done, total: report("Evaluating", done, total)
        )
