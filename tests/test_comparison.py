"""A float model and its conversion side by side."""

import dataclasses
import math
from functools import cache
from pathlib import Path

import pytest
import small_models

from edgefer import metadata
from edgefer.converters import graph
from edgefer.converters.conversion import convert
from edgefer.converters.cost import multiply_accumulates
from edgefer.converters.insight import against_float, comparison
from edgefer.converters.insight.comparison import OperatorComparison
from edgefer.converters.job import ConversionJob, deliver
from edgefer.converters.recipes import FLOAT16, INT8, INT16X8, QuantizationRecipe
from edgefer.errors import ModelError
from edgefer.evaluation.inference import inputs_of
from edgefer.report import delivery as report

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


def test_a_few_faces_tell_what_a_conversion_did() -> None:
    faces = small_models.faces(20, seed=3)
    made = convert(small_models.small(), small_models.SPEC, INT8, small_models.faces(24, seed=1))
    found = against_float.against_float(small_models.small(), small_models.SPEC, made.tflite, faces)
    assert found is not None
    assert found.faces == against_float.FACES
    inputs = inputs_of(faces.spread(against_float.FACES).images, small_models.SPEC)
    assert list(found.operators) == comparison.compare(small_models.small(), made.tflite, inputs)


def test_a_network_that_is_too_large_to_compare_in_passing_says_so_on_its_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cost = multiply_accumulates(graph.read(small_models.small()))
    limit = "edgefer.converters.insight.against_float.MOST_MULTIPLY_ACCUMULATES"
    monkeypatch.setattr(limit, against_float.FACES * cost - 1)
    path = tmp_path / "small.tflite"
    path.write_bytes(metadata.write(small_models.small(), small_models.SPEC, {}))
    job = ConversionJob(
        model=path,
        recipes=(INT8, FLOAT16),
        output=tmp_path,
        calibration=small_models.faces(8),
        is_evaluated=False,
    )
    delivery = deliver(job)
    int8, half = (report.page_of(delivery, model) for model in delivery.models)
    (section,) = [table for table in int8.tables if table.title == "Operators against float32"]
    assert "edgefer inspect small-int8.tflite --reference small.tflite" in section.rows[0][1]
    assert report.model_to_dict(delivery, delivery.models[0])["operator_comparison"] is None
    assert not [table for table in half.tables if table.title.startswith("Operators")]


def test_models_without_a_tensor_in_common_are_refused() -> None:
    def rename(model: object) -> None:
        for number, tensor in enumerate(model.subgraphs[0].tensors):  # type: ignore[attr-defined]
            tensor.name = f"other{number}".encode()

    other = small_models.patched(small_models.small(), rename)
    with pytest.raises(ModelError, match="no tensor in common"):
        comparison.compare(other, small_models.small(), INPUTS)
