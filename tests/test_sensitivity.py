"""Which operator hurts: each alone in int8, and each alone left in float."""

import dataclasses
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.constants import BIAS, WEIGHTS, write_constant
from edgefer.converters.conversion import Conversion, convert
from edgefer.converters.insight.comparison import OperatorComparison
from edgefer.converters.insight.sensitivity import Sensitivity, measurable, sensitivities
from edgefer.converters.insight.suspicion import most_suspicious
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import INT8, IoType, QuantizationRecipe, RangeMethod
from edgefer.converters.rounding.bias_correction import correct_biases
from edgefer.converters.weights import weighted_layers

BAD = 4
"""A 1×1 convolution in the middle, behind a depthwise one."""
CALIBRATION = small_models.faces(24, seed=1)
FACES = small_models.inputs(16, seed=3)


@cache
def with_a_bad_operator() -> bytes:
    """Give the convolution a huge weight in each channel, for an input that is always zero.

    In float nothing changes; in int8 all its other weights are rounded to nothing.
    """
    content = graph.read(small_models.small())
    layers = {layer.operator.index: layer for layer in weighted_layers(content)}
    before, bad = layers[BAD - 1], layers[BAD]
    assert (before.operator.kind, bad.operator.kind) == ("DEPTHWISE_CONV_2D", "CONV_2D")
    taps, weights = (np.array(tensor.data, np.float32) for tensor in (before.weights, bad.weights))
    biases = before.bias_values()
    taps[..., 0], biases[0] = 0, 0
    weights[..., 0] = 300 * np.abs(weights).max()

    def change(model: Any) -> None:
        write_constant(model, BAD - 1, WEIGHTS, taps)
        write_constant(model, BAD - 1, BIAS, biases)
        write_constant(model, BAD, WEIGHTS, weights)

    return small_models.patched(small_models.small(), change)


def measured(
    tflite: bytes, recipe: QuantizationRecipe = INT8, positions: list[int] | None = None
) -> Sensitivity:
    conversion = Conversion(tflite, small_models.SPEC, CALIBRATION)
    return sensitivities(conversion, recipe, FACES, positions=positions)


@cache
def of_the_bad_one() -> Sensitivity:
    return measured(with_a_bad_operator())


def test_a_destroyed_operator_is_first_by_both_measures() -> None:
    found = of_the_bad_one()
    alone, left = found.by_alone_int8(), found.by_left_float()
    assert (alone[0].position, left[0].position) == (BAD, BAD)
    assert alone[0].alone_int8_change > 4 * alone[1].alone_int8_change


def test_leaving_it_in_float_mends_the_model_and_leaving_another_one_does_not() -> None:
    found = of_the_bad_one()
    best, second = found.by_left_float()[:2]
    assert best.left_float_change < found.int8_change / 4
    assert best.left_float_agreement >= found.int8_agreement
    assert second.left_float_change > found.int8_change / 2


def test_every_operator_that_computes_is_measured_in_order() -> None:
    found = of_the_bad_one()
    content = graph.read(small_models.small())
    assert [one.position for one in found.operators] == list(range(len(content.operators)))
    assert [one.kind for one in found.operators] == [one.kind for one in content.operators]
    names = [content.tensors[one.outputs[0]].name for one in content.operators]
    assert [one.tensor for one in found.operators] == names
    assert (found.faces, found.candidates) == (len(FACES), len(names))


def test_the_whole_in_int8_is_what_convert_makes() -> None:
    plain = dataclasses.replace(INT8, bias_correction=False)
    made = convert(with_a_bad_operator(), small_models.SPEC, plain, CALIBRATION).tflite
    raw = np.rint(FACES * 127.5 + 127.5).astype(np.int16) - 128
    scores = small_models.real(made, small_models.run(made, raw.astype(np.int8)))
    exact = small_models.run(with_a_bad_operator(), FACES)
    found = measured(with_a_bad_operator(), plain, [0])
    assert found.int8_change == pytest.approx(np.abs(scores - exact).mean(), abs=1e-6)
    assert found.int8_agreement == (scores.argmax(axis=1) == exact.argmax(axis=1)).mean()


