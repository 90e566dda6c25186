"""One pass over faces: what it counts, in how much memory, and what stops it."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.calibration.faces import doubts, require_usable
from edgefer.converters.calibration.histogram import BINS, Histogram, grid_over
from edgefer.converters.calibration.statistics import SMOOTHING, Statistics, float_tensors, gather
from edgefer.converters.conversion import convert
from edgefer.converters.recipes import INT8
from edgefer.converters.weights import weighted_layers
from edgefer.data.faces import LabelledFaces
from edgefer.errors import DataError, ModelError

Float32Array = npt.NDArray[np.float32]

FACES = small_models.inputs(20, seed=3)


def gathered(faces: Float32Array = FACES, **options: Any) -> Statistics:
    content = graph.read(small_models.small())
    return gather(small_models.small(), content, faces, **options)


def outputs(faces: Float32Array) -> dict[int, Float32Array]:
    """Return what each tensor holds for each face, by a run of the test's own."""
    interpreter = runtime.open_with_all_tensors(small_models.small())
    indices = [tensor.index for tensor in float_tensors(graph.read(small_models.small()))]
    seen: dict[int, list[Float32Array]] = {index: [] for index in indices}
    for face in faces:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], face[None])
        interpreter.invoke()
        for index in indices:
            seen[index].append(interpreter.get_tensor(index))
    return {index: np.concatenate(values) for index, values in seen.items()}


def histogram(*batches: Float32Array) -> Histogram:
    made = Histogram()
    for batch in batches:
        made.add(batch, float(batch.min()), float(batch.max()))
    return made


def counted_at_once(values: Float32Array) -> npt.NDArray[np.int64]:
    """Return numpy's counts of all values but zeros, on the grid of their range."""
    grid = grid_over(float(values.min()), float(values.max()))
    edges = (grid.first + np.arange(grid.size + 1)) * grid.width
    positions = np.searchsorted(edges, values[values != 0].astype(np.float64), side="right") - 1
    return np.bincount(positions, minlength=grid.size)


def test_ranges_and_counts_are_those_of_all_faces_together() -> None:
    found = {statistics.tensor: statistics for statistics in gathered().tensors}
    content = graph.read(small_models.small())
    assert len(found) == 1 + len(content.operators)
    for index, values in outputs(FACES).items():
        statistics = found[content.tensors[index].name]
        assert (statistics.low, statistics.high) == (values.min(), values.max())
        assert statistics.zeros == np.count_nonzero(values == 0)
        np.testing.assert_array_equal(statistics.counts, counted_at_once(values))


def test_a_moving_average_weighs_late_faces_more_and_is_of_every_class() -> None:
    """A dataset is sorted by class: in its own order only the last class would count."""
    bright = np.concatenate([FACES[:10] * 0.1, FACES[10:]])
    statistics = gathered(bright).tensors[0]
    order = np.random.default_rng(0).permutation(len(bright))
    expected = float(bright[order[0]].max())
    for position in order[1:]:
        expected = SMOOTHING * expected + (1 - SMOOTHING) * float(bright[position].max())
    assert statistics.average_high == pytest.approx(expected)
    assert 0.2 < statistics.average_high < 0.9


def test_the_mean_inputs_are_numpys_means() -> None:
    seen = outputs(FACES)
    for index, mean in gathered().mean_inputs.items():
        np.testing.assert_allclose(mean[0], seen[index].mean(axis=0, dtype=np.float64), atol=1e-6)


