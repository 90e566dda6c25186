"""A .tflite run over faces a stretch of operators at a time."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.graph import Operator
from edgefer.progress import Progress
from edgefer.tensor import Tensor

Float32Array = npt.NDArray[np.float32]


class StepwiseRun:
    """All faces at the same place in a model, where constants of later operators may change.

    `faces` are float32 (n, h, w, channels), normalised. Each operator runs once for each; what
    operators to come read is kept for all. `model` is the unpacked file, to change.
    """

    def __init__(self, tflite: bytes, faces: Float32Array) -> None:
        self.content = graph.read(tflite)
        self.model = graph.unpack(tflite, source="model")
        self._done = 0
        self._last_read = {
            index: operator.index
            for operator in self.content.operators
            for index in operator.inputs
        }
        image = Tensor.from_details(runtime.open_with_all_tensors(tflite).get_input_details()[0])
        self._values = {image.index: image.quantize(faces)[:, None]}

    def values(self, tensor: int) -> npt.NDArray[Any]:
        """Return what a tensor holds, as stored: (n, its shape).

        It is known from when its operator ran until the last of its readers has run.
        """
        return self._values[tensor]

    def advance(self, position: int, progress: Progress | None = None) -> None:
        """Run what is left of the operators before this position."""
        operators = self.content.operators[self._done : position]
        self._done = max(self._done, position)
        if operators:
            self._run(operators, progress)
        self._values = {
            index: values
            for index, values in self._values.items()
            if self._last_read.get(index, -1) >= self._done
        }

    def _run(self, operators: Sequence[Operator], progress: Progress | None) -> None:
        read = {index for operator in operators for index in operator.inputs}
        known = sorted(read & self._values.keys())
        written = {index for operator in operators for index in operator.outputs}
        needed = sorted(index for index in written if self._last_read.get(index, -1) >= self._done)
        interpreter = runtime.open_with_all_tensors(self._part(operators, known, needed))
        count = len(next(iter(self._values.values())))
        found: dict[int, list[npt.NDArray[Any]]] = {index: [] for index in needed}
        for face in range(count):
            for index in known:
                interpreter.set_tensor(index, self._values[index][face])
            interpreter.invoke()
            for index in needed:
                found[index].append(interpreter.get_tensor(index))
            if progress:
                progress(face + 1, count)
        self._values |= {index: np.stack(values) for index, values in found.items()}

    def _part(self, operators: Sequence[Operator], known: list[int], needed: list[int]) -> bytes:
        """Return a model of these operators and the constants that they read."""
        part, subgraph = copy.copy(self.model), copy.copy(self.model.subgraphs[0])
        subgraph.operators = subgraph.operators[operators[0].index : operators[-1].index + 1]
        subgraph.inputs, subgraph.outputs = known, needed
        part.subgraphs, part.signatureDefs = [subgraph, *self.model.subgraphs[1:]], []
        read = (index for operator in subgraph.operators for index in operator.inputs if index >= 0)
        used = {subgraph.tensors[index].buffer for index in read}
        part.buffers = [
            buffer if index in used else self.model.buffers[0]
            for index, buffer in enumerate(part.buffers)
        ]
        return graph.pack(part)
