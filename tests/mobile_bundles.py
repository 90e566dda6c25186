"""Bundles for phones, made by the real command from small models of every kind."""

from functools import cache
from pathlib import Path

import numpy as np
from commands import edgefer

from edgefer import metadata
from edgefer.converters import float_model
from edgefer.models.spec import ColourOrder, ModelSpec

QUADRANT = Path(__file__).parent / "golden" / "tflite"
KINDS = ("int8", "uint8", "int16", "float32", "gray")
"""The types that an input has, and a gray input with a normalisation that no pixel divides."""

GRAY = ModelSpec(
    name="gray",
    labels=("anger", "neutral", "joy"),
    input_size=45,
    channels=1,
    colour_order=ColourOrder.GRAY,
    mean=(129.6,),
    std=(61.3,),
)


def ship(kind: str, target: str, folder: Path) -> Path:
    """Write a bundle with a model of one of KINDS to `folder`, and return it."""
    stated = ["--labels", "anger,happiness,neutral,surprise", "--mean", "127.5", "--std", "127.5"]
    model = QUADRANT / f"{kind}.tflite"
    if kind == "gray":
        stated = []
        model = folder.with_name("gray.tflite")
        model.write_bytes(metadata.write(_gray_tflite(), GRAY, {}))
    ended = edgefer("ship", model, "--target", target, "--output", folder, *stated)
    assert ended.code == 0, ended.err
    return folder


@cache
def _gray_tflite() -> bytes:
    from keras import Input, Model, layers

    image = Input((GRAY.input_size, GRAY.input_size, 1), batch_size=1, name="image")
    x = layers.Conv2D(8, 5, strides=3, activation="relu")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = Model(image, layers.Dense(len(GRAY.labels), activation="softmax")(x))
    random = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.3, tuple(weight.shape)))
    return float_model.from_keras(model)
