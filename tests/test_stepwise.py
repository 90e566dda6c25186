"""A model run over faces a stretch of operators at a time."""

from functools import cache

import numpy as np
import pytest
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.activations import activations
from edgefer.converters.constants import BIAS, write_constant
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import INT8
from edgefer.converters.stepwise import StepwiseRun
from edgefer.converters.weights import weighted_layers

FACES = small_models.inputs(3, seed=5)


@cache
def branched() -> bytes:
    """Return a network in which an early map is read again late, and an input twice."""
    from keras import Input, Model, layers

    image = Input((small_models.SIDE, small_models.SIDE, 3), batch_size=1, name="image")
    early = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.DepthwiseConv2D(3, padding="same")(early)
    x = layers.Add()([layers.Conv2D(6, 1)(x), layers.Multiply()([x, x])])
    x = layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(x), early])
    pooled = layers.GlobalAveragePooling2D()(x)
    model = Model(image, layers.Dense(7, activation="softmax")(pooled))
    small_models.randomise(model)
    return float_model.from_keras(model)


@cache
def int8() -> bytes:
    ranges = small_models.ranges(branched(), FACES)
    return quantize(branched(), ranges, INT8, (-1.0, 1.0))


@pytest.mark.parametrize("stride", [1, 3, 100])
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_inputs_of_operators_are_those_of_a_whole_run(kind: str, stride: int) -> None:
    tflite = int8() if kind == "int8" else branched()
    content = graph.read(tflite)
    read = {index for operator in content.operators for index in operator.inputs if index >= 0}
    maps = sorted(index for index in read if content.tensors[index].data is None)
    whole = list(activations(tflite, FACES, maps))
    run = StepwiseRun(tflite, FACES)
    for operator in content.operators[::stride]:
        run.advance(operator.index)
        for index in set(maps).intersection(operator.inputs):
            wanted = np.stack([values[index] for values in whole])
            np.testing.assert_array_equal(run.values(index), wanted)


def test_a_constant_that_changes_counts_from_its_operator_on() -> None:
    """Not for what ran before; what comes after sees the change."""
    layer = weighted_layers(graph.read(int8()))[1]
    bias = np.asarray(layer.bias_values() + 400).astype(np.int32)
    run = StepwiseRun(int8(), FACES)
    run.advance(layer.operator.index)
    before = run.values(layer.operator.inputs[0]).copy()
    write_constant(run.model, layer.operator.index, BIAS, bias)
    run.advance(layer.operator.index + 1)
    changed = graph.pack(run.model)
    both = [layer.operator.inputs[0], layer.operator.outputs[0]]
    found = list(activations(changed, FACES, both))
    np.testing.assert_array_equal(before, np.stack([values[both[0]] for values in found]))
    after = run.values(both[1])
    np.testing.assert_array_equal(after, np.stack([values[both[1]] for values in found]))
    unchanged = list(activations(int8(), FACES, both[1:]))
    assert (after != np.stack([values[both[1]] for values in unchanged])).any()


def test_what_no_operator_reads_any_more_is_let_go() -> None:
    content = graph.read(int8())
    run = StepwiseRun(int8(), FACES)
    run.advance(len(content.operators))
    for index in content.operators[-1].inputs:
        with pytest.raises(KeyError):
            run.values(index)
