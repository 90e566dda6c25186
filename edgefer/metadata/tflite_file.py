"""The few fields of a .tflite that its metadata is found by.

Slots as in TensorFlow Lite's schema.fbs (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from edgefer.metadata import flatbuffer
from edgefer.metadata.archive import METADATA_NAME
from edgefer.metadata.flatbuffer import Buffer, FlatbufferError, Table

IDENTIFIER = b"TFL3"

_MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 2, 4, 6
_SUBGRAPH_TENSORS, _SUBGRAPH_INPUTS = 0, 1
_TENSOR_SHAPE = 0
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1


def metadata(tflite: Buffer) -> bytes:
    """Return the content of TFLITE_METADATA, empty where there is none."""
    model = flatbuffer.root(tflite, IDENTIFIER)
    for entry in model.tables(_MODEL_METADATA):
        if entry.content(_METADATA_NAME) == METADATA_NAME:
            buffers = model.tables(_MODEL_BUFFERS)
            return _content(_at(buffers, entry.number(_METADATA_BUFFER, "I")))
    return b""


def input_shape(tflite: Buffer) -> tuple[int, ...]:
    """Return the shape of the only input, empty where there are more or none."""
    model = flatbuffer.root(tflite, IDENTIFIER)
    subgraph = _at(model.tables(_MODEL_SUBGRAPHS), 0)
    inputs = subgraph.numbers(_SUBGRAPH_INPUTS, "i")
    if len(inputs) != 1:
        return ()
    return _at(subgraph.tables(_SUBGRAPH_TENSORS), inputs[0]).numbers(_TENSOR_SHAPE, "i")


def _content(buffer: Table) -> bytes:
    """Return a buffer's bytes, which in files of more than 2 GB lie after the flatbuffer."""
    start, size = buffer.number(_BUFFER_OFFSET, "Q"), buffer.number(_BUFFER_SIZE, "Q")
    if start <= 1:
        return buffer.content(_BUFFER_DATA)
    if start + size > len(buffer.buffer):
        raise FlatbufferError("the metadata lies behind the end of the file")
    return bytes(buffer.buffer[start : start + size])


def _at(tables: list[Table], index: int) -> Table:
    if not 0 <= index < len(tables):
        raise FlatbufferError(f"there is no entry {index} in a list of {len(tables)}")
    return tables[index]