def test_the_model_runs_once_on_each_face(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    opened = runtime.open_with_all_tensors

    class Counting:
        def __init__(self, interpreter: Any) -> None:
            self.interpreter = interpreter

        def __getattr__(self, name: str) -> Any:
            if name == "invoke":
                runs.append(name)
            return getattr(self.interpreter, name)

    monkeypatch.setattr(runtime, "open_with_all_tensors", lambda tflite: Counting(opened(tflite)))
    reported: list[tuple[int, int]] = []
    gathered(progress=lambda done, total: reported.append((done, total)))
    assert len(runs) == len(FACES)
    assert reported == [(done, 20) for done in range(1, 21)]


def test_memory_stays_when_an_outlier_lies_a_million_times_farther_out() -> None:
    usual = np.random.default_rng(0).normal(0, 1, 10_000).astype(np.float32)
    made = histogram(usual, np.array([1e6], np.float32), np.array([-1e-6], np.float32))
    assert len(made.counts) <= BINS + 1
    assert made.counts.sum() == 10_002
    np.testing.assert_array_equal(
        made.counts, counted_at_once(np.append(usual, [1e6, -1e-6]).astype(np.float32))
    )


@pytest.mark.parametrize("scale", [1e-37, 1e-3, 1, 1e4, 1e34])
def test_the_order_in_which_values_come_makes_no_difference(scale: float) -> None:
    values = np.random.default_rng(1).standard_cauchy((8, 500)) * scale
    batches = list(values.astype(np.float32))
    forward, backward = histogram(*batches), histogram(*batches[::-1])
    assert (forward.low, forward.high) == (backward.low, backward.high)
    np.testing.assert_array_equal(forward.counts, backward.counts)
    np.testing.assert_array_equal(forward.counts, counted_at_once(np.concatenate(batches)))


@pytest.mark.parametrize(
    ("values", "bins", "zeros"),
    [
        ([0, 0, 0], 1, 3),
        ([0.7, 0.7], 1, 0),
        ([-3, -3], 1, 0),
        ([0, 6, 6, 6], 1537, 1),
        ([1e-45, 0], 1, 1),
        ([3e38, -3e38, 1e-45, -1e-45], 1806, 0),
    ],
)
def test_odd_tensors_have_their_counts(values: list[float], bins: int, zeros: int) -> None:
    """Nothing but zeros, one value alone, a ReLU6 that saturates, both ends of float32."""
    made = histogram(np.array(values, np.float32))
    assert (len(made.counts), made.zeros) == (bins, zeros)
    assert made.counts.min() >= 0
    assert made.counts.sum() + zeros == len(values)


def test_faces_that_are_not_numbers_or_of_another_size_are_data_errors() -> None:
    broken = FACES.copy()
    broken[7, 3, 2, 1] = np.nan
    with pytest.raises(DataError, match="hold NaN or infinity, 1 of 20, the first at position 7;"):
        gathered(broken)
    with pytest.raises(DataError, match=r"are \(16, 16, 3\), but the model takes \(32, 32, 3\)"):
        gathered(small_models.inputs(8, side=16))


def test_a_model_that_makes_infinity_of_a_face_is_named() -> None:
    def spoil(model: Any) -> None:
        bias = weighted_layers(graph.read(small_models.small()))[-1].bias
        assert bias is not None
        assert bias.data is not None
        buffer = model.buffers[model.subgraphs[0].tensors[bias.index].buffer]
        buffer.data = np.full(bias.data.shape, np.inf, np.float32).view(np.uint8)

    spoiled = small_models.patched(small_models.small(), spoil)
    with pytest.raises(ModelError, match=r"^a\.tflite: makes NaN or infinity of a face, in its"):
        gather(spoiled, graph.read(spoiled), FACES, source="a.tflite")


def with_images(images: list[npt.NDArray[np.uint8]]) -> LabelledFaces:
    faces = small_models.faces(len(images))
    return dataclasses.replace(faces, images=images)


FLAT = np.full((32, 32, 3), 128, np.uint8)
DIFFERENT = list(small_models.pixels(7))


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (DIFFERENT, "has 7 faces;"),
        ([FLAT] * 30, "has 30 pictures of one colour among 30;"),
        ([FLAT + np.uint8(step) for step in range(5)] + DIFFERENT, "has 5 pictures of one colour"),
        (DIFFERENT * 10, "has 7 different faces, repeated to 70;"),
        (DIFFERENT[:1] * 20, "has 1 different faces, repeated to 20;"),
    ],
)
def test_faces_that_show_too_little_are_a_data_error(
    images: list[npt.NDArray[np.uint8]], problem: str
) -> None:
    with pytest.raises(DataError, match=f"^smooth noise: {problem}"):
        convert(small_models.small(), small_models.SPEC, INT8, with_images(images))


def test_eight_faces_are_enough() -> None:
    require_usable(small_models.faces(8))


def test_faces_of_one_class_convert_with_a_note() -> None:
    faces = small_models.faces(8)
    made = convert(small_models.small(), small_models.SPEC, INT8, faces)
    assert len(made.notes) == 1
    assert "are of one class, anger:" in made.notes[0]
    assert doubts(dataclasses.replace(faces, labels=np.arange(8) % 2)) == ()
