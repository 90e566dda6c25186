"""The search itself: what it tries, when it stops, what it keeps, and how it goes on."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_models
from searches import TFLITE, Bench, comparison

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.conversion import Conversion
from edgefer.converters.recipes import INT8, QuantizationRecipe, RangeMethod, WeightRange
from edgefer.converters.search import ladder, precision
from edgefer.converters.search.budget import LOCAL, Budget, Verdict
from edgefer.converters.search.latencies import RANKING, on_device
from edgefer.converters.search.precision import FloatStep
from edgefer.converters.search.search import Found, Measures, Subject, search
from edgefer.data.faces import LabelledFaces
from edgefer.errors import DataError, DeviceError, EdgeferError, ModelError, UsageError
from edgefer.evaluation.metrics import Comparison

PLAIN_RECIPE = ladder.plain(INT8)
STEPS = tuple(FloatStep(tensor=name, change=0.1, cost_ms=0.1) for name in "abcde")


def names(found: Found) -> list[str]:
    return [one.name for one in found.result.candidates]


def nothing_helps(recipe: QuantizationRecipe) -> Comparison:
    """Return the same loss for all, but that bias correction brings answers nearer."""
    return comparison(5.0, change=0.1 if recipe.bias_correction else 0.2)


def test_where_plain_is_within_only_that_and_what_convert_does_anyway_are_tried() -> None:
    bench = Bench(lambda r: comparison(0, change=0.01 if r.bias_correction else 0.02))
    found = bench.run()
    assert names(found) == ["plain", "as given"]
    assert found.result.choice.name == "as given"
    assert found.result.complete
    assert found.model.recipe == INT8


def test_a_rung_builds_on_what_was_better_and_on_nothing_else() -> None:
    good = {"activation_ranges": RangeMethod.PERCENTILE, "weight_ranges": WeightRange.MSE}

    def worth(recipe: QuantizationRecipe) -> Comparison:
        hits = sum(getattr(recipe, key) is value for key, value in good.items())
        return comparison(5.0, change=0.1 - 0.01 * hits + 0.001 * recipe.equalization)

    found = Bench(worth).run(recipe=PLAIN_RECIPE)
    assert names(found) == [
        "plain",
        "moving-average ranges",
        "percentile ranges",
        "mse ranges",
        "entropy ranges",
        "percentile ranges, equalization",
        "percentile ranges, equalization and bias absorption",
        "percentile ranges, bias correction",
        "percentile ranges, bias correction, empirical too",
        "percentile ranges, mse weight ranges",
        "percentile ranges, adaptive rounding",
    ]
    assert found.result.choice.name == "percentile ranges, mse weight ranges"


def test_the_rung_on_which_something_is_within_is_the_last() -> None:
    def worth(recipe: QuantizationRecipe) -> Comparison:
        is_it = recipe.activation_ranges is RangeMethod.MSE
        return comparison(0) if is_it else nothing_helps(recipe)

    found = Bench(worth).run()
    assert names(found)[-1] == "as given, entropy ranges"
    assert found.result.choice.name == "as given, mse ranges"


def test_a_recipe_is_tried_once_whatever_it_is_called() -> None:
    bench = Bench(nothing_helps)
    found = bench.run()
    recipes = [json.dumps(one.recipe) for one in found.result.candidates]
    assert len(set(recipes)) == len(recipes)
    assert "as given, bias correction" not in names(found)


def test_operators_go_back_to_float_in_growing_numbers_until_that_is_within() -> None:
    bench = Bench(
        lambda r: comparison(0) if len(r.float_operators) >= 3 else nothing_helps(r), steps=STEPS
    )
    found = bench.run()
    floats = [one.recipe["float_operators"] for one in found.result.candidates[-3:]]
    assert floats == [["a"], ["a", "b"], ["a", "b", "c", "d"]]
    assert found.result.choice.name.endswith(", 4 operators in float")
    assert found.result.choice.float_operators == 4


def test_all_that_were_ranked_go_back_to_float_where_nothing_helps() -> None:
    found = Bench(nothing_helps, steps=STEPS).run()
    counts = [len(one.quantization_recipe().float_operators) for one in found.result.candidates]
    assert [count for count in counts if count] == [1, 2, 4, 5]
    assert found.result.complete
    assert found.result.reason.startswith("all lose more than 1 points")


def test_no_operator_goes_back_to_float_where_the_faces_could_not_show_that_it_helped() -> None:
    bench = Bench(lambda _: comparison(0.1, half=0.3), steps=STEPS)
    found = bench.run(Budget(max_drop_points=0.2))
    assert found.result.least_drop_points > 0.2
    assert (bench.ranked, found.result.choice.verdict) == (0, Verdict.OPEN)


def test_one_of_each_structure_is_timed_in_one_run_and_the_others_share_it() -> None:
    bench = Bench(lambda r: comparison(0) if r.float_operators else nothing_helps(r), steps=STEPS)
    found = bench.run()
    assert found.result.choice.float_operators == 1
    reached, choosing = bench.timed
    assert reached == ["float"]
    assert len(choosing) == 2
    assert {one.latency_ms for one in found.result.candidates} == {1.0, 1.5}
    assert found.result.choice.latency_ms == 1.5


def test_a_device_that_fails_does_so_before_anything_is_converted() -> None:
    class Broken(Bench):
        def _time(self, *_: object) -> dict[str, float]:
            raise DeviceError("ssh://nowhere", "does not answer")

    bench = Broken(nothing_helps)
    with pytest.raises(DeviceError, match="does not answer"):
        bench.run()
    assert bench.converted == []


def test_a_candidate_that_fails_is_kept_with_its_reason_and_the_search_goes_on() -> None:
    def worth(recipe: QuantizationRecipe) -> Comparison | EdgeferError:
        return (
            ModelError("small", "cannot be loaded")
            if recipe.equalization
            else nothing_helps(recipe)
        )

    found = Bench(worth).run()
    assert [(one.name, one.reason) for one in found.result.failures] == [
        ("as given, equalization", "small: cannot be loaded"),
        ("as given, equalization and bias absorption", "small: cannot be loaded"),
    ]
    assert names(found)[-1] == "as given, adaptive rounding"


@pytest.mark.parametrize("error", [ModelError("small", "bad"), DataError("faces", "bad")])
def test_where_plain_fails_there_is_nothing_to_search(error: EdgeferError, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(type(error), match="bad"):
            Bench(lambda _: error).run(kept=tmp_path / "state.json")


def test_a_recipe_that_names_no_operator_is_no_mere_candidate() -> None:
    error = UsageError("the recipe names 'x', which no operator writes")
    with pytest.raises(UsageError, match="names 'x'"):
        Bench(lambda r: error if r.bias_correction else nothing_helps(r)).run()


def test_when_time_is_up_the_best_so_far_is_taken() -> None:
    bench = Bench(nothing_helps, cost_s=10)
    found = bench.run(Budget(max_drop_points=1, time_limit_s=45))
    assert not found.result.complete
    assert names(found) == ["plain", "as given", *names(found)[2:]]
    assert len(names(found)) == 4  # the fifth was ended halfway
    assert found.result.choice.latency_ms is not None


def test_plain_is_tried_however_short_the_time() -> None:
    found = Bench(nothing_helps, cost_s=10).run(Budget(max_drop_points=1, time_limit_s=0.1))
    assert names(found) == ["plain"]
    assert not found.result.complete


def test_a_search_in_time_is_complete() -> None:
    assert Bench(nothing_helps).run(Budget(max_drop_points=1, time_limit_s=1e9)).result.complete


class Killed(Exception):  # noqa: N818 - no error of edgefer's
    """Stands for Ctrl-C."""


def killed_after(count: int, kept: Path) -> Bench:
    """Run a search that is killed in the middle of a conversion; return it."""

    def worth(recipe: QuantizationRecipe) -> Comparison:
        if len(bench.converted) > count:
            raise Killed
        return nothing_helps(recipe)

    bench = Bench(worth, steps=STEPS)
    with pytest.raises(Killed):
        bench.run(kept=kept)
    return bench


def test_what_is_known_is_not_converted_again(tmp_path: Path) -> None:
    whole = Bench(nothing_helps, steps=STEPS)
    expected = whole.run()
    killed = killed_after(7, tmp_path / "state.json")
    rest = Bench(nothing_helps, steps=STEPS)
    found = rest.run(kept=tmp_path / "state.json")
    assert [replace(one, seconds=1.0) for one in found.result.candidates] == [
        replace(one, seconds=1.0) for one in expected.result.candidates
    ]
    assert found.result.chosen == expected.result.chosen
    known = len(killed.converted) - 1
    assert known == 7
    assert len(rest.converted) == len(whole.converted) - known


def test_a_finished_state_leaves_only_the_timing_and_the_taken_one_to_be_made(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "state.json"
    Bench(nothing_helps, steps=STEPS).run(kept=kept)
    again = Bench(nothing_helps, steps=STEPS)
    found = again.run(kept=kept)
    structures = {one.structure for one in found.result.candidates}
    assert len(again.converted) == len(structures) + 1
    assert again.ranked == 0


def test_the_order_of_operators_is_of_one_device(tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    Bench(nothing_helps, steps=STEPS).run(kept=kept)
    other = Bench(nothing_helps, steps=STEPS[::-1])
    found = other.run(Budget(max_drop_points=1, device="ssh://pi@board"), kept=kept)
    assert other.ranked == 1
    assert ["e"] in [one.recipe["float_operators"] for one in found.result.candidates]


def test_failures_are_known_too(tmp_path: Path) -> None:
    def worth(recipe: QuantizationRecipe) -> Comparison | EdgeferError:
        return ModelError("small", "bad") if recipe.equalization else nothing_helps(recipe)

    first = Bench(worth).run(kept=tmp_path / "state.json")
    again = Bench(worth)
    assert again.run(kept=tmp_path / "state.json").result.failures == first.result.failures
    assert not any(recipe.equalization for recipe in again.converted)


def test_another_budget_goes_on_from_the_same_candidates(tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    first = Bench(lambda _: comparison(1.0, half=0.5)).run(kept=kept)
    assert {one.verdict for one in first.result.candidates} == {Verdict.OPEN}
    again = Bench(nothing_helps)
    found = again.run(Budget(max_drop_points=2.0), kept=kept)
    assert {one.verdict for one in found.result.candidates} == {Verdict.WITHIN}
    assert names(found) == ["plain", "as given"]


def other_labels(faces: LabelledFaces) -> LabelledFaces:
    return replace(faces, labels=(faces.labels + 1) % len(faces.class_names))


@pytest.mark.parametrize(
    "faces",
    [
        small_models.faces(90, seed=1),
        small_models.faces(90).select(range(89, -1, -1)),
        other_labels(small_models.faces(90)),
    ],
    ids=["other faces", "another order", "other labels"],
)
def test_the_state_of_other_faces_is_not_used(faces: LabelledFaces, tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    killed_after(7, kept)
    bench = Bench(lambda _: comparison(0))
    bench.run(kept=kept, faces=faces)
    assert bench.converted[:2] == [PLAIN_RECIPE, INT8]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"edgefer_version": "0.1.0"}', "\0" * 100])
def test_a_damaged_state_is_not_used_and_is_replaced(content: str, tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    kept.write_text(content)
    bench = Bench(lambda _: comparison(0))
    bench.run(kept=kept)
    assert bench.converted[:2] == [PLAIN_RECIPE, INT8]
    assert len(json.loads(kept.read_text())["candidates"]) == 2


def test_a_state_with_other_figures_than_numbers_is_not_used(tmp_path: Path) -> None:
    kept = tmp_path / "state.json"
    killed_after(7, kept)
    kept.write_text(kept.read_text().replace('"size_bytes": ', '"size_bytes": NaN, "x": '))
    bench = Bench(lambda _: comparison(0))
    bench.run(kept=kept)
    assert bench.converted[0] == PLAIN_RECIPE


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(DataError, match="too few to hold some out"):
        Bench(nothing_helps).run(faces=small_models.faces(50))


def test_a_calibration_without_faces_is_refused() -> None:
    tflite = TFLITE.read_bytes()
    calibration = small_models.calibrated(tflite, small_models.inputs(8, side=16))
    subject = Subject(float_tflite=tflite, spec=small_models.SPEC, recipe=INT8, source="small")
    with pytest.raises(UsageError, match="give --calibration the dataset itself"):
        search(subject, calibration, Budget(max_drop_points=1))


def own_faces(count: int) -> LabelledFaces:
    """Return faces labelled as the small model answers them."""
    faces = small_models.faces(count)
    answers = runtime.open_made(small_models.small()).probabilities(small_models.inputs(count))
    return dataclasses.replace(faces, labels=answers.argmax(axis=1).astype(np.int64))


def timed_by_size(models: dict[str, bytes], _: object) -> dict[str, float]:
    return {name: len(tflite) / 1e4 for name, tflite in models.items()}


def small_search(points: float) -> Found:
    subject = Subject(
        float_tflite=small_models.small(), spec=small_models.SPEC, recipe=INT8, source="small"
    )
    measures = Measures(choosing=timed_by_size, ranking=timed_by_size)  # type: ignore[arg-type]
    budget = Budget(max_drop_points=points)
    return search(subject, own_faces(90), budget, measures=measures)


def test_of_many_operators_those_that_add_most_noise_are_ranked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "MOST_OPERATORS", 2)
    monkeypatch.setattr(precision, "MOST_MULTIPLY_ACCUMULATES", 0)
    told: list[str] = []
    tflite, faces = small_models.small(), small_models.faces(24)
    steps = precision.float_steps(
        Conversion(tflite, small_models.SPEC, faces),
        INT8,
        small_models.inputs(8),
        timed_by_size,  # type: ignore[arg-type]
        lambda what, _done, _total: told.append(what),
    )
    assert told == ["Ranking operators"] * 2
    content = graph.read(tflite)
    outputs = [content.tensors[operator.outputs[0]].name for operator in content.operators]
    assert {step.tensor for step in steps} < set(outputs)
    assert len(steps) == 2
    assert all(step.change > 0 and step.cost_ms > 0 for step in steps)


@pytest.mark.slow
def test_a_search_is_repeated_byte_for_byte() -> None:
    first, second = small_search(13.0), small_search(13.0)
    assert first.model.tflite == second.model.tflite
    assert [(one.name, one.sha256) for one in first.result.candidates] == [
        (one.name, one.sha256) for one in second.result.candidates
    ]
    assert first.result.choice.float_operators > 0
    assert first.result.choice.verdict is Verdict.WITHIN


def test_the_local_harness_times_what_it_can_run() -> None:
    found = on_device(LOCAL, RANKING)({"a": TFLITE.read_bytes(), "b": TFLITE.read_bytes()}, None)
    assert set(found) == {"a", "b"}
    assert all(0 < latency < 1000 for latency in found.values())
