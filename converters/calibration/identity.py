"""Which float model statistics belong to, whatever its tensors are called and wherever it was made.

A batch norm that is folded into weights rounds a little differently on other processors, so that
a hash of the weights would know the network again only on the machine that saw it first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters.graph import Graph, Tensor
from edgefer.records import STRICT

Float64Array = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Of a constant's norm: a thousand times what folding on another processor changes."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2


@STRICT
@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """What tells a float model from others.

    `structure` is a SHA-256 of operators, wiring, shapes and whole numbers. `projections` has one
    number for each float constant, in the file's order, which all of its values move.
    """

    structure: str
    projections: tuple[float, ...]


def identity(content: Graph) -> ModelIdentity:
    """Return a graph's identity.

    It leaves out names, which Keras numbers anew for each model it builds, and everything that is
    not computed with: metadata, signatures and the order of buffers.
    """
    projections = (_projection(values) for values in _float_constants(content))
    return ModelIdentity(
        structure=_structure(content),
        projections=tuple(float(f"{value:.9g}") for value in projections),
    )


def is_of(known: ModelIdentity, content: Graph) -> bool:
    """Say whether an identity is that of a graph, made on this machine or on another one."""
    constants = _float_constants(content)
    if known.structure != _structure(content) or len(known.projections) != len(constants):
        return False
    return all(
        abs(_projection(values) - expected) <= TOLERANCE * float(np.linalg.norm(values))
        for values, expected in zip(constants, known.projections, strict=True)
    )


def _float_constants(content: Graph) -> list[Float64Array]:
    """Return the float constants as finite numbers: a mask may hold infinity."""
    constants = [tensor.data for tensor in content.tensors if _is_float_constant(tensor)]
    return [
        np.nan_to_num(np.asarray(data, np.float64).ravel(), posinf=1.0, neginf=-1.0)
        for data in constants
    ]


def _is_float_constant(tensor: Tensor) -> bool:
    return tensor.is_float and tensor.data is not None


def _projection(values: Float64Array) -> float:
    """Return the sum of values, each times a weight of its own between -1 and 1.

    The weights are multiples of the golden ratio without their whole part, which fill the
    interval evenly and are the same numbers on every machine.
    """
    weights = 2 * np.modf(_GOLDEN_RATIO * np.arange(1, len(values) + 1))[0] - 1
    return float(values @ weights)


def _structure(content: Graph) -> str:
    digest = hashlib.sha256()
    for tensor in content.tensors:
        digest.update(f"{tensor.dtype} {tensor.shape}\n".encode())
        if tensor.data is not None and not tensor.is_float:
            digest.update(hashlib.sha256(np.ascontiguousarray(tensor.data).data).digest())
    for operator in content.operators:
        parts = (operator.kind, operator.inputs, operator.outputs, _options(operator.options))
        digest.update(f"{parts}\n".encode())
    digest.update(f"{content.inputs} {content.outputs}".encode())
    return digest.hexdigest()


def _options(options: Any) -> list[tuple[str, Any]]:
    values = sorted(vars(options).items()) if options is not None else []
    return [(name, np.asarray(value).tolist()) for name, value in values]
