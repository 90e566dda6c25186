"""Describing a .tflite: what is written into every model that edgefer makes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

import edgefer
from edgefer.metadata import message
from edgefer.metadata.archive import LABELS_FILE, METADATA_NAME, OWN_FILE, with_files
from edgefer.models.spec import ColourOrder, ModelSpec

SCHEMA_VERSION = 1

_MIN_PARSER_VERSION = "1.0.0"
_COLOURS = {ColourOrder.RGB: message.RGB, ColourOrder.GRAY: message.GRAYSCALE}


def write(tflite: bytes, spec: ModelSpec, info: Mapping[str, Any]) -> bytes:
    """Return the model with `spec` and `info` as its only metadata.

    `info` is JSON-ready. Raises ModelError where `tflite` is corrupt.
    """
    from ai_edge_litert import schema_py_generated as schema

    from edgefer.converters import graph

    model = graph.unpack(tflite, source=spec.name)
    described = message.encode(describe(spec))
    kept = [entry for entry in model.metadata or [] if entry.name != METADATA_NAME]
    for entry in model.metadata or []:
        if entry.name == METADATA_NAME:
            model.buffers[entry.buffer].data = None
    model.buffers.append(schema.BufferT(data=np.frombuffer(described, np.uint8)))
    model.metadata = [
        *kept,
        schema.MetadataT(name=METADATA_NAME.decode(), buffer=len(model.buffers) - 1),
    ]
    own = {"schema_version": SCHEMA_VERSION, "spec": spec.to_dict(), "info": dict(info)}
    files = {LABELS_FILE: "\n".join(spec.labels), OWN_FILE: json.dumps(own, indent=1)}
    return with_files(graph.pack(model), files)


def describe(spec: ModelSpec) -> message.Message:
    """Return the standard metadata that says of a model what `spec` does."""
    return {
        "name": spec.name,
        "description": spec.description,
        "version": f"edgefer {edgefer.__version__}",
        "subgraph_metadata": [
            {"input_tensor_metadata": [_image(spec)], "output_tensor_metadata": [_SCORES]}
        ],
        "author": spec.author,
        "license": spec.licence,
        "associated_files": [
            {"name": OWN_FILE, "description": "What edgefer knows of the model, as JSON."}
        ],
        "min_parser_version": _MIN_PARSER_VERSION,
    }


def _image(spec: ModelSpec) -> message.Message:
    return {
        "name": "image",
        "description": "One cropped face, stretched to the input size.",
        "content": {
            "content_properties": {
                "color_space": _COLOURS[spec.colour_order],
                "default_size": {"width": spec.input_size, "height": spec.input_size},
            }
        },
        "process_units": [{"options": {"mean": list(spec.mean), "std": list(spec.std)}}],
    }


_SCORES: message.Message = {
    "name": "probability",
    "description": "Probability of each label.",
    "associated_files": [
        {
            "name": LABELS_FILE,
            "description": "The labels, in the order of the output.",
            "type": message.TENSOR_AXIS_LABELS,
        }
    ],
}
