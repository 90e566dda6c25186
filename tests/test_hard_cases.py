"""Models that plain int8 ruins, and what brings them back, on the bundled PAtt-Lite."""

from functools import cache
from typing import Any

import hard_cases
import numpy as np
import pytest
import small_models

from edgefer import calibration_data
from edgefer.converters import float_model, graph
from edgefer.converters.constants import WEIGHTS, write_constant
from edgefer.converters.conversion import Conversion
from edgefer.converters.equalization.channel_scaling import scaled
from edgefer.converters.equalization.layer_pairs import layer_pairs
from edgefer.converters.weights import rounded_to_int8, weighted_layers
from edgefer.data.faces import LabelledFaces
from edgefer.evaluation.inference import inputs_of
from edgefer.models import bundled, checkpoints
from edgefer.models.checkpoints import Checkpoint

Float32Array = small_models.Float32Array

COUNT = 300
POINT = 0.01


@cache
def original() -> bytes:
    return float_model.from_keras(checkpoint().build(batch_size=1))


@cache
def checkpoint() -> Checkpoint:
    return checkpoints.read(bundled.models()[bundled.DEFAULT])


@cache
def evaluation() -> LabelledFaces:
    return calibration_data.evaluation_faces().spread(COUNT)


@cache
def images() -> Float32Array:
    return inputs_of(evaluation().images, checkpoint().spec)


@cache
def calibration_faces() -> LabelledFaces:
    return calibration_data.calibration_faces().spread(96)


@cache
def calibration() -> Float32Array:
    return inputs_of(calibration_faces().images, checkpoint().spec)


@cache
def case(name: str) -> bytes:
    return hard_cases.cases(original(), calibration())[name]


@cache
def conversion(name: str) -> Conversion:
    return Conversion(case(name), checkpoint().spec, calibration_faces())


@cache
def expected() -> Float32Array:
    return small_models.run(original(), images())


def accuracy(probabilities: Any) -> float:
    names = [evaluation().class_names[label] for label in evaluation().labels]
    labels = [checkpoint().spec.labels.index(name) for name in names]
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def loss(name: str, way: str) -> float:
    """Return the accuracy that a case in int8 loses beside the original in float."""
    made = conversion(name).to(hard_cases.WAYS[way])
    stored = np.rint(images() * 127.5 - 0.5).astype(np.int8)
    return accuracy(expected()) - accuracy(small_models.run(made.tflite, stored))


CASES = ("rescaled channels", "outliers", "unused channels")


@pytest.mark.parametrize("name", CASES)
def test_a_hard_case_answers_as_the_original(name: str) -> None:
    found = small_models.run(case(name), images()[::3])
    np.testing.assert_allclose(found, expected()[::3], atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_equalization_keeps_its_answers(name: str) -> None:
    result = conversion(name).prepared(hard_cases.WAYS["equalization"]).tflite
    assert result != case(name)
    np.testing.assert_allclose(small_models.run(result, images()[::3]), expected()[::3], atol=1e-5)


@pytest.mark.parametrize("name", ["rescaled channels", "outliers"])
def test_int8_loses_twenty_points_with_and_without_bias_correction(name: str) -> None:
    assert loss(name, "plain") > 20 * POINT
    assert loss(name, "bias correction") > 20 * POINT


@pytest.mark.parametrize("name", CASES)
def test_equalization_and_bias_correction_bring_it_back(name: str) -> None:
    assert loss(name, "equalization, bias correction") <= 0.5 * POINT


def test_weights_with_one_scale_a_tensor_ruin_rescaled_channels() -> None:
    content = graph.read(case("rescaled channels"))

    def round_all(model: Any) -> None:
        for layer in weighted_layers(content):
            ranges = np.full((1,) * len(layer.weights.shape), layer.channel_ranges().max())
            weights = np.asarray(layer.weights.data)
            rounded = rounded_to_int8(weights, ranges)
            write_constant(model, layer.operator.index, WEIGHTS, rounded)

    found = small_models.run(small_models.patched(case("rescaled channels"), round_all), images())
    assert accuracy(expected()) - accuracy(found) > 20 * POINT


def test_a_handful_of_values_sets_the_range_of_outliers() -> None:
    """Less than a step of 256 is left to all that the original has."""
    pair = hard_cases.last_pointwise_pair(original())
    tensor = graph.read(original()).tensors[pair.tensor].name
    before, after = (
        small_models.ranges(tflite, calibration())[tensor]
        for tflite in (original(), case("outliers"))
    )
    assert after[1] == pytest.approx(hard_cases.OUTLIER * before[1], rel=1e-3)


def test_scaling_across_relu6_as_if_it_were_relu_changes_the_answers() -> None:
    """Why channels that may reach 6 have to stay as they are."""
    pairs = layer_pairs(graph.read(original()))[:4]
    wrong = scaled(original(), pairs, [np.full(pair.channels, 4.0) for pair in pairs])
    assert np.abs(small_models.run(wrong, images()[::3]) - expected()[::3]).max() > 0.1
