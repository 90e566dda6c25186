"""What is in a model file: tensors, operators, cost, description, and batch coupling."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefer import metadata, runtime
from edgefer.converters import graph
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.graph import Graph, Tensor
from edgefer.data import labels
from edgefer.data.faces import LabelledFaces
from edgefer.errors import ModelError, UsageError
from edgefer.evaluation.inference import inputs_of
from edgefer.metadata import Metadata, mediapipe
from edgefer.models import batch_coupling, checkpoints, networks
from edgefer.models.batch_coupling import BatchCoupling
from edgefer.models.contract import StatedContract, complete
from edgefer.models.spec import ModelSpec
from edgefer.progress import Progress

if TYPE_CHECKING:
    import keras

COUPLING_FACES = 16
COUPLED_BATCH = 64
UNDESCRIBED = "the file says too little of its input; give --labels, --mean and --std"


@dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """An input or output; `scale` and `zero_point` are None where it holds floats."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, kw_only=True)
class BatchAccuracy:
    """Accuracy on the same faces, each alone and in batches: what the coupling is worth."""

    faces: int
    alone: float
    in_batches: float
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything `edgefer inspect` shows; what a kind of file does not have is empty or None.

    `operators` counts by `KIND type`, the type being that of the first output. `metadata` is what
    a .tflite says of itself; `spec` is that, completed by what the user states, None where it is
    not enough or does not fit. `mediapipe_obstacle` says why MediaPipe cannot load a .tflite.
    """

    path: Path
    kind: str
    size_bytes: int
    sha256: str
    parameters: int
    multiply_accumulates: int | None
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: Mapping[str, int]
    spec: ModelSpec | None
    metadata: Metadata | None
    mediapipe_obstacle: str | None
    made_by: Mapping[str, Any]
    coupling: BatchCoupling
    batch_accuracy: BatchAccuracy | None


def inspect(
    path: Path,
    stated: StatedContract,
    faces: LabelledFaces,
    *,
    progress: Progress | None = None,
) -> Inspection:
    """Read a .tflite or a checkpoint; `faces` show whether it mixes the images of a batch."""
    if path.suffix.lower() == ".tflite":
        return _inspect_tflite(path, stated, faces)
    return _inspect_checkpoint(path, stated, faces, progress)


def _inspect_tflite(path: Path, stated: StatedContract, faces: LabelledFaces) -> Inspection:
    runtime.require_loadable(path)
    tflite = path.read_bytes()
    content = graph.read(tflite, source=path)
    described = metadata.read(path)
    spec, coupling = _coupling_of_tflite(path, described.spec, stated, faces)
    inputs = tuple(_facts(content.tensors[index]) for index in content.inputs)
    outputs = tuple(_facts(content.tensors[index]) for index in content.outputs)
    return Inspection(
        path=path,
        kind=".tflite",
        size_bytes=len(tflite),
        sha256=hashlib.sha256(tflite).hexdigest(),
        parameters=_parameters(content),
        multiply_accumulates=multiply_accumulates(content),
        inputs=inputs,
        outputs=outputs,
        operators=_operators(content),
        spec=spec,
        metadata=described,
        mediapipe_obstacle=_mediapipe_obstacle(described, inputs, outputs),
        made_by=described.info,
        coupling=coupling,
        batch_accuracy=None,
    )


def _coupling_of_tflite(
    path: Path, known: ModelSpec | None, stated: StatedContract, faces: LabelledFaces
) -> tuple[ModelSpec | None, BatchCoupling]:
    """Measure the coupling where the contract allows it; otherwise the reason is why it does not.

    Raises ModelError where what the user states does not fit the model.
    """
    try:
        model = runtime.open_model(path, checked=True)
        spec = complete(path, known, stated, input_shape=model.input.shape, classes=model.classes)
    except UsageError:
        return None, BatchCoupling(images=0, reason=UNDESCRIBED)
    except ModelError as exc:
        if stated != StatedContract():
            raise
        return None, BatchCoupling(images=0, reason=str(exc).removeprefix(f"{path}: "))
    return spec, batch_coupling.of_tflite(
        path, inputs_of(faces.spread(COUPLING_FACES).images, spec)
    )


def _mediapipe_obstacle(
    described: Metadata, inputs: tuple[TensorFacts, ...], outputs: tuple[TensorFacts, ...]
) -> str | None:
    if len(inputs) != 1 or len(outputs) != 1:
        return "a classifier has one input and one output"
    return mediapipe.obstacle(
        described,
        input_shape=inputs[0].shape,
        input_type=inputs[0].dtype,
        output_shape=outputs[0].shape,
        output_type=outputs[0].dtype,
    )


def _inspect_checkpoint(
    path: Path, stated: StatedContract, faces: LabelledFaces, progress: Progress | None
) -> Inspection:
    checkpoint = checkpoints.read_stated(path, stated)
    model = checkpoint.build(batch_size=None)
    spec = checkpoint.spec
    coupling = batch_coupling.of_keras(model, inputs_of(faces.spread(COUPLING_FACES).images, spec))
    content = path.read_bytes()
    return Inspection(
        path=path,
        kind=f"checkpoint of {networks.name_of(checkpoint.network)}",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=sum(array.size for array in checkpoint.weights.values()),
        multiply_accumulates=None,
        inputs=(_float_facts("image", (spec.input_size, spec.input_size, spec.channels)),),
        outputs=(_float_facts("probabilities", (len(spec.labels),)),),
        operators={},
        spec=spec,
        metadata=None,
        mediapipe_obstacle=None,
        made_by={"options": checkpoint.network.to_dict()},
        coupling=coupling,
        batch_accuracy=_batch_accuracy(model, spec, faces, progress) if coupling.coupled else None,
    )


def _batch_accuracy(
    model: keras.Model, spec: ModelSpec, faces: LabelledFaces, progress: Progress | None
) -> BatchAccuracy:
    """Measure the same faces one at a time and in shuffled batches of 64."""
    columns = np.asarray(labels.match(faces.class_names, spec.labels))
    order = np.random.default_rng(0).permutation(len(faces))
    truth = columns[faces.labels[order]]
    correct = {1: 0, COUPLED_BATCH: 0}
    done = 0
    for size in correct:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            inputs = inputs_of([faces.images[row] for row in rows], spec)
            answers = batch_coupling.keras_answers(model, inputs).argmax(axis=1)
            correct[size] += int((answers == truth[start : start + size]).sum())
            done += len(rows)
            if progress:
                progress(done, 2 * len(order))
    return BatchAccuracy(
        faces=len(faces),
        alone=correct[1] / len(faces),
        in_batches=correct[COUPLED_BATCH] / len(faces),
        batch_size=COUPLED_BATCH,
    )


def _facts(tensor: Tensor) -> TensorFacts:
    quantization = tensor.quantization
    single = quantization is not None and len(quantization.scales) == 1
    return TensorFacts(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        scale=float(quantization.scales[0]) if quantization and single else None,
        zero_point=int(quantization.zero_points[0]) if quantization and single else None,
    )


def _float_facts(name: str, shape: tuple[int, ...]) -> TensorFacts:
    return TensorFacts(name=name, shape=(-1, *shape), dtype="float32", scale=None, zero_point=None)


def _operators(content: Graph) -> dict[str, int]:
    counts = Counter(
        f"{operator.kind} {content.tensors[operator.outputs[0]].dtype}"
        for operator in content.operators
        if operator.outputs
    )
    return dict(counts.most_common())


def _parameters(content: Graph) -> int:
    """Return the values of constant tensors of more than one value: weights and biases."""
    constants = [tensor for tensor in content.tensors if tensor.data is not None]
    return sum(math.prod(tensor.shape) for tensor in constants if math.prod(tensor.shape) > 1)
