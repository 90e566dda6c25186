"""Make LANMSFF's golden files: the authors' graphs, as Keras computes and saves them.

    python tests/golden/lanmsff/make_lanmsff_golden.py           # Keras 3
    python -m venv keras2
    keras2/bin/pip install 'tensorflow-cpu==2.15.1' 'numpy<2' h5py
    keras2/bin/python tests/golden/lanmsff/make_lanmsff_golden.py  # Keras 2

The authors' notebooks (repository AE-1129/LANMSFF) exist in two states that compute different
networks: that of 2026 runs in Keras 3 and shuffles channels in two groups; that of 2024 runs in
Keras 2 and shuffles them at random when the graph is made. The graph below states both, layer by
layer in their order of creation, with a layer of its own for feature selection that cannot be
loaded again, and a Lambda. README.md says what is written.
"""

import lzma
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
IS_KERAS_3 = keras.__version__.startswith("3")
CLASSES = 8
IMAGES = 4
PERIOD = 1021
SHUFFLE_SEED = 2403

Array = np.ndarray[Any, Any]
layers: Any = tf.keras.layers


class ChannelShuffle(layers.Layer):  # type: ignore[misc]
    """Deal the channels of two halves out in turn."""

    def call(self, x: Any) -> Any:
        """Return the map with its channels in the other order."""
        shape = tf.shape(x)
        halves = tf.reshape(x, [shape[0], shape[1], shape[2], 2, shape[3] // 2])
        return tf.reshape(tf.transpose(halves, [0, 1, 2, 4, 3]), shape)


class PWFS(layers.Layer):  # type: ignore[misc]
    """Average the maximum and the median of three channels.

    Without arguments, as the authors have it: no Keras can make it again from a file.
    """

    def __init__(self) -> None:
        super().__init__()

    def call(self, x: Any) -> Any:
        """Return a third of the channels."""
        a, b, c = tf.split(x, 3, axis=-1)
        lowest = tf.minimum(tf.minimum(a, b), c)
        highest = tf.maximum(tf.maximum(a, b), c)
        return 0.5 * (highest + (a + b + c - lowest - highest))


def conv(filters: int, size: int = 3, **options: Any) -> Any:
    return layers.Conv2D(filters, size, padding="same", **options)


def separable(filters: int, **options: Any) -> Any:
    return layers.SeparableConv2D(filters, 3, padding="same", **options)


def normalized(x: Any, layer: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(layer(x)))


def finished(x: Any, layer: Any) -> Any:
    x = layers.MaxPooling2D(2)(layers.BatchNormalization()(layer(x)))
    return layers.Dropout(0.4)(layers.ReLU()(x))


def plain_block(x: Any, filters: int) -> Any:
    x = normalized(x, conv(filters))
    x = normalized(x, separable(filters))
    return finished(x, conv(filters))


def halves_of(x: Any) -> Any:
    """Shuffle and split, as either state of the notebooks does."""
    if IS_KERAS_3:
        return keras.ops.split(ChannelShuffle()(x), 2, axis=-1)
    order = list(range(x.shape[-1]))
    random.shuffle(order)
    return tf.split(tf.gather(x, order, axis=-1), 2, axis=-1)


def two_path(x: Any, filters: int) -> Any:
    half = filters // 2
    near, far = halves_of(x)
    for layer in (conv, separable, conv):
        near = normalized(near, layer(half))
        far = normalized(far, layer(half, dilation_rate=2))
        near = far = layers.Concatenate()([near, far])
    return near


def attended(x: Any) -> Any:
    channels = x.shape[-1]
    weight = layers.Reshape((1, 1, channels))(layers.GlobalAveragePooling2D()(x))
    weight = layers.Dense(channels // 4, activation="relu")(weight)
    weight = layers.Dense(channels, activation="sigmoid")(weight)
    place = layers.Lambda(lambda y: tf.reduce_mean(y, axis=-1, keepdims=True))(x)
    place = conv(2, strides=2, activation="relu")(place)
    place = conv(4, strides=2, activation="relu")(place)
    up = {"strides": 2, "padding": "same"}
    place = layers.Conv2DTranspose(4, 3, activation="relu", **up)(place)
    place = layers.Conv2DTranspose(1, 3, activation="sigmoid", **up)(place)
    return weight * place * x


def build() -> tuple[Any, Any]:
    """State the authors' graph; returns the model, and one of the four blocks' outputs."""
    image = tf.keras.Input((64, 64, 1))
    first = plain_block(image, 66)
    second = finished(attended(two_path(first, 72)), conv(72, 1))
    third = plain_block(second, 78)
    fourth = finished(attended(two_path(third, 84)), conv(84, 1))
    selected = [PWFS()(x) for x in (first, second, third)]
    pooled = [layers.GlobalAveragePooling2D()(x) for x in (*selected, fourth)]
    answer = layers.Dense(CLASSES, activation="softmax")(layers.Concatenate()(pooled))
    return tf.keras.Model(image, answer), tf.keras.Model(image, [first, second, third, fourth])


def weight_values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return seeded values that keep the activations of every layer alive."""
    noise = np.resize(rng.normal(size=PERIOD).round(2), shape)
    if name in {"gamma", "moving_variance"}:
        return np.asarray(np.clip(1 + 0.2 * noise, 0.4, 1.6))
    if name in {"beta", "bias", "moving_mean"}:
        return 0.1 * noise
    inputs = np.prod(shape[:2]) if name == "depthwise_kernel" else np.prod(shape[:-1])
    return np.asarray(noise * np.sqrt(2 / inputs))


def fill(model: Any, pixels: Array) -> None:
    """Give the model its weights, and statistics that fit the images."""
    rng = np.random.default_rng(20240321)
    for layer in model.layers:
        for weight in layer.weights:
            name = weight.name.split("/")[-1].split(":")[0]
            weight.assign(weight_values(name, tuple(weight.shape), rng))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            normalize(model, layer, pixels)
    classifier = model.layers[-1]
    features = tf.keras.Model(model.input, classifier.input)(pixels, training=False).numpy()
    kernel = np.asarray(classifier.get_weights()[0]) * 2 / (features.std(axis=0)[:, None] + 0.3)
    kernel = kernel.astype(np.float16)
    classifier.set_weights([kernel, -(features.mean(axis=0) @ kernel).round(2)])


def normalize(model: Any, layer: Any, pixels: Array) -> None:
    """Set a batch norm's statistics to those of the images, rounded so that files stay small."""
    gamma, beta, _, _ = layer.get_weights()
    seen = tf.keras.Model(model.input, layer.input)(pixels, training=False).numpy()
    mean, variance = seen.mean(axis=(0, 1, 2)), seen.var(axis=(0, 1, 2))
    layer.set_weights([gamma, beta, mean.astype(np.float16), variance.astype(np.float16) + 0.01])


def random_images() -> Array:
    """Return blocks of random grays at two scales, each image with a brightness of its own."""
    rng = np.random.default_rng(7)
    own = rng.integers(60, 196, (IMAGES, 1, 1, 1))
    coarse = rng.integers(-60, 61, (IMAGES, 4, 4, 1)).repeat(16, axis=1).repeat(16, axis=2)
    fine = rng.integers(-40, 41, (IMAGES, 16, 16, 1)).repeat(4, axis=1).repeat(4, axis=2)
    return np.asarray(np.clip(own + coarse + fine, 0, 255), np.uint8)


def save(model: Any, write: Callable[[Any, Path], None], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(model, path)
        (HERE / f"{name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))


def main() -> None:
    """Write the files of the Keras that runs this."""
    random.seed(SHUFFLE_SEED)
    model, blocks = build()
    images = random_images()
    pixels = images.astype(np.float32)
    fill(model, pixels)
    alone = [pixels[i : i + 1] for i in range(IMAGES)]
    answers = np.concatenate([model(one, training=False) for one in alone])
    state = "2026" if IS_KERAS_3 else "2024"
    for suffix in ("h5", "keras"):
        save(model, lambda m, path: m.save(path), f"authors-{state}.{suffix}")
    arrays = {"images": images, "answers": answers}
    if IS_KERAS_3:
        save(model, lambda m, path: m.save_weights(path), "authors-2026.weights.h5")
        for number, output in enumerate(zip(*(blocks(one) for one in alone), strict=True), start=1):
            step = max(1, output[0].shape[1] // 8)
            arrays[f"block{number}"] = np.concatenate(output)[:, ::step, ::step]
    np.savez_compressed(HERE / f"golden-{state}.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
