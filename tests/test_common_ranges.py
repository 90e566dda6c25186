"""Concatenations get one range for all that they join, and int8 files round nothing twice."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer import calibration_data
from edgefer.converters import float_model, graph
from edgefer.converters.common_ranges import with_common_ranges
from edgefer.converters.conversion import convert
from edgefer.converters.graph import Graph
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import INT8, RangeMethod
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.models import bundled, checkpoints

Layer = Callable[[Any], Any]


def joined(*branches: Layer) -> bytes:
    """Return a classifier that joins branches of a first layer, whose ranges differ much."""
    from keras import Input, Model, layers

    image = Input((small_models.SIDE, small_models.SIDE, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 3, strides=4, activation="relu")(image)
    together = layers.Concatenate()([branch(x) for branch in branches])
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1, activation="relu")(together))
    model = Model(image, layers.Dense(7, activation="softmax")(pooled))
    small_models.randomise(model)
    return float_model.from_keras(model)


def convolution(factor: float) -> Layer:
    from keras import layers

    return lambda x: layers.Conv2D(8, 3, padding="same")(x * factor)


def pool(of: Layer) -> Layer:
    from keras import layers

    return lambda x: layers.MaxPooling2D(3, strides=1, padding="same")(of(x))


def nested(*of: Layer) -> Layer:
    from keras import layers

    return lambda x: layers.Concatenate()([one(x) for one in of])


@cache
def branched(name: str) -> bytes:
    near, far = convolution(0.1), convolution(3.0)
    first = {"nested": nested(near, pool(near)), "read twice": lambda x: x}[name]
    return joined(first, far)


def integer_conversions(content: Graph) -> list[str]:
    """Return what rounds integers to integers once more."""
    return [
        content.tensors[operator.inputs[0]].name
        for operator in content.operators
        if operator.kind == "QUANTIZE" and not content.tensors[operator.inputs[0]].is_float
    ]


@pytest.mark.parametrize("name", ["nested", "read twice"])
def test_no_input_of_a_concatenation_is_rounded_twice(name: str) -> None:
    made = convert(branched(name), small_models.SPEC, INT8, small_models.faces(16))
    assert integer_conversions(graph.read(made.tflite)) == []


def test_the_common_range_holds_every_input_and_leaves_the_rest() -> None:
    tflite = branched("nested")
    content = graph.read(tflite)
    ranges = small_models.ranges(tflite, small_models.inputs(16))
    everywhere = frozenset(range(len(content.operators)))
    common = with_common_ranges(content, ranges, integer_operators=everywhere)
    last = [op for op in content.operators if op.kind == "CONCATENATION"][-1]
    found = {common[content.tensors[index].name] for index in (*last.inputs, *last.outputs)}
    assert len(found) == 1
    assert found == {ranges[content.tensors[last.outputs[0]].name]}
    changed = {name for name in ranges if common[name] != ranges[name]}
    written = {content.tensors[op.outputs[0]].name: op.kind for op in content.operators}
    assert {written[name] for name in changed} == {"CONV_2D", "MAX_POOL_2D", "CONCATENATION"}


def test_a_concatenation_in_float_joins_nothing() -> None:
    tflite = branched("nested")
    content = graph.read(tflite)
    ranges = small_models.ranges(tflite, small_models.inputs(8))
    assert with_common_ranges(content, ranges, integer_operators=frozenset()) == ranges


def test_an_image_that_is_joined_keeps_its_pixels() -> None:
    from keras import Input, Model, layers

    image = Input((small_models.SIDE, small_models.SIDE, 3), batch_size=1, name="image")
    x = layers.Concatenate()([image, layers.Conv2D(3, 3, padding="same")(image) * 9.0])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    model = Model(image, layers.Dense(7, activation="softmax")(x))
    small_models.randomise(model)
    tflite = float_model.from_keras(model)
    content = graph.read(convert(tflite, small_models.SPEC, INT8, small_models.faces(8)).tflite)
    quantization = content.tensors[content.inputs[0]].quantization
    assert quantization is not None
    assert float(quantization.scales[0]) == pytest.approx(1 / 127.5)
    assert integer_conversions(content) == [content.tensors[content.inputs[0]].name]


@pytest.mark.slow
def test_lanmsff_rounds_nothing_twice_by_any_method() -> None:
    checkpoint = checkpoints.load(bundled.models()["lanmsff"])
    tflite = float_model.from_keras(checkpoint.build(batch_size=1))
    faces = calibration_data.calibration_faces().spread(8)
    images = np.stack([to_pixels(face, checkpoint.spec) for face in faces.images])
    calibrated = small_models.calibrated(tflite, normalise(images, checkpoint.spec))
    for method in (RangeMethod.MIN_MAX, RangeMethod.PERCENTILE):
        made = quantize(tflite, calibrated.ranges(method), INT8, (0.0, 255.0))
        assert integer_conversions(graph.read(made)) == []
