"""Small random chains of layers, and how a pair's ranges look from outside, for several tests."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.equalization.layer_pairs import LayerPair, layer_pairs
from edgefer.runtime import open_with_all_tensors

Float64Array = npt.NDArray[np.float64]

PIXELS = (-1.0, 1.0)
SIDE = 16


def images(count: int, seed: int = 0) -> small_models.Float32Array:
    """Return smooth images that small chains take."""
    return small_models.inputs(count, side=SIDE, seed=seed)


@cache
def chain(seed: int) -> bytes:
    """Return a random chain with every kind of layer and operator that pairs may have."""
    from keras import Input, Model, layers

    random = np.random.default_rng(seed)
    image = Input((SIDE, SIDE, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    for _ in range(4):
        x = _block(random, x)
    x = layers.Conv2D(12, 1, activation=str(random.choice(["relu", "linear"])))(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(10, activation="relu")(x)
    model = Model(image, layers.Dense(7)(x))
    small_models.randomise(model, seed)
    return float_model.from_keras(model)


def _block(random: np.random.Generator, x: Any) -> Any:
    from keras import layers

    activation = str(random.choice(["relu", "linear", "relu6"]))
    padding = str(random.choice(["same", "valid"]))
    layer: Any = [
        lambda: layers.DepthwiseConv2D(3, padding=padding, depth_multiplier=2),
        lambda: layers.DepthwiseConv2D(3, padding=padding, activation=activation),
        lambda: layers.Conv2D(int(random.integers(4, 12)), 3, padding=padding),
        lambda: layers.Conv2D(int(random.integers(4, 12)), 1, activation=activation),
    ][random.integers(4)]
    after: Any = [
        lambda y: y,
        layers.ReLU(),
        layers.MaxPooling2D(2, strides=1, padding="same"),
        layers.AveragePooling2D(2, strides=1),
        layers.ZeroPadding2D(1),
    ][random.integers(5)]
    return after(layer()(x))


def pairs(tflite: bytes) -> list[LayerPair]:
    """Return a model's pairs."""
    return layer_pairs(graph.read(tflite))


def weights(layer: Any) -> Float64Array:
    """Return a layer's weights."""
    return np.asarray(layer.weights.data, np.float64)


def values(tflite: bytes, faces: small_models.Float32Array, tensor: int) -> Float64Array:
    """Return what the interpreter has in a tensor, a row for each position of each face."""
    interpreter = open_with_all_tensors(tflite)
    rows = []
    for face in faces:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], face[None])
        interpreter.invoke()
        found = interpreter.get_tensor(tensor)
        rows.append(found.reshape(-1, found.shape[-1]))
    return np.concatenate(rows).astype(np.float64)


def largest_difference(one: bytes, other: bytes, faces: small_models.Float32Array) -> float:
    """Return the largest difference of two models' outputs, beside the largest output."""
    expected, found = small_models.run(one, faces), small_models.run(other, faces)
    return float(np.abs(found - expected).max() / np.abs(expected).max())
