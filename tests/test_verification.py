"""Whether a device computes what this machine computes, and with what that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer import runtime
from edgefer.benchmarks.result import Agreement, Verification
from edgefer.benchmarks.verification import compare_outputs, verification_inputs
from edgefer.errors import DeviceError
from edgefer.records import from_json, to_json
from edgefer.tensor import Tensor

AnyArray = npt.NDArray[Any]

at_any_speed = settings(deadline=None, max_examples=60)


def tensor(dtype: str, *shape: int, scale: float = 0.0, zero_point: int = 0) -> Tensor:
    return Tensor(
        name="tensor",
        index=0,
        shape=(1, *shape),
        declared_shape=(1, *shape),
        dtype=np.dtype(dtype),
        scale=scale,
        zero_point=zero_point,
    )


INT8 = tensor("int8", 4, scale=1 / 256, zero_point=-128)
FLOAT32 = tensor("float32", 4)
SCORES = np.array([[10, 20, 30, 100], [-128, 127, 0, 0]], np.int8)
PROBABILITIES = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]], np.float32)


def moved(values: AnyArray, by: float) -> AnyArray:
    """Return the values with one of them changed."""
    other = values.copy()
    other[0, 0] += by
    return other


def test_the_same_outputs_are_identical() -> None:
    found = compare_outputs(SCORES, SCORES.copy(), INT8)
    assert found == Verification(
        agreement=Agreement.IDENTICAL,
        inputs=2,
        identical=2,
        largest_difference=0.0,
        step=1 / 256,
        same_top_class=2,
    )


@pytest.mark.parametrize(
    ("by", "agreement"),
    [(1, Agreement.WITHIN_ONE_STEP), (-1, Agreement.WITHIN_ONE_STEP), (2, Agreement.DIFFERENT)],
)
def test_a_quantized_output_may_differ_by_one_step(by: int, agreement: Agreement) -> None:
    found = compare_outputs(moved(SCORES, by), SCORES, INT8)
    assert found.agreement is agreement
    assert (found.identical, found.inputs) == (1, 2)
    assert found.largest_difference == abs(by) / 256


def test_the_ends_of_a_types_range_are_far_apart() -> None:
    low, high = np.full((1, 4), -128, np.int8), np.full((1, 4), 127, np.int8)
    assert compare_outputs(low, high, INT8).largest_difference == 255 / 256


@pytest.mark.parametrize(
    ("by", "agreement"),
    [
        (1e-6, Agreement.WITHIN_ONE_STEP),
        (0.9 * 0.01 * 0.7, Agreement.WITHIN_ONE_STEP),
        (1.1 * 0.01 * 0.7, Agreement.DIFFERENT),
    ],
)
def test_a_float_output_may_differ_by_a_hundredth_of_its_largest_value(
    by: float, agreement: Agreement
) -> None:
    found = compare_outputs(moved(PROBABILITIES, by), PROBABILITIES, FLOAT32)
    assert found.agreement is agreement
    assert found.step == pytest.approx(0.01 * 0.7)
    assert found.largest_difference == pytest.approx(by, rel=0.05)


def test_another_top_class_is_counted() -> None:
    other = PROBABILITIES.copy()
    other[0] = [0.6, 0.2, 0.1, 0.1]
    found = compare_outputs(other, PROBABILITIES, FLOAT32)
    assert (found.same_top_class, found.inputs) == (1, 2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (SCORES[:1], r"answers with int8 \(1, 4\), not int8 \(2, 4\)"),
        (SCORES[:, :3], r"answers with int8 \(2, 3\), not int8 \(2, 4\)"),
        (SCORES.ravel(), r"answers with int8 \(8,\), not int8 \(2, 4\)"),
        (SCORES.astype(np.uint8), r"answers with uint8 \(2, 4\), not int8 \(2, 4\)"),
        (SCORES.astype(np.float32), r"answers with float32 \(2, 4\), not int8 \(2, 4\)"),
        (np.array(["a", "b"]), r"answers with <U1 \(2,\), not int8 \(2, 4\)"),
    ],
)
def test_an_answer_of_another_shape_or_type_names_the_device(
    answer: AnyArray, message: str
) -> None:
    with pytest.raises(DeviceError, match=f"^ssh://pi: {message}: .*same version") as caught:
        compare_outputs(answer, SCORES, INT8, name="ssh://pi")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_names_the_device(value: float) -> None:
    spoilt = moved(PROBABILITIES, value)
    with pytest.raises(DeviceError, match=r"^ssh://pi: answers with NaN or infinity where"):
        compare_outputs(spoilt, PROBABILITIES, FLOAT32, name="ssh://pi")
    with pytest.raises(DeviceError, match=r"^the device: answers with NaN or infinity where"):
        compare_outputs(PROBABILITIES, spoilt, FLOAT32)


def test_a_model_that_answers_with_nan_everywhere_does_so_on_both() -> None:
    nothing = np.full((2, 4), np.nan, np.float32)
    assert compare_outputs(nothing, nothing, FLOAT32).agreement is Agreement.IDENTICAL


@at_any_speed
@given(
    arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32)),
    arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32)),
)
def test_any_two_answers_give_a_record_or_a_device_error(one: AnyArray, other: AnyArray) -> None:
    try:
        found = compare_outputs(one, other, FLOAT32)
    except DeviceError:
        assert not (np.isfinite(one) == np.isfinite(other)).all()
    else:
        assert from_json(Verification, to_json(found)) == found
        assert 0 <= found.identical <= found.inputs == 3
        assert (found.agreement is Agreement.IDENTICAL) == (found.identical == 3)


@at_any_speed
@given(
    arrays.arrays(np.int16, (2, 3)),
    arrays.arrays(np.int16, (2, 3)),
    st.floats(2**-20, 1024, width=32),
    st.integers(-32768, 32767),
)
def test_a_quantized_answer_agrees_by_its_steps_whatever_the_scale(
    one: AnyArray, other: AnyArray, scale: float, zero_point: int
) -> None:
    output = tensor("int16", 3, scale=scale, zero_point=zero_point)
    steps = int(np.abs(one.astype(np.int64) - other).max())
    expected = (Agreement.IDENTICAL, Agreement.WITHIN_ONE_STEP, Agreement.DIFFERENT)[min(steps, 2)]
    found = compare_outputs(one, other, output)
    assert found.agreement is expected
    assert found.largest_difference == pytest.approx(steps * scale)


def test_inputs_are_the_same_for_a_seed_and_others_for_another() -> None:
    image = tensor("int8", 32, 32, 3, scale=1 / 127.5, zero_point=-1)
    first, again = verification_inputs(image, 4), verification_inputs(image, 4)
    assert (first == again).all()
    assert (first != verification_inputs(image, 4, seed=1)).any()


def test_a_square_image_gets_different_faces() -> None:
    """Faces are smooth: neighbours differ much less than pixels far apart."""
    faces = verification_inputs(tensor("uint8", 48, 48, 3), 16).astype(float)
    assert faces.shape == (16, 48, 48, 3)
    assert len(np.unique(faces.reshape(16, -1), axis=0)) == 16
    assert (faces[..., 0] == faces[..., 1]).all()
    assert np.abs(np.diff(faces, axis=1)).mean() < 0.3 * faces.std()


def test_int8_gets_the_pixel_less_128_and_uint8_the_pixel() -> None:
    signed = verification_inputs(tensor("int8", 24, 24, 1), 3).astype(int)
    unsigned = verification_inputs(tensor("uint8", 24, 24, 1), 3).astype(int)
    assert (signed + 128 == unsigned).all()
    as_float = verification_inputs(tensor("float32", 24, 24, 1), 3)
    assert as_float.astype(float) == pytest.approx((unsigned - 127.5) / 127.5)


@at_any_speed
@given(
    st.sampled_from(["int8", "uint8", "int16", "float32", "float16"]),
    st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)),
        st.lists(st.integers(1, 20), min_size=1, max_size=2).map(tuple),
    ),
    st.integers(1, 3),
)
def test_any_input_gets_values_of_its_type_and_shape(
    dtype: str, shape: tuple[int, ...], count: int
) -> None:
    found = verification_inputs(tensor(dtype, *shape), count)
    assert found.dtype == np.dtype(dtype)
    assert found.shape == (count, *shape)
    if found.dtype.kind == "f":
        assert np.abs(found).max() <= 1


def test_images_that_are_no_faces_are_smooth_and_fill_the_range() -> None:
    found = verification_inputs(tensor("int8", 64, 80, 4), 8).astype(float)
    assert found.min() < -120
    assert found.max() > 120
    assert np.abs(np.diff(found, axis=2)).mean() < 0.2 * found.std()


@pytest.mark.parametrize("name", ["float32", "int8", "uint8", "int16"])
def test_a_model_agrees_with_itself_on_real_inputs(
    name: str, quadrant_tflites: Mapping[str, Path]
) -> None:
    model = runtime.open_model(quadrant_tflites[name], checked=True)
    inputs = verification_inputs(model.input, 8)
    found = compare_outputs(model.scores(inputs), model.scores(inputs), model.output)
    assert found.agreement is Agreement.IDENTICAL
    assert found.inputs == found.same_top_class == 8


def test_another_model_in_its_place_is_noticed(quadrant_tflites: Mapping[str, Path]) -> None:
    """The quadrant model with its input turned upside down, as if the device read it so."""
    model = runtime.open_model(quadrant_tflites["int8"], checked=True)
    inputs = verification_inputs(model.input, 16)
    turned = model.scores(np.ascontiguousarray(inputs[:, ::-1]))
    found = compare_outputs(turned, model.scores(inputs), model.output)
    assert found.agreement is Agreement.DIFFERENT
    assert found.same_top_class < 16
