"""One normalisation for all channels, which raw pixels of one integer scale need.

Many networks were trained on pixels normalised channel by channel (ImageNet's means, say). What is
left of that after the same normalisation for all is a factor and an addend a channel: a 1×1
depthwise layer in front of the network, exact in float, and rounded like any layer in int8.
"""

from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefer.converters import graph
from edgefer.models.spec import ModelSpec

MIDDLE = 127.5
"""The mean and the deviation under which pixels are -1…1."""

NORMALISED = "normalisation"
"""The tensor that the layer in front writes."""


def is_shared(spec: ModelSpec) -> bool:
    """Whether every channel is normalised alike."""
    return len(set(spec.mean)) == len(set(spec.std)) == 1


def with_shared_normalisation(float_tflite: bytes, spec: ModelSpec) -> tuple[bytes, ModelSpec]:
    """Return the model with a layer in front that takes pixels of -1…1, and its new spec.

    A model whose channels are normalised alike comes back as it is.
    """
    if is_shared(spec):
        return float_tflite, spec
    model = graph.unpack(float_tflite, source=spec.name)
    subgraph = model.subgraphs[0]
    image = subgraph.inputs[0]
    template = subgraph.tensors[image]
    mean, std = np.array(spec.mean, np.float64), np.array(spec.std, np.float64)
    weights = (MIDDLE / std).astype(np.float32).reshape(1, 1, 1, -1)
    bias = ((MIDDLE - mean) / std).astype(np.float32)
    inputs = [
        image,
        graph.add_tensor(
            model,
            template,
            name=f"{NORMALISED}/weights".encode(),
            shape=list(weights.shape),
            data=weights,
        ),
        graph.add_tensor(
            model, template, name=f"{NORMALISED}/bias".encode(), shape=list(bias.shape), data=bias
        ),
    ]
    normalised = graph.add_tensor(model, template, name=NORMALISED.encode())
    for operator in subgraph.operators:
        operator.inputs = [normalised if index == image else index for index in operator.inputs]
    graph.add_operator(
        model,
        "DEPTHWISE_CONV_2D",
        inputs,
        [normalised],
        first=True,
        options=schema.DepthwiseConv2DOptionsT(
            padding=schema.Padding.VALID, strideW=1, strideH=1, depthMultiplier=1
        ),
    )
    shared = (MIDDLE,) * spec.channels
    return graph.pack(model), replace(spec, mean=shared, std=shared)
