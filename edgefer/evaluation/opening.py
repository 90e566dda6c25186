"""From a path to a model that can be evaluated."""

from pathlib import Path

from edgefer import metadata, runtime
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models import checkpoints
from edgefer.models.contract import StatedContract, complete


def open_evaluated(path: Path, stated: StatedContract) -> EvaluatedModel:
    """Recognise a .tflite or a checkpoint and complete its contract with what the user says.

    Raises ModelError where the file is unusable, UsageError where its contract stays incomplete.
    """
    if path.suffix.lower() != ".tflite":
        checkpoint = checkpoints.read_stated(path, stated)
        return EvaluatedModel.from_checkpoint(checkpoint, name=path.name)
    model = runtime.open_model(path)
    spec = complete(
        path,
        metadata.read_spec(path),
        stated,
        input_shape=model.input.shape,
        classes=model.classes,
    )
    return EvaluatedModel(name=path.name, spec=spec, source=path, checked=True)
