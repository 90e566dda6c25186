"""A .tflite on arrays; the only module that imports an interpreter."""

from __future__ import annotations

import os
import subprocess
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import child
from edgefer.chatter import without_chatter
from edgefer.errors import EdgeferError, ModelError
from edgefer.models.spec import ModelSpec
from edgefer.tensor import FLOAT_TYPES, QUANTIZED_TYPES, Float32Array, Tensor

RUNTIME_ERRORS = (ValueError, RuntimeError, TypeError, MemoryError, OSError)
"""What the interpreter raises for a file that it cannot use."""

LOAD_TIMEOUT_S = 120.0

LOADABLE = "loadable"
"""What `edgefer.runtime_check` answers for a file that loads and runs."""

_IDENTIFIER = b"TFL3"
_LONGEST_MESSAGE = 240
_AGAIN = "convert or download it again"


class TfliteModel:
    """A classifier in the interpreter: one image in, one row of class scores out.

    Made by `open_model`.
    """

    def __init__(self, path: Path, interpreter: Any) -> None:
        self.path = path
        self._interpreter = interpreter
        inputs = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                path,
                f"has {len(inputs)} inputs and {len(outputs)} outputs; "
                "a classifier has one of each",
            )
        self.input = self._checked(
            Tensor.from_details(inputs[0]), "input", ("1", "height", "width", "channels")
        )
        self.output = self._checked(Tensor.from_details(outputs[0]), "output", ("1", "classes"))

    def _checked(self, tensor: Tensor, role: str, axes: tuple[str, ...]) -> Tensor:
        declared = tensor.declared_shape
        if len(declared) != len(axes) or tensor.shape[0] != 1 or min(declared[1:]) < 1:
            raise ModelError(
                self.path, f"its {role} is {declared}; a classifier's is ({', '.join(axes)})"
            )
        if tensor.dtype not in (*FLOAT_TYPES, *QUANTIZED_TYPES):
            raise ModelError(self.path, f"its {role} is {tensor.dtype}, which is not supported")
        if tensor.dtype in QUANTIZED_TYPES and not 0 < tensor.scale < np.inf:
            raise ModelError(self.path, f"its {tensor.dtype} {role} has no quantization scale")
        return tensor

    @property
    def free_batch(self) -> bool:
        """Whether the file leaves the batch size open."""
        return self.input.declared_shape[0] == -1

    @property
    def classes(self) -> int:
        """How many scores the output holds."""
        return self.output.shape[1]

    @property
    def resolution(self) -> float:
        """The smallest step between two scores; 0 for a float output."""
        return self.output.scale if self.output.dtype in QUANTIZED_TYPES else 0.0

    def require_spec(self, spec: ModelSpec) -> None:
        """Raise ModelError where the tensors are not those that `spec` describes."""
        expected = (1, spec.input_size, spec.input_size, spec.channels)
        if self.input.shape != expected:
            raise ModelError(self.path, f"its input is {self.input.shape}, not {expected}")
        if self.classes != len(spec.labels):
            raise ModelError(
                self.path, f"its output has {self.classes} classes for {len(spec.labels)} labels"
            )

    def probabilities(self, inputs: Float32Array) -> Float32Array:
        """Classify normalised images one at a time, as a device does.

        `inputs` is float32 (n, height, width, channels). Returns the output's real values,
        float32 (n, classes): probabilities where the network ends in a softmax.
        """
        return self.output.dequantize(self.scores(self.input.quantize(inputs)))

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run the model on raw values of its input's type, one image at a time.

        `values` is (n, height, width, channels). Returns raw values of its output, (n, classes).
        """
        scores = np.empty((len(values), self.classes), self.output.dtype)
        for position in range(len(values)):
            scores[position] = self._invoke(values[position : position + 1])
        return scores

    def probabilities_together(self, inputs: Float32Array) -> Float32Array:
        """Classify normalised images as one batch, which needs a `free_batch`.

        Only to see whether the images of a batch influence each other.
        """
        if not self.free_batch:
            raise ModelError(self.path, "its batch size is fixed at 1")
        try:
            self._resize(len(inputs))
            return self.output.dequantize(self._invoke(self.input.quantize(inputs)))
        finally:
            self._resize(1)

    def _resize(self, batch_size: int) -> None:
        shape = (batch_size, *self.input.shape[1:])
        try:
            self._interpreter.resize_tensor_input(self.input.index, shape)
            self._interpreter.allocate_tensors()
        except RUNTIME_ERRORS as exc:
            raise ModelError(
                self.path, f"cannot take {batch_size} images: {one_line(exc)}"
            ) from exc

    def _invoke(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        try:
            self._interpreter.set_tensor(self.input.index, batch)
            self._interpreter.invoke()
            scores: npt.NDArray[Any] = self._interpreter.get_tensor(self.output.index)
        except RUNTIME_ERRORS as exc:
            raise ModelError(self.path, f"failed on an image: {one_line(exc)}") from exc
        return scores


def open_model(path: Path, *, threads: int = 1, checked: bool = False) -> TfliteModel:
    """Load a classifier; ModelError where the file is not one.

    A file from outside is first tried in a child process, since a corrupt one can crash the
    interpreter. `checked` says that this was done, or that edgefer has just written the file.
    """
    if not checked:
        require_loadable(path)
    try:
        interpreter = _load(path, threads)
    except RUNTIME_ERRORS as exc:
        raise ModelError(path, f"cannot be loaded: {one_line(exc)}") from exc
    return TfliteModel(path, interpreter)


def open_made(tflite: bytes, *, name: str = "model.tflite") -> TfliteModel:
    """Load a classifier that edgefer has just made; ModelError where the runtime refuses it."""
    try:
        with without_chatter():
            interpreter = _interpreter_class()(model_content=tflite, num_threads=1)
            interpreter.allocate_tensors()
    except RUNTIME_ERRORS as exc:
        raise ModelError(name, f"cannot be loaded: {one_line(exc)}") from exc
    return TfliteModel(Path(name), interpreter)


def open_with_all_tensors(tflite: bytes) -> Any:
    """Load a model that edgefer made so that every tensor can be read after it ran.

    Returns the runtime's own interpreter, its tensors allocated; it runs without XNNPACK.
    """
    with without_chatter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that reading all tensors takes memory
        interpreter = _interpreter_class()(
            model_content=tflite,
            experimental_preserve_all_tensors=True,
            num_threads=os.cpu_count(),
        )
        interpreter.allocate_tensors()
    return interpreter


def open_bundled(path: Path) -> Any:
    """Load a .tflite that edgefer brings and that is no classifier, such as a face detector.

    Returns the runtime's own interpreter, its tensors allocated. Not for files from outside,
    which are tried in a child process first.
    """
    return _load(path, threads=1)


def require_loadable(path: Path, *, timeout_s: float = LOAD_TIMEOUT_S) -> None:
    """Raise ModelError unless `path` is a .tflite that loads and runs.

    The file is loaded, and invoked once on zeros, in a child process: whatever it does to the
    interpreter, a crash or an endless loop too, stays there.
    """
    _interpreter_class()
    _require_identifier(path)
    try:
        answer = child.run("edgefer.runtime_check", str(path.absolute()), timeout_s=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise ModelError(
            path, f"did not load and run once within {timeout_s:.0f} s; {_AGAIN}"
        ) from exc
    if answer.returncode != 0:
        how = child.death(answer.returncode)
        raise ModelError(path, f"is corrupt: it makes the interpreter crash ({how}); {_AGAIN}")
    problem = answer.stdout.decode(errors="replace")
    if problem != LOADABLE:
        raise ModelError(path, f"cannot be loaded: {problem}; {_AGAIN}")


def invoke_once(path: Path) -> None:
    """Load a .tflite in this process and run it once on zeros; raises RUNTIME_ERRORS."""
    interpreter = _load(path, threads=1)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()


def runtime_version() -> str:
    """Return the interpreter's package and version."""
    package = _interpreter_class().__module__.partition(".")[0].replace("_", "-")
    return f"{package} {metadata.version(package)}"


def one_line(exc: BaseException) -> str:
    """Return the interpreter's message as one line of bounded length."""
    message = " ".join(str(exc).split()) or type(exc).__name__
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"


def _require_identifier(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError as exc:
        raise ModelError(path, "does not exist") from exc
    except IsADirectoryError as exc:
        raise ModelError(path, "is a folder, not a .tflite file") from exc
    except OSError as exc:
        raise ModelError(path, f"cannot be read: {exc.strerror}") from exc
    if not head:
        raise ModelError(path, f"is empty; {_AGAIN}")
    if head[4:8] != _IDENTIFIER:
        raise ModelError(path, f"is not a .tflite file (no TFL3 at byte 4); {_AGAIN}")


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as exc:
            raise EdgeferError(
                "running a .tflite needs ai-edge-litert or tflite-runtime: "
                "pip install ai-edge-litert"
            ) from exc
    return Interpreter


def _load(path: Path, threads: int) -> Any:
    interpreter_class = _interpreter_class()
    with without_chatter():
        interpreter = interpreter_class(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter
