"""The float .tflite that every other precision is made from: static batch of 1, frozen."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_edge_litert import schema_py_generated as schema

from edgefer.converters import graph
from edgefer.converters.weights import weighted_layers
from edgefer.errors import MissingExtraError, ModelError
from edgefer.quiet import quiet

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"

_REFUSED_OPERATORS = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}
)
"""TensorFlow operators that run Python or touch files; a SavedModel may run them when loaded."""


def from_keras(model: keras.Model) -> bytes:
    """Convert a Keras model with one input to a float .tflite with a batch of 1.

    Keras exports a free batch even where the model was built with one of 1, so the signature
    says it.
    """
    import keras

    name, shape = model.inputs[0].name, (1, *model.inputs[0].shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name=name)]
    with tempfile.TemporaryDirectory() as folder:
        with quiet():
            model.export(folder, format="tf_saved_model", verbose=False, input_signature=signature)
        return _convert(folder, source=model.name)


def from_saved_model(folder: Path) -> bytes:
    """Convert a SavedModel, its batch fixed to 1, to a float .tflite.

    Raises ModelError where it cannot be read, has no `serving_default` with one input and one
    output, or holds an operator that runs Python or touches files.
    """
    _refuse_dangerous(folder)
    tensorflow = _tensorflow()
    with tempfile.TemporaryDirectory() as fixed:
        with quiet(), _translated(folder):
            loaded = tensorflow.saved_model.load(str(folder))
            module, function = _with_batch_of_one(tensorflow, loaded)
            tensorflow.saved_model.save(module, fixed, signatures=function)
        return _convert(fixed, source=folder)


def from_tflite(tflite: bytes, *, source: Path | str) -> bytes:
    """Check that a .tflite is a float image classifier, and fix a free batch to 1.

    Raises ModelError where it is quantized, or is not a model of one image and one output.
    """
    content = graph.read(tflite, source=source)
    _check_is_float(content, source)
    _check_shapes(content, source)
    model = graph.unpack(tflite, source=source)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    _flatten_biases(content, model)
    if not model.signatureDefs:
        model.signatureDefs = [_signature(content)]
    return graph.pack(model)


def _flatten_biases(content: graph.Graph, model: Any) -> None:
    """Give dense layers' biases one axis; some of litert-torch's have four.

    litert-quantizer gives such a bias scales along the wrong axis, and no interpreter loads it.
    """
    for layer in weighted_layers(content):
        bias = layer.bias
        if bias is None or layer.operator.kind != "FULLY_CONNECTED":
            continue
        readers = [op for op in content.operators if bias.index in op.inputs]
        if len(bias.shape) > 1 and len(readers) == 1:
            model.subgraphs[0].tensors[bias.index].shape = [math.prod(bias.shape)]


def _convert(folder: str, *, source: Path | str) -> bytes:
    tensorflow = _tensorflow()
    with quiet(), _translated(source):
        converted = bytes(tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert())
    return from_tflite(converted, source=source)


def _tensorflow() -> Any:
    try:
        with quiet():
            import tensorflow
    except ImportError as exc:
        raise MissingExtraError("converting a model", "convert") from exc
    return tensorflow


class _translated:  # noqa: N801 - used as a context manager
    """Turn whatever TensorFlow raises over a model into a ModelError of one line."""

    def __init__(self, source: Path | str) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, ModelError):
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(self.source, f"TensorFlow cannot convert it: {reason}") from error


def _refuse_dangerous(folder: Path) -> None:
    _tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as exc:
        raise ModelError(folder, "is not a SavedModel: saved_model.pb cannot be read") from exc
    used = {
        node.op
        for meta_graph in message.meta_graphs
        for nodes in (
            meta_graph.graph_def.node,
            *(function.node_def for function in meta_graph.graph_def.library.function),
        )
        for node in nodes
    }
    if refused := sorted(used & _REFUSED_OPERATORS):
        raise ModelError(folder, f"runs code or touches files ({', '.join(refused)}); not loaded")


def _with_batch_of_one(tensorflow: Any, loaded: Any) -> tuple[Any, Callable[..., Any]]:
    function = loaded.signatures[SIGNATURE]
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1 or len(function.structured_outputs) != 1:
        raise ValueError("its serving_default does not have one input and one output")
    ((name, spec),) = inputs.items()
    fixed = tensorflow.TensorSpec((1, *spec.shape[1:]), spec.dtype, name=name)
    module = tensorflow.Module()
    module.loaded = loaded
    module.call = tensorflow.function(lambda image: function(**{name: image}))
    return module, module.call.get_concrete_function(fixed)


def _check_is_float(content: graph.Graph, source: Path | str) -> None:
    found = {
        tensor.dtype
        for tensor in content.tensors
        if tensor.quantization is not None and not tensor.is_float
    }
    found |= {tensor.dtype for tensor in content.tensors if tensor.dtype == "float16"}
    if found:
        raise ModelError(
            source,
            f"is already quantized (it has {', '.join(sorted(found))} tensors); "
            "give the float model it was made from",
        )
    kinds = {operator.kind for operator in content.operators}
    if variables := sorted(kinds & {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}):
        raise ModelError(source, f"is not frozen ({', '.join(variables)}); freeze it and retry")


def _check_shapes(content: graph.Graph, source: Path | str) -> None:
    if len(content.inputs) != 1 or len(content.outputs) != 1:
        raise ModelError(
            source,
            f"has {len(content.inputs)} inputs and {len(content.outputs)} outputs; "
            "a classifier of one image has one of each",
        )
    image, scores = content.tensors[content.inputs[0]], content.tensors[content.outputs[0]]
    if len(image.shape) != 4 or image.dtype != "float32" or scores.dtype != "float32":
        raise ModelError(source, f"takes {image.dtype} {image.shape}, not one float32 image")
    if any(size < 1 for size in image.shape[1:]):
        raise ModelError(source, f"has a free input size {image.shape}; export it with a fixed one")
    if image.shape[0] not in (-1, 1):
        raise ModelError(source, f"has a fixed batch of {image.shape[0]}; export it with 1")


def _signature(content: graph.Graph) -> Any:
    (image,), (scores,) = content.inputs, content.outputs
    return schema.SignatureDefT(
        inputs=[schema.TensorMapT(name=b"image", tensorIndex=image)],
        outputs=[schema.TensorMapT(name=b"scores", tensorIndex=scores)],
        signatureKey=SIGNATURE.encode(),
        subgraphIndex=0,
    )
