"""A float model and its conversion side by side."""

import dataclasses
import math
from functools import cache

import pytest
import small_models

from edgefer.converters import comparison, graph
from edgefer.converters.comparison import OperatorComparison
from edgefer.converters.conversion import convert
from edgefer.converters.recipes import INT8, INT16X8, QuantizationRecipe
from edgefer.errors import ModelError

INPUTS = small_models.inputs(6, seed=3)


@cache
def compared(recipe: QuantizationRecipe = INT8) -> list[OperatorComparison]:
    made = convert(small_models.small(), small_models.SPEC, recipe, small_models.faces(24, seed=1))
    return comparison.compare(small_models.small(), made.tflite, INPUTS)


def test_every_operator_is_compared_in_order() -> None:
    kinds = [operator.kind for operator in graph.read(small_models.small()).operators]
    assert [found.kind for found in compared()] == kinds
    assert {found.dtype for found in compared()} == {"int8"}
    assert all(5 < found.sqnr_db < 60 and found.cosine > 0.9 for found in compared())
    assert all(found.range_use is not None and 0 < found.range_use <= 1 for found in compared())


def test_a_model_beside_itself_differs_nowhere() -> None:
    found = comparison.compare(small_models.small(), small_models.small(), INPUTS)
    assert all(one.sqnr_db == math.inf and one.cosine == pytest.approx(1) for one in found)
    assert all(one.range_use is None and one.saturation is None for one in found)


def test_sixteen_bits_are_closer_than_eight() -> None:
    """Up to the head, of whose noise the rounding of its own weights is nearly all."""
    eight, sixteen = compared()[:-2], compared(INT16X8)[:-2]
    assert all(b.sqnr_db > a.sqnr_db for a, b in zip(eight, sixteen, strict=True))


def test_an_operator_left_in_float_is_found_by_its_name() -> None:
    name = compared()[4].tensor
    found = compared(dataclasses.replace(INT8, float_operators=(name,)))
    assert next(one for one in found if one.tensor == name).dtype == "float32"


def test_values_beyond_a_range_that_is_too_small_are_counted() -> None:
    """Calibrated on faint grays, the network meets values that it has no steps for."""
    faces = small_models.faces(8)
    faint = [120 + image // 16 for image in faces.images]
    gray = dataclasses.replace(faces, images=faint)
    made = convert(small_models.small(), small_models.SPEC, INT8, gray)
    found = comparison.compare(small_models.small(), made.tflite, INPUTS)
    assert max(one.saturation or 0 for one in found[:-1]) > 0.02
    assert max(one.saturation or 0 for one in compared()[:-1]) < 0.005


def test_models_without_a_tensor_in_common_are_refused() -> None:
    def rename(model: object) -> None:
        for number, tensor in enumerate(model.subgraphs[0].tensors):  # type: ignore[attr-defined]
            tensor.name = f"other{number}".encode()

    other = small_models.patched(small_models.small(), rename)
    with pytest.raises(ModelError, match="no tensor in common"):
        comparison.compare(other, small_models.small(), INPUTS)
