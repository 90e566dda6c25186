"""Which float model statistics belong to, whatever its tensors are called."""

import hashlib
from typing import Any

import numpy as np

from edgefer.converters.graph import Graph


def model_hash(content: Graph) -> str:
    """Return a SHA-256 of a graph's operators, wiring, shapes and constants.

    It leaves out names, which Keras numbers anew for each model it builds, and everything that is
    not computed with: metadata, signatures and the order of buffers.
    """
    digest = hashlib.sha256()
    for tensor in content.tensors:
        digest.update(f"{tensor.dtype} {tensor.shape}\n".encode())
        if tensor.data is not None:
            digest.update(hashlib.sha256(np.ascontiguousarray(tensor.data).data).digest())
    for operator in content.operators:
        parts = (operator.kind, operator.inputs, operator.outputs, _options(operator.options))
        digest.update(f"{parts}\n".encode())
    digest.update(f"{content.inputs} {content.outputs}".encode())
    return digest.hexdigest()


def _options(options: Any) -> list[tuple[str, Any]]:
    values = sorted(vars(options).items()) if options is not None else []
    return [(name, np.asarray(value).tolist()) for name, value in values]
