"""Read and write the graph inside a .tflite: a thin layer over its flatbuffer."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgefer.errors import ModelError

FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
"""`force_align: 16` of Buffer.data in TensorFlow Lite's schema.fbs."""

CORRUPT = (
    struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError,
    MemoryError, RecursionError,
)  # fmt: skip
"""What reading a damaged flatbuffer raises."""

_MOST_SUBGRAPHS = 64
_MOST_ENTRIES = 200_000


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


OPERATOR_TYPES = _names(schema.BuiltinOperator)
TENSOR_TYPES = _names(schema.TensorType)
_DTYPES = {
    "float32": np.float32,
    "float16": np.float16,
    "float64": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
}


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Real value = scale · (q − zero point); `axis` is the one the scales run along."""

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor: `dtype` in lower case (`float32`), -1 in `shape` where a dimension is free."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None
    data: npt.NDArray[Any] | None

    @property
    def is_float(self) -> bool:
        """Whether the values are stored in floating point."""
        return self.dtype.startswith("float")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator: `kind` as TensorFlow Lite names it; -1 among `inputs` stands for none."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The main subgraph, with tensors and operators in the file's order."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def operands(self, operator: Operator) -> list[Tensor]:
        """Return the tensors that an operator reads and writes."""
        return [self.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]

    def producer(self, tensor_index: int) -> Operator | None:
        """Return the operator that writes a tensor."""
        return next((op for op in self.operators if tensor_index in op.outputs), None)


def unpack(tflite: bytes, *, source: Path | str) -> Any:
    """Return a .tflite as the schema's mutable ModelT.

    Raises ModelError where it is not a .tflite, or its flatbuffer does not hold together.
    """
    if tflite[4:8] != FILE_IDENTIFIER:
        raise ModelError(source, "is not a .tflite file; give one, or a checkpoint")
    try:
        _check_sizes(tflite)
        model = flatbuffer_utils.read_model_from_bytearray(tflite)
        _check_references(model)
    except CORRUPT as exc:
        raise ModelError(source, "is a corrupt .tflite file; export or download it again") from exc
    return model


def pack(model: Any) -> bytes:
    """Return the file of a ModelT, its buffers inside the flatbuffer and aligned.

    The quantizer puts large buffers after the flatbuffer, which runtimes before 2.15 cannot read.
    """
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read(tflite: bytes, *, source: Path | str = "model") -> Graph:
    """Return the main subgraph of a .tflite; ModelError where it is corrupt."""
    model = unpack(tflite, source=source)
    try:
        return _graph(model)
    except CORRUPT as exc:
        raise ModelError(source, "is a corrupt .tflite file; export or download it again") from exc


def add_tensor(model: Any, template: Any, **fields: Any) -> int:
    """Append a tensor to the main subgraph, like `template` but for `fields`; return its index.

    `data`, a numpy array among the fields, gives it a buffer of its own; else it has none.
    """
    data = fields.pop("data", None)
    buffer = 0
    if data is not None:
        buffer = add_buffer(model, data)
    tensors = model.subgraphs[0].tensors
    tensors.append(schema.TensorT(**{**vars(template), "buffer": buffer, **fields}))
    return len(tensors) - 1


def add_buffer(model: Any, data: npt.NDArray[Any]) -> int:
    """Append a buffer that holds an array; return its index."""
    model.buffers.append(schema.BufferT(data=np.ascontiguousarray(data).view(np.uint8).ravel()))
    return len(model.buffers) - 1


def add_operator(
    model: Any,
    kind: str,
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    first: bool,
    options: Any = None,
) -> None:
    """Insert an operator at the start or the end of the main subgraph.

    `options` is one of the schema's objects, such as Conv2DOptionsT.
    """
    builtin = getattr(schema.BuiltinOperator, kind)
    model.operatorCodes.append(
        schema.OperatorCodeT(builtinCode=builtin, deprecatedBuiltinCode=builtin, version=1)
    )
    operator = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1, inputs=list(inputs), outputs=list(outputs)
    )
    if options is not None:
        operator.builtinOptions = options
        kind_of_options = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind_of_options)
    operators = model.subgraphs[0].operators
    operators.insert(0 if first else len(operators), operator)


def operator_kind(model: Any, operator: Any) -> str:
    """Return the type of a schema operator; custom ones by their own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    kind = OPERATOR_TYPES[flatbuffer_utils.get_builtin_code_from_operator_code(code)]
    return f"CUSTOM:{code.customCode.decode()}" if kind == "CUSTOM" else kind


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data starts at a multiple of 16 in the file, as TensorFlow's own writer."""

    def Pack(self, builder: Any) -> int:  # noqa: N802 - the schema's name
        builder.Prep(BUFFER_ALIGNMENT, self.data.size)
        return int(super().Pack(builder))


