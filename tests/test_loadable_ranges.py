"""No int8 file is made that XNNPACK refuses to load."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.constants import BIAS, WEIGHTS, write_constant
from edgefer.converters.conversion import Conversion
from edgefer.converters.loadable_ranges import MOST_STEPS, loadable_weights, with_loadable_outputs
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import INT8, INT16X8
from edgefer.converters.weights import WeightedLayer, weighted_layers

SIDE = 8
KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


@cache
def four_kinds() -> bytes:
    """Return a network with a layer of each kind; a map is pooled before the transposed one."""
    from keras import Input, Model, layers

    image = Input((SIDE, SIDE, 3), batch_size=1, name="image")
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(6, 3, activation="relu")(image))
    x = layers.Conv2DTranspose(5, 2)(layers.MaxPooling2D(2)(x))
    model = Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    small_models.randomise(model)
    return float_model.from_keras(model)


@cache
def ranges() -> dict[str, tuple[float, float]]:
    return small_models.ranges(four_kinds(), small_models.inputs(8, side=SIDE))


def layer(kind: str) -> WeightedLayer:
    found = weighted_layers(graph.read(four_kinds()))
    return next(one for one in found if one.operator.kind == kind)


def written(kind: str) -> str:
    return graph.read(four_kinds()).tensors[layer(kind).operator.outputs[0]].name


def steps(tflite: bytes) -> dict[str, float]:
    """Return, for each kind of layer, the steps of the output in one of the coarsest sums."""
    content = graph.read(tflite)
    found = {}
    for one in weighted_layers(content):
        read = one.operator.inputs[2 if one.operator.kind == "TRANSPOSE_CONV" else 0]
        scales = [content.tensors[index].quantization for index in (read, one.operator.outputs[0])]
        assert scales[0] is not None
        assert scales[1] is not None
        assert one.weights.quantization is not None
        products = scales[0].scales[0] * one.weights.quantization.scales
        found[one.operator.kind] = float(products.max() / scales[1].scales[0])
    return found


def answers(tflite: bytes) -> npt.NDArray[Any]:
    pixels = small_models.pixels(4, side=SIDE).astype(np.int16) - 128
    return small_models.run(tflite, pixels.astype(np.int8))


def clipped(kind: str) -> bytes:
    """Return the network with one weight of a layer that is larger by far than all others."""
    weights = np.array(layer(kind).weights.data, np.float32)
    weights[(0,) * weights.ndim] = 1e6

    def change(model: Any) -> None:
        write_constant(model, layer(kind).operator.index, WEIGHTS, weights)

    return small_models.patched(four_kinds(), change)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["narrow output", "large weight"])
def test_a_layer_that_xnnpack_would_refuse_loads(
    kind: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = ranges()[written(kind)]
    tflite, known = clipped(kind), dict(ranges())
    if fault == "narrow output":
        tflite, known[written(kind)] = four_kinds(), (low / 1e5, high / 1e5)
    made = quantize(tflite, known, INT8, (-1.0, 1.0))
    assert answers(made).shape == (4, 7)
    assert steps(made)[kind] == pytest.approx(MOST_STEPS, rel=1e-3)
    monkeypatch.setattr("edgefer.converters.loadable_ranges.MOST_STEPS", 257)
    with pytest.raises(RuntimeError, match="XNNPACK"):
        answers(quantize(tflite, known, INT8, (-1.0, 1.0)))


def scale(tflite: bytes, name: str) -> float:
    tensor = next(one for one in graph.read(tflite).tensors if one.name == name)
    assert tensor.quantization is not None
    return float(tensor.quantization.scales[0])


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_channel_with_the_large_weight_gets_other_steps(kind: str) -> None:
    """The output keeps its range, and all other channels their weights."""
    plain, made = (
        quantize(tflite, ranges(), INT8, (-1.0, 1.0)) for tflite in (four_kinds(), clipped(kind))
    )
    assert scale(made, written(kind)) == scale(plain, written(kind))
    before, after = (
        next(one for one in weighted_layers(graph.read(tflite)) if one.operator.kind == kind)
        for tflite in (plain, made)
    )
    assert before.weights.quantization is not None
    assert after.weights.quantization is not None
    is_same = before.weights.quantization.scales == after.weights.quantization.scales
    np.testing.assert_array_equal(is_same, np.arange(len(is_same)) > 0)
    for one in (before, after):
        assert one.weights.data is not None
    moved = [
        np.moveaxis(np.asarray(one.weights.data), one.channel_axis, 0) for one in (before, after)
    ]
    np.testing.assert_array_equal(moved[0][1:], moved[1][1:])
    assert moved[1][0].max() == 127


def test_a_layer_of_which_faces_showed_only_zeros_loads() -> None:
    made = quantize(four_kinds(), {**ranges(), written("CONV_2D"): (0.0, 0.0)}, INT8, (-1.0, 1.0))
    assert answers(made).shape == (4, 7)


def test_a_coarse_input_widens_the_output_also_behind_a_pooling() -> None:
    """The pooling's own range does not count: in integers it has the scale of what it reads."""
    low, high = ranges()[written("DEPTHWISE_CONV_2D")]
    coarse = {**ranges(), written("DEPTHWISE_CONV_2D"): (low * 1e5, high * 1e5)}
    made = quantize(four_kinds(), coarse, INT8, (-1.0, 1.0))
    assert answers(made).shape == (4, 7)
    assert steps(made)["TRANSPOSE_CONV"] == pytest.approx(MOST_STEPS, rel=1e-3)


