"""Which file is measured: its hash, its precision, and what it costs by count."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from edgefer import runtime
from edgefer.benchmarks.result import ModelIdentity
from edgefer.converters import graph
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.graph import Graph

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
ACTIVATION, WEIGHT = 0, 1
"""Places of both among the inputs of a weighted operator."""


def identify(path: Path) -> ModelIdentity:
    """Read what a .tflite is; ModelError where it is not one that runs on this machine."""
    runtime.require_loadable(path)
    content = path.read_bytes()
    parsed = graph.read(content, source=path)
    return ModelIdentity(
        name=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        precision=precision(parsed),
        multiply_accumulates=multiply_accumulates(parsed) or None,
    )


def precision(content: Graph) -> str:
    """Return how most weighted operators compute: float32, float16, dynamic, int8 or int16x8.

    A model without any is called by the type of its input.
    """
    kinds = Counter(
        _pair(content, operator.inputs)
        for operator in content.operators
        if operator.kind in WEIGHTED
    )
    if not kinds:
        return content.tensors[content.inputs[0]].dtype
    activation, weight = kinds.most_common(1)[0][0]
    if activation == weight:
        return activation if not _from_float16(content) else "float16"
    return {("float32", "int8"): "dynamic", ("int16", "int8"): "int16x8"}.get(
        (activation, weight), f"{weight} weights, {activation} activations"
    )


def _pair(content: Graph, inputs: tuple[int, ...]) -> tuple[str, str]:
    return content.tensors[inputs[ACTIVATION]].dtype, content.tensors[inputs[WEIGHT]].dtype


def _from_float16(content: Graph) -> bool:
    """Say whether float32 weights are unpacked from float16 constants."""
    return any(
        operator.kind == "DEQUANTIZE"
        and content.tensors[operator.inputs[0]].dtype == "float16"
        and content.tensors[operator.inputs[0]].data is not None
        for operator in content.operators
    )