def _aligned(buffer: Any) -> Any:
    if buffer.data is None or len(buffer.data) == 0:
        return schema.BufferT()
    return _AlignedBuffer(data=np.frombuffer(buffer.data, np.uint8))


def _check_sizes(tflite: bytes) -> None:
    packed = schema.Model.GetRootAs(tflite, 0)
    if not 1 <= packed.SubgraphsLength() <= _MOST_SUBGRAPHS:
        raise ValueError("number of subgraphs")
    counts = [packed.BuffersLength(), packed.OperatorCodesLength(), packed.MetadataLength()]
    for index in range(packed.SubgraphsLength()):
        subgraph = packed.Subgraphs(index)
        counts += [subgraph.TensorsLength(), subgraph.OperatorsLength()]
    if sum(counts) > _MOST_ENTRIES:
        raise ValueError("number of entries")


def _check_references(model: Any) -> None:
    for subgraph in model.subgraphs:
        tensors = range(len(subgraph.tensors))
        for tensor in subgraph.tensors:
            model.buffers[tensor.buffer]
        for operator in subgraph.operators:
            operator_kind(model, operator)
            used = [*operator.inputs, *operator.outputs]
            if any(index != -1 and index not in tensors for index in used):
                raise IndexError("tensor index")
        if any(index not in tensors for index in (*subgraph.inputs, *subgraph.outputs)):
            raise IndexError("tensor index")


def _graph(model: Any) -> Graph:
    subgraph = model.subgraphs[0]
    return Graph(
        tensors=tuple(
            _tensor(index, tensor, model.buffers[tensor.buffer].data)
            for index, tensor in enumerate(subgraph.tensors)
        ),
        operators=tuple(
            Operator(
                index=index,
                kind=operator_kind(model, operator),
                inputs=tuple(int(i) for i in operator.inputs),
                outputs=tuple(int(i) for i in operator.outputs),
                options=operator.builtinOptions,
            )
            for index, operator in enumerate(subgraph.operators)
        ),
        inputs=tuple(int(i) for i in subgraph.inputs),
        outputs=tuple(int(i) for i in subgraph.outputs),
    )


def _tensor(index: int, tensor: Any, data: Any) -> Tensor:
    dtype = TENSOR_TYPES[tensor.type].lower()
    stored = tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()
    signature = tensor.shapeSignature
    has_signature = signature is not None and len(signature) == len(stored)
    values: npt.NDArray[Any] | None = None
    if data is not None and len(data) and dtype in _DTYPES:
        values = np.frombuffer(data, _DTYPES[dtype]).reshape(stored)
    return Tensor(
        index=index,
        name=(tensor.name or b"").decode(errors="replace"),
        dtype=dtype,
        shape=tuple(int(size) for size in signature) if has_signature else stored,
        quantization=_quantization(tensor.quantization),
        data=values,
    )


def _quantization(found: Any) -> Quantization | None:
    if found is None or found.scale is None or len(found.scale) == 0:
        return None
    scales = np.asarray(found.scale, np.float32)
    zero_points = np.zeros(len(scales), np.int64)
    if found.zeroPoint is not None and len(found.zeroPoint):
        zero_points = np.broadcast_to(np.asarray(found.zeroPoint, np.int64), scales.shape)
    return Quantization(scales=scales, zero_points=zero_points, axis=int(found.quantizedDimension))