def test_ranges_that_load_stay_as_they_are() -> None:
    everything = frozenset(range(len(graph.read(four_kinds()).operators)))
    content = graph.read(four_kinds())
    found = with_loadable_outputs(
        content, ranges(), {}, integer_operators=everything, int8_operators=everything
    )
    assert found == ranges()
    assert loadable_weights(content, ranges(), {}, int8_operators=everything) == {}


def test_stated_weight_ranges_count_instead_of_the_largest_weights() -> None:
    one = layer("CONV_2D")
    wide = {one.weights.name: one.channel_ranges() * np.float32(1e6)}
    made = quantize(four_kinds(), ranges(), INT8, (-1.0, 1.0), weight_ranges=wide)
    assert answers(made).shape == (4, 7)
    assert steps(made)["CONV_2D"] == pytest.approx(MOST_STEPS, rel=1e-3)


def test_sixteen_bits_which_xnnpack_does_not_compute_keep_their_ranges() -> None:
    low, high = ranges()[written("CONV_2D")]
    narrow = {**ranges(), written("CONV_2D"): (low / 1e5, high / 1e5)}
    made = graph.read(quantize(four_kinds(), narrow, INT16X8, (-1.0, 1.0)))
    tensor = next(one for one in made.tensors if one.name == written("CONV_2D"))
    assert tensor.quantization is not None
    assert tensor.quantization.scales[0] == pytest.approx(high / 1e5 / 32767, rel=1e-3)


def test_a_large_weight_for_an_input_that_hardly_moves_converts_and_equalization_mends_it() -> None:
    """One weight of a million, for a channel of less than a millionth."""
    content = graph.read(small_models.small())
    layers = {one.operator.index: one for one in weighted_layers(content)}
    before, after = layers[3], layers[4]
    assert (before.operator.kind, after.operator.kind) == ("DEPTHWISE_CONV_2D", "CONV_2D")
    taps, weights = (np.array(one.weights.data, np.float32) for one in (before, after))
    biases = before.bias_values()
    taps[..., 0], biases[0] = 1e-9, 0
    weights[5, ..., 0] = 1e6

    def change(model: Any) -> None:
        write_constant(model, 3, WEIGHTS, taps)
        write_constant(model, 3, BIAS, biases)
        write_constant(model, 4, WEIGHTS, weights)

    hard = small_models.patched(small_models.small(), change)
    conversion = Conversion(hard, small_models.SPEC, small_models.faces(16))
    fed = (small_models.pixels(16).astype(np.int16) - 128).astype(np.int8)
    expected = small_models.run(hard, small_models.inputs(16))
    errors = []
    for recipe in (INT8, dataclasses.replace(INT8, equalization=True)):
        made = conversion.to(recipe).tflite
        found = small_models.real(made, small_models.run(made, fed))
        errors.append(np.abs(found - expected).mean())
    assert errors[1] < errors[0] / 2
