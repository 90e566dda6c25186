"""Small float .tflite models and faces that several test modules share, made once."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.converters import float_model, graph
from edgefer.converters.calibration.result import CalibrationResult, calibrate
from edgefer.converters.graph import Operator, Tensor
from edgefer.converters.recipes import RangeMethod, WeightRange
from edgefer.converters.rounding.weight_ranges import ranges_by_name
from edgefer.converters.rounding.weight_rounding import round_to_nearest
from edgefer.converters.weights import WeightedLayer
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.data.preprocessing import normalise
from edgefer.models.patt_lite.network import PattLite
from edgefer.models.spec import ModelSpec

Float32Array = npt.NDArray[np.float32]

SIDE = 32
SPEC = ModelSpec(
    name="small", labels=ALPHABETICAL_7, input_size=SIDE, author="someone", licence="MIT"
)
PATT_LITE = PattLite(input_size=48, labels=ALPHABETICAL_8)


def pixels(count: int, side: int = SIDE, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return smooth RGB images: four pixels of noise, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, 2, 2, 3), np.uint8)
    return np.stack([cv2.resize(image, (side, side)) for image in noise]).astype(np.uint8)


def faces(count: int, side: int = SIDE, seed: int = 0) -> LabelledFaces:
    """Return the same images as a dataset."""
    return LabelledFaces(
        source="smooth noise",
        images=list(pixels(count, side, seed)),
        labels=np.zeros(count, np.int64),
        class_names=ALPHABETICAL_7,
        names=[f"{index}" for index in range(count)],
    )


def inputs(count: int, side: int = SIDE, seed: int = 0) -> Float32Array:
    """Return the same images normalised to -1…1."""
    return normalise(pixels(count, side, seed), SPEC)


def randomise(model: Any, seed: int = 0) -> None:
    """Give every layer weights of a trained network's size, uneven between channels."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name in ("gamma", "moving_variance"):
                value = random.uniform(0.5, 1.5, shape)
            elif len(shape) < 2:
                value = random.normal(0, 0.3, shape)
            else:
                fan_in = np.prod(shape[:2]) if shape[-1] == 1 else np.prod(shape[:-1])
                uneven = np.exp(random.normal(0, 0.5, shape))
                value = uneven * random.normal(0, np.sqrt(2 / fan_in), shape)
            weight.assign(value.astype(np.float32))


@cache
def small_keras() -> Any:
    """Return a separable network with every kind of layer that is corrected.

    Its logits have a mean of 0 and spread over the images, so that its answers differ.
    """
    from keras import Input, Model, layers

    image = Input((SIDE, SIDE, 3), batch_size=1, name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6")(image)
    for stride in (1, 2, 1):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", activation="relu6")(x)
        x = layers.Conv2D(24, 1, activation="relu6")(x)
    features = layers.GlobalAveragePooling2D()(x)
    head = layers.Dense(len(SPEC.labels), activation="softmax")
    model = Model(image, head(features), name="small")
    randomise(model)
    extractor = Model(image, features)
    seen = np.concatenate([np.asarray(extractor(face[None])) for face in inputs(64, seed=9)])
    kernel = np.random.default_rng(2).normal(0, 0.12, head.kernel.shape)
    kernel /= seen.std(axis=0)[:, None] + 1e-3
    head.kernel.assign(kernel)
    head.bias.assign(-seen.mean(axis=0) @ kernel)
    return model


@cache
def small() -> bytes:
    """Return that network as a float .tflite."""
    return float_model.from_keras(small_keras())


@cache
def patt_lite() -> bytes:
    """Return a PAtt-Lite of 48x48 with random weights as a float .tflite."""
    model = PATT_LITE.build()
    randomise(model)
    return float_model.from_keras(model)


def patched(tflite: bytes, change: Any) -> bytes:
    """Return a .tflite after `change(model)` on its schema object."""
    model = graph.unpack(tflite, source="test")
    change(model)
    return graph.pack(model)


def calibrated(tflite: bytes, images: Float32Array) -> CalibrationResult:
    """Return what normalised images show of a float .tflite."""
    return calibrate(tflite, images, faces_hash="none")


def ranges(tflite: bytes, images: Float32Array) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of each tensor, by name."""
    return calibrated(tflite, images).ranges(RangeMethod.MIN_MAX)


def rounded(tflite: bytes, skipped: frozenset[int] = frozenset()) -> bytes:
    """Return a float .tflite with each weight at the nearest point of its min-max grid."""
    grids = ranges_by_name(tflite, WeightRange.MIN_MAX)
    return round_to_nearest(tflite, grids, skipped=skipped)


def layer(kind: str, weights: Float32Array, **options: int) -> WeightedLayer:
    """Return a layer of these weights alone, outside of any graph, with a stride of 1."""
    settings = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return WeightedLayer(
        operator=Operator(
            index=0,
            kind=kind,
            inputs=(0, 1, -1),
            outputs=(2,),
            options=SimpleNamespace(**{**settings, **options}),
        ),
        weights=Tensor(
            index=1, name="w", dtype="float32", shape=weights.shape, quantization=None, data=weights
        ),
        bias=None,
    )


def run(tflite: bytes, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Feed values of the input's own type one at a time; return the output's own values."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for one in batch:
        interpreter.set_tensor(image["index"], one[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(scores["index"])[0])
    return np.stack(answers)


def real(tflite: bytes, values: npt.NDArray[Any]) -> Float32Array:
    """Return the real numbers that a model's output values stand for."""
    content = graph.read(tflite)
    quantization = content.tensors[content.outputs[0]].quantization
    if quantization is None:
        return values.astype(np.float32)
    steps = values.astype(np.float32) - quantization.zero_points
    return np.asarray(steps * quantization.scales, np.float32)
