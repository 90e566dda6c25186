"""Whether MediaPipe Tasks' ImageClassifier can load a model, which not every .tflite is made for.

The rules are those of MediaPipe 1.2, held against it in tests/test_mediapipe.py. It feeds a
uint8 input the pixels as they are, whatever the metadata says of their normalisation.
"""

from edgefer.metadata.reading import Metadata

INPUT_TYPES = ("uint8", "float32")
OUTPUT_TYPES = ("uint8", "float32")


def obstacle(
    described: Metadata,
    *,
    input_shape: tuple[int, ...],
    input_type: str,
    output_shape: tuple[int, ...],
    output_type: str,
) -> str | None:
    """Return why it cannot load a model of one input and one output, and what helps, or None."""
    if len(input_shape) != 4 or input_shape[3] != 3:
        return "it gives RGB images, and this input is none"
    if input_type not in INPUT_TYPES:
        return f"its input is {input_type}; convert with --input-type uint8 or float32"
    if output_type not in OUTPUT_TYPES:
        return f"its output is {output_type}; convert with --output-type uint8 or float32"
    if input_type == "float32":
        if not described.mean or not described.std:
            return "its metadata has no normalisation, which a float32 input needs"
        if len(set(described.mean)) > 1 or len(set(described.std)) > 1:
            return "it normalises all channels alike; convert with --input-type uint8"
    return _obstacle_in_files(described, classes=output_shape[-1] if output_shape else 0)


def _obstacle_in_files(described: Metadata, *, classes: int) -> str | None:
    if described.needs_newer_parser:
        return f"its metadata asks for a reader of version {described.min_parser_version}"
    if described.labels_file in described.missing_files:
        return f"its metadata names {described.labels_file}, which is not in the file"
    if described.labels and len(described.labels) != classes:
        return f"it has {classes} outputs and {len(described.labels)} labels"
    return None
