"""The main job: from a model to verified .tflite files, and what they lost."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgefer import calibration_data, metadata, outputs, runtime
from edgefer.converters import exported_program, float_model, pytorch
from edgefer.converters.against_float import AgainstFloat, against_float
from edgefer.converters.conversion import Conversion, ConvertedModel, read_float_tflite
from edgefer.converters.recipes import FLOAT32, INT8, Precision, QuantizationRecipe
from edgefer.converters.search.budget import Budget, require_within
from edgefer.converters.search.candidate import SearchResult
from edgefer.converters.search.search import Found, Subject, search
from edgefer.data.disjoint import require_disjoint
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
    calibration faces. With a `budget` the int8 recipe is searched for.
    """

    model: Path | None = None
    recipes: tuple[QuantizationRecipe, ...]
    output: Path = Path()
    stated: StatedContract = field(default_factory=StatedContract)
    calibration: LabelledFaces | None = None
    evaluation: LabelledFaces | None = None
    is_evaluated: bool = True
    budget: Budget | None = None
    force: bool = False

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
    operator; None stands where that would have taken too long. `search` is how the int8 recipe was
    found, where there was a budget for it.
    """

    job: ConversionJob
    original: FloatModel
    models: tuple[ConvertedModel, ...]
    evaluation: EvaluationResult | None
    comparisons: Mapping[Precision, AgainstFloat | None]
    search: SearchResult | None = None


def deliver(job: ConversionJob, *, progress: Progress | None = None) -> Delivery:
    """Convert, verify and evaluate; nothing is written but the state of a search.

    Raises UsageError or OutputError before any work where the results could not be written
    later, DataError where calibration and evaluation faces overlap.
    """
    report = progress or (lambda _what, _done, _total: None)
    written = [
        job.path_of(recipe).with_suffix(suffix)
        for recipe in job.recipes
        for suffix in (".tflite", ".json", ".html")
    ]
    if job.budget is not None:
        written.append(job.search_file)
    outputs.require_writable(written, force=job.force)
    report("Reading faces and model", 0, 1)
    calibration = job.calibration or calibration_data.calibration_faces()
    evaluation = None
    if job.is_evaluated:
        evaluation = job.evaluation or calibration_data.evaluation_faces()
        require_disjoint(calibration, evaluation)
    original = open_float(job.source, job.stated)
    conversion = Conversion(
        original.tflite, original.spec, calibration, source=job.source, report=report
    )
    models = []
    found = None
    for recipe in job.recipes:
        if job.budget is not None and recipe.precision is Precision.INT8:
            found = _searched(job, original, recipe, calibration, report)
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
        comparisons=_comparisons(models, evaluation or calibration, report),
        search=None if found is None else found.result,
    )


def require_budget(delivery: Delivery) -> None:
    """Raise BudgetError unless the evaluation shows the int8 model to be within the budget.

    The drop's interval decides, not its point.
    """
    budget, result = delivery.job.budget, delivery.evaluation
    if budget is None or result is None:
        return
    name = delivery.job.path_of(INT8).name
    comparison = next(model.comparison for model in result.models if model.name == name)
    if comparison is not None:
        require_within(comparison, budget.max_drop_points, name=name, faces=len(result.faces))


def _searched(
    job: ConversionJob,
    original: FloatModel,
    recipe: QuantizationRecipe,
    faces: LabelledFaces,
    report: Progress,
) -> Found:
    if job.budget is None:
        raise UsageError("a search needs a budget")
    subject = Subject(
        float_tflite=original.tflite, spec=original.spec, recipe=recipe, source=job.source
    )
    return search(subject, faces, job.budget, kept=job.search_file, report=report)


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