def test_only_layers_in_int8_have_their_bias_corrected() -> None:
    """Alone in int8, a layer makes the same model as when no other layer is corrected."""
    position = 2
    content = graph.read(small_models.small())
    others = frozenset(range(len(content.operators))) - {position}
    calibrated = small_models.calibrated(small_models.small(), small_models.inputs(24, seed=1))
    rounded = small_models.rounded(small_models.small(), others)
    corrected = correct_biases(small_models.small(), rounded, calibrated.patches(), skipped=others)
    names = tuple(content.tensors[content.operators[i].outputs[0]].name for i in sorted(others))
    recipe = dataclasses.replace(INT8, float_operators=names, output_type=IoType.FLOAT32)
    made = quantize(corrected, calibrated.ranges(RangeMethod.MIN_MAX), recipe, (-1.0, 1.0))
    raw = np.rint(FACES * 127.5 + 127.5).astype(np.int16) - 128
    scores = small_models.run(made, raw.astype(np.int8))
    exact = small_models.run(small_models.small(), FACES)
    (found,) = measured(small_models.small(), INT8, [position]).operators
    assert found.alone_int8_change == pytest.approx(np.abs(scores - exact).mean(), abs=1e-6)


def test_only_the_operators_that_are_asked_for_are_measured_and_always_the_same() -> None:
    steps: list[tuple[int, int]] = []
    found = sensitivities(
        Conversion(with_a_bad_operator(), small_models.SPEC, CALIBRATION),
        INT8,
        FACES,
        positions=[6, 2],
        progress=lambda done, total: steps.append((done, total)),
    )
    whole = {one.position: one for one in of_the_bad_one().operators}
    assert found.operators == (whole[2], whole[6])
    assert found.candidates == of_the_bad_one().candidates
    assert steps == [(1, 2), (2, 2)]


def test_an_operator_of_sixteen_bits_is_measured_as_that() -> None:
    content = graph.read(with_a_bad_operator())
    name = content.tensors[content.operators[2].outputs[0]].name
    sixteen = dataclasses.replace(INT8, int16_operators=(name,))
    (found,) = measured(with_a_bad_operator(), sixteen, [2]).operators
    eight = of_the_bad_one().operators[2]
    assert found.tensor == name
    assert found.alone_int8_change != eight.alone_int8_change


def test_operators_that_stay_float_or_only_move_data_are_left_out() -> None:
    content = graph.read(small_models.small())
    head = [len(content.operators) - 2, len(content.operators) - 1]
    everything = [operator.index for operator in content.operators]
    with_head = dataclasses.replace(INT8, head_in_float=True)
    assert measurable(content, with_head) == [i for i in everything if i not in head]
    moving = dataclasses.replace(content.operators[1], kind="RESHAPE")
    moved = dataclasses.replace(
        content, operators=(content.operators[0], moving, *content.operators[2:])
    )
    assert measurable(moved, INT8) == [index for index in everything if index != 1]


def test_the_most_suspicious_add_most_noise_to_what_they_are_given() -> None:
    """Noise of 0.01, 0.03 and 0.031 of the signal: added are 0.01, 0.02 and 0.001."""
    content = graph.read(small_models.small())
    compared = [
        OperatorComparison(
            position=index,
            kind="CONV_2D",
            tensor=content.tensors[content.operators[index].outputs[0]].name,
            dtype="int8",
            sqnr_db=-10 * math.log10(noise),
            cosine=1.0,
            range_use=1.0,
            saturation=0.0,
        )
        for index, noise in enumerate((0.01, 0.03, 0.031))
    ]
    assert most_suspicious(content, compared, [0, 1, 2], 1) == [1]
    assert most_suspicious(content, compared, [0, 1, 2], 2) == [0, 1]
    assert most_suspicious(content, compared, [0, 2], 1) == [0]
    assert most_suspicious(content, compared, [2, 0], 9) == [0, 2]
