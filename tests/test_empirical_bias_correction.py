"""Biases of an int8 model, set by what its layers put out."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.activations import activations
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import DYNAMIC, INT8, INT16X8, QuantizationRecipe
from edgefer.converters.rounding.empirical_bias_correction import correct_empirically
from edgefer.converters.weights import weighted_layers
from edgefer.errors import UsageError

FACES = small_models.inputs(48, seed=5)


@cache
def calibration() -> CalibrationResult:
    return small_models.calibrated(small_models.small(), FACES)


def made(recipe: QuantizationRecipe) -> bytes:
    ranges = calibration().ranges(recipe.activation_ranges)
    return quantize(small_models.small(), ranges, recipe, (-1.0, 1.0))


@cache
def plain() -> bytes:
    return made(INT8)


def corrects(int8_tflite: bytes, faces: Any = FACES, **options: Any) -> bytes:
    patches = calibration().patches()
    return correct_empirically(int8_tflite, small_models.small(), patches, faces, **options)


@cache
def corrected() -> bytes:
    return corrects(plain())


def biases(tflite: bytes) -> list[npt.NDArray[Any]]:
    found = []
    for layer in weighted_layers(graph.read(tflite)):
        assert layer.bias is not None
        assert layer.bias.data is not None
        found.append(layer.bias.data)
    return found


def shifted(tflite: bytes) -> bytes:
    """Move every bias by 0.3, down in each third channel and up in the others."""

    def shift(model: Any) -> None:
        content = graph.read(tflite)
        for layer in weighted_layers(content):
            assert layer.bias is not None
            assert layer.bias.data is not None
            assert layer.bias.quantization is not None
            signs = np.where(np.arange(layer.bias.data.size) % 3, 1.0, -1.0)
            moved = layer.bias.data + np.rint(0.3 * signs / layer.bias.quantization.scales)
            tensor = model.subgraphs[0].tensors[layer.bias.index]
            model.buffers[tensor.buffer].data = moved.astype(np.int32).view(np.uint8)

    return small_models.patched(tflite, shift)


def mean_outputs(tflite: bytes, faces: Any) -> list[npt.NDArray[np.float64]]:
    """Return each layer's mean output by channel, real, after its activation."""
    content = graph.read(tflite)
    tensors = [content.tensors[one.operator.outputs[0]] for one in weighted_layers(content)]
    seen = list(activations(tflite, faces, [tensor.index for tensor in tensors]))
    found = []
    for tensor in tensors:
        values = np.concatenate([one[tensor.index] for one in seen])
        mean = values.reshape(-1, tensor.shape[-1]).mean(axis=0, dtype=np.float64)
        if tensor.quantization is not None:
            mean = (mean - tensor.quantization.zero_points[0]) * tensor.quantization.scales[0]
        found.append(mean)
    return found


def off(tflite: bytes, faces: Any) -> npt.NDArray[np.float64]:
    """Return how far each layer's mean outputs are from the float model's, on average."""
    pairs = zip(mean_outputs(tflite, faces), mean_outputs(small_models.small(), faces), strict=True)
    return np.array([np.abs(ours - theirs).mean() for ours, theirs in pairs])


def test_biases_that_were_shifted_come_back() -> None:
    """Whatever they were before: what is set follows from the float model and the weights."""
    moved = shifted(plain())
    assert off(moved, FACES).mean() > 0.1
    back = corrects(moved)
    for found, wanted in zip(biases(back), biases(corrected()), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_mean_outputs_are_nearer_to_the_float_models() -> None:
    """On faces that were not used, and the answers with them."""
    fresh = small_models.inputs(100, seed=6)
    before, after = off(plain(), fresh), off(corrected(), fresh)
    assert after.mean() < 0.5 * before.mean()
    assert (after < before * 1.1).all()


def test_the_first_layers_bias_is_what_tensorflow_says_it_should_be() -> None:
    """Of both first layers' outputs without activation, the means differ by less than a unit."""
    import tensorflow as tf

    exact = weighted_layers(graph.read(small_models.small()))[0]
    ours = weighted_layers(graph.read(corrected()))[0]
    image = graph.read(corrected()).tensors[ours.operator.inputs[0]]
    assert image.quantization is not None
    assert ours.weights.quantization is not None
    assert ours.weights.data is not None
    assert exact.weights.data is not None
    scale, zero = float(image.quantization.scales[0]), int(image.quantization.zero_points[0])
    steps = np.clip(np.floor(FACES / scale + 0.501) + zero, -128, 127)

    def mean(inputs: Any, weights: Any) -> npt.NDArray[np.float64]:
        kernel = np.asarray(weights, np.float64).transpose(1, 2, 3, 0)
        outputs = tf.nn.conv2d(np.asarray(inputs, np.float64), kernel, 2, "SAME")
        return np.asarray(np.mean(outputs, axis=(0, 1, 2)))

    units = scale * ours.weights.quantization.scales.astype(np.float64)
    rounded = ours.weights.data * ours.weights.quantization.scales.reshape(-1, 1, 1, 1)
    wanted = mean(FACES, exact.weights.data) + biases(small_models.small())[0]
    needed = (wanted - mean((steps - zero) * scale, rounded)) / units
    np.testing.assert_allclose(biases(corrected())[0], needed, atol=1)


def test_only_biases_change() -> None:
    before, after = graph.read(plain()), graph.read(corrected())
    names = {layer.bias.name for layer in weighted_layers(before) if layer.bias is not None}
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if old.name not in names:
            assert (old.data is None) == (new.data is None)
            np.testing.assert_array_equal(old.data, new.data)
    assert len(corrected()) == len(plain())


def test_layers_left_in_float_keep_their_biases() -> None:
    content = graph.read(small_models.small())
    name = content.tensors[content.operators[3].outputs[0]].name
    recipe = dataclasses.replace(INT8, float_operators=(name,))
    mixed = made(recipe)
    found = corrects(mixed, FACES[:8])
    changed = [
        not np.array_equal(old, new) for old, new in zip(biases(mixed), biases(found), strict=True)
    ]
    assert changed == [position != 3 for position in range(8)]


@pytest.mark.parametrize("recipe", [DYNAMIC, INT16X8], ids=["dynamic", "int16x8"])
def test_a_model_without_an_int8_layer_is_a_usage_error(recipe: QuantizationRecipe) -> None:
    with pytest.raises(UsageError, match="int32 bias"):
        corrects(made(recipe), FACES[:4])


def test_progress_counts_the_faces_once() -> None:
    seen: list[tuple[int, int]] = []
    corrects(plain(), FACES[:3], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    assert seen == sorted(seen)
