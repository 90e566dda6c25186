"""Make PAtt-Lite's golden files: the authors' graph, as Keras 2 computes and saves it.

    python -m venv keras2
    keras2/bin/pip install 'tensorflow-cpu==2.15.1' 'numpy<2' h5py
    keras2/bin/python tests/golden/patt_lite/make_golden.py

TensorFlow 2.15 is the last version with Keras 2, in which the authors' notebook (repository
JLREx/PAtt-Lite) runs. The graph below states their fine-tuning model in their layer names:
resizing, augmentation and preprocessing inside the model, nested models, automatic layer
numbers, and attention over a (batch, features) tensor.

Written beside this file:

`authors.h5.xz`  what their `model.save('model.h5')` writes, optimizer included. The weights are
                 not trained: each array repeats 1,021 seeded random values, which keeps the file
                 small while every row and column differs.
`golden.npz`     `images` uint8 (8, 120, 120, 3); `alone` float32 (8, 8), each image's
                 probabilities in a batch of its own; `together`, those of the batch of all eight.
"""

import lzma
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
CLASSES = 8
IMAGES = 8
PERIOD = 1021
ATTENTION_SCALE = 0.07


def build() -> tf.keras.Model:
    """State the authors' fine-tuning graph."""
    layers = tf.keras.layers
    mobilenet = tf.keras.applications.MobileNet(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    base_model = tf.keras.Model(mobilenet.input, mobilenet.layers[-29].output, name="base_model")
    augmentation = tf.keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomContrast(0.3)], name="augmentation"
    )
    patch_extraction = tf.keras.Sequential(
        [
            layers.SeparableConv2D(256, 4, strides=4, padding="same", activation="relu"),
            layers.SeparableConv2D(256, 2, strides=2, padding="valid", activation="relu"),
            layers.Conv2D(256, 1, activation="relu"),
        ],
        name="patch_extraction",
    )
    pre_classification = tf.keras.Sequential(
        [layers.Dense(32, activation="relu"), layers.BatchNormalization()],
        name="pre_classification",
    )
    image = tf.keras.Input((120, 120, 3), name="universal_input")
    x = layers.Resizing(224, 224, name="resize")(image)
    x = augmentation(x)
    x = tf.keras.applications.mobilenet.preprocess_input(x)
    x = base_model(x, training=False)
    x = patch_extraction(x)
    x = layers.SpatialDropout2D(0.2)(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(0.2)(x)
    x = pre_classification(x)
    x = layers.Attention(use_scale=True, name="attention")([x, x])
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(CLASSES, activation="softmax", name="classification_head")(x)
    return tf.keras.Model(image, x, name="finetune-backbone")


def weight_values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return seeded values that keep the activations of every layer alive."""
    noise = np.resize(rng.normal(size=PERIOD).round(2), shape)
    kind = name.split("/")[-1].split(":")[0]
    if kind == "scale":
        return np.asarray(ATTENTION_SCALE, np.float32)
    if kind in {"gamma", "moving_variance"}:
        return np.asarray(np.clip(1 + 0.2 * noise, 0.4, 1.6))
    if kind in {"beta", "bias", "moving_mean"}:
        return 0.1 * noise
    is_depthwise = kind == "depthwise_kernel"
    inputs = np.prod(shape[:2]) if is_depthwise else np.prod(shape[:-1])
    return np.asarray(noise * np.sqrt(2 / inputs))


def fill(model: tf.keras.Model, pixels: np.ndarray) -> None:
    """Give the model its weights, and the statistics and optimizer state that training leaves."""
    rng = np.random.default_rng(20230609)
    for weight in model.weights:
        weight.assign(weight_values(weight.name, tuple(weight.shape), rng))
    pre_classification = model.get_layer("pre_classification")
    dense, normalization = pre_classification.layers
    pooled = tf.keras.Model(model.input, model.get_layer("gap").output)(pixels, training=False)
    features = dense(pooled).numpy()
    normalization.moving_mean.assign(features.mean(axis=0).round(2))
    normalization.moving_variance.assign(features.var(axis=0).round(4) + 0.001)
    model.compile(
        tf.keras.optimizers.Adam(1e-5, global_clipnorm=3.0), "sparse_categorical_crossentropy"
    )
    model.optimizer.build(model.trainable_variables)


def random_images() -> np.ndarray:
    """Return blocks of random colours around a colour of each image's own."""
    rng = np.random.default_rng(7)
    own = rng.integers(30, 226, (IMAGES, 1, 1, 3))
    blocks = np.clip(own + rng.integers(-60, 61, (IMAGES, 15, 15, 3)), 0, 255).astype(np.uint8)
    return np.asarray(blocks.repeat(8, axis=1).repeat(8, axis=2))


def main() -> None:
    """Write both files."""
    model = build()
    images = random_images()
    pixels = images.astype(np.float32)
    fill(model, pixels)
    alone = np.concatenate([model(pixels[i : i + 1], training=False) for i in range(IMAGES)])
    together = model(pixels, training=False).numpy()
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.h5"
        model.save(saved)
        (HERE / "authors.h5.xz").write_bytes(lzma.compress(saved.read_bytes(), preset=9))
    np.savez_compressed(HERE / "golden.npz", images=images, alone=alone, together=together)


if __name__ == "__main__":
    main()
