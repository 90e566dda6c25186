"""A .tflite that describes itself: standard TensorFlow Lite metadata, and edgefer's own beside it.

The metadata is a flatbuffer in the model's buffer `TFLITE_METADATA`; the files it names are a
ZIP archive after the model, which every runtime ignores. `edgefer.json` among them holds the
ModelSpec and how the model was made. Reading needs the standard library alone, so that a board
with any runtime can; writing needs LiteRT's schema.
"""

from edgefer.metadata.reading import Metadata, read, read_spec
from edgefer.metadata.writing import write

__all__ = ["Metadata", "read", "read_spec", "write"]
