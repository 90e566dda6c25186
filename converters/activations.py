"""What the tensors inside a .tflite hold for real faces."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.progress import Progress
from edgefer.tensor import Tensor

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def mean_activations(
    tflite: bytes,
    faces: Float32Array,
    tensors: Sequence[int],
    progress: Progress | None = None,
) -> dict[int, Float64Array]:
    """Run the model on each face and return the mean of each of `tensors` over the faces.

    `faces` are float32 (n, h, w, channels), normalised; `tensors` are positions in the main
    subgraph. The means have the tensors' shapes, with a batch of 1.
    """
    sums = {index: np.zeros(()) for index in tensors}
    for values in activations(tflite, faces, tensors, progress):
        sums = {index: total + values[index] for index, total in sums.items()}
    return {index: total / len(faces) for index, total in sums.items()}


def activation_ranges(
    tflite: bytes,
    faces: Float32Array,
    tensors: Sequence[int],
    progress: Progress | None = None,
) -> dict[int, tuple[float, float]]:
    """Return the smallest and largest value of each of `tensors` over all faces."""
    lows = dict.fromkeys(tensors, np.inf)
    highs = dict.fromkeys(tensors, -np.inf)
    for values in activations(tflite, faces, tensors, progress):
        for index, value in values.items():
            lows[index] = min(lows[index], float(value.min()))
            highs[index] = max(highs[index], float(value.max()))
    return {index: (lows[index], highs[index]) for index in tensors}


def activations(
    tflite: bytes, faces: Float32Array, tensors: Sequence[int], progress: Progress | None = None
) -> Iterator[dict[int, Float32Array]]:
    """Run the model on each face and yield what `tensors` then hold, integers as stored."""
    interpreter = runtime.open_with_all_tensors(tflite)
    image = Tensor.from_details(interpreter.get_input_details()[0])
    for done, face in enumerate(faces, start=1):
        interpreter.set_tensor(image.index, image.quantize(face[None]))
        interpreter.invoke()
        yield {index: interpreter.get_tensor(index) for index in tensors}
        if progress:
            progress(done, len(faces))
