"""The interpreter on good files, and on hostile ones that must not take this process down."""

import random
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgefer import child, runtime
from edgefer.data.preprocessing import normalise
from edgefer.errors import ModelError
from edgefer.models.spec import ModelSpec
from edgefer.tensor import Tensor

Models = Mapping[str, Path]

RAW_PIXELS = np.arange(256, dtype=np.uint8)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)


def quadrant_probabilities(pixels: np.ndarray) -> np.ndarray:
    """Compute what the quadrant model does, without an interpreter."""
    normalised = pixels.astype(np.float64) / 127.5 - 1
    means = normalised.reshape(-1, 2, 8, 2, 8, 3).mean(axis=(2, 4, 5)).reshape(-1, 4)
    odds = np.exp(12.0 * means)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def tensor(dtype: type[np.generic], scale: float, zero_point: int) -> Tensor:
    return Tensor(
        name="image",
        index=0,
        shape=(1, 256),
        declared_shape=(1, 256),
        dtype=np.dtype(dtype),
        scale=scale,
        zero_point=zero_point,
    )


def mutated(content: bytes, seed: int) -> bytes:
    """Change a few bytes after the identifier."""
    changes = random.Random(seed)
    changed = bytearray(content)
    for _ in range(changes.choice([1, 1, 2, 8, 64])):
        position = changes.randrange(8, len(changed))
        changed[position] = changes.choice([0, 1, 127, 128, 255, changes.randrange(256)])
    return bytes(changed)


def problem_with(path: Path) -> str:
    """Return the one line that opening `path` gives."""
    with pytest.raises(ModelError) as raised:
        runtime.open_model(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("float32", 1e-5), ("int8", 0.06), ("uint8", 0.06), ("int16", 0.002)],
)
def test_probabilities_are_those_of_the_network(
    quadrant_tflites: Models, name: str, tolerance: float, quadrant_spec: ModelSpec
) -> None:
    pixels = images(20)
    model = runtime.open_model(quadrant_tflites[name])
    model.require_spec(quadrant_spec)
    found = model.probabilities(normalise(pixels, quadrant_spec))
    assert found.dtype == np.float32
    assert found.shape == (20, 4)
    np.testing.assert_allclose(found, quadrant_probabilities(pixels), atol=tolerance)


def test_a_model_tells_its_tensors(quadrant_tflites: Models) -> None:
    model = runtime.open_model(quadrant_tflites["int8"], checked=True)
    assert model.input.shape == (1, 16, 16, 3)
    assert model.input.dtype == np.int8
    assert model.input.zero_point == -1
    assert model.input.scale == pytest.approx(1 / 127.5)
    assert (model.classes, model.resolution) == (4, 1 / 256)
    assert not model.free_batch


@pytest.mark.parametrize(("name", "offset"), [("int8", -128), ("uint8", 0)], ids=["int8", "uint8"])
def test_normalised_pixels_reach_a_quantized_input_as_raw_bytes(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, name: str, offset: int
) -> None:
    """The contract q = pixel - 128 in int8 and q = pixel in uint8, for every pixel value."""
    model = runtime.open_model(quadrant_tflites[name], checked=True)
    normalised = normalise(np.repeat(RAW_PIXELS[:, None], 3, axis=1), quadrant_spec)
    expected = RAW_PIXELS.astype(int)[:, None] + offset
    assert (model.input.quantize(normalised) == expected).all()


def test_values_outside_the_range_are_clipped() -> None:
    found = tensor(np.int8, 0.5, 3).quantize(np.array([-1e9, -2, 0.1, 1e9], np.float32))
    assert found.tolist() == [-128, -1, 3, 127]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_float_tensors_keep_real_values(dtype: type[np.generic]) -> None:
    values = np.array([-1.5, 0.25, 2], np.float32)
    there = tensor(dtype, 0, 0).quantize(values)
    assert there.dtype == dtype
    assert tensor(dtype, 0, 0).dequantize(there).tolist() == values.tolist()


def test_a_free_batch_takes_many_images_and_returns_to_one(
    quadrant_tflites: Models, quadrant_spec: ModelSpec
) -> None:
    model = runtime.open_model(quadrant_tflites["free_batch"])
    assert model.free_batch
    inputs = normalise(images(5), quadrant_spec)
    alone = model.probabilities(inputs)
    np.testing.assert_allclose(model.probabilities_together(inputs), alone, atol=1e-6)
    np.testing.assert_array_equal(model.probabilities(inputs), alone)


def test_a_fixed_batch_refuses_images_together(quadrant_tflites: Models) -> None:
    model = runtime.open_model(quadrant_tflites["float32"], checked=True)
    with pytest.raises(ModelError, match="fixed at 1"):
        model.probabilities_together(np.zeros((2, 16, 16, 3), np.float32))


def test_a_spec_that_does_not_fit_is_refused(
    quadrant_tflites: Models, quadrant_spec: ModelSpec
) -> None:
    model = runtime.open_model(quadrant_tflites["float32"], checked=True)
    seven = ModelSpec(name="seven", labels=tuple("abcdefg"), input_size=16)
    with pytest.raises(ModelError, match="4 classes for 7 labels"):
        model.require_spec(seven)
    larger = ModelSpec(name="larger", labels=quadrant_spec.labels, input_size=24)
    with pytest.raises(ModelError, match=r"its input is \(1, 16, 16, 3\), not \(1, 24, 24, 3\)"):
        model.require_spec(larger)


def test_opening_a_model_writes_nothing_to_the_terminal(
    quadrant_tflites: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime.open_model(quadrant_tflites["float32"])
    assert capfd.readouterr() == ("", "")


def test_the_version_names_the_interpreter() -> None:
    assert runtime.runtime_version().startswith(("ai-edge-litert ", "tflite-runtime "))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert problem_with(tmp_path / "none.tflite") == "does not exist"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert problem_with(tmp_path) == "is a folder, not a .tflite file"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tflite").touch()
    assert problem_with(tmp_path / "empty.tflite") == "is empty; convert or download it again"


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    path.write_bytes(random.Random(0).randbytes(5000))
    assert problem_with(path).startswith("is not a .tflite file (no TFL3 at byte 4); ")


def test_random_bytes_behind_the_identifier_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + random.Random(0).randbytes(5000))
    assert problem_with(path).startswith("cannot be loaded: ")


@pytest.mark.parametrize("length", [3, 8, 40, 700, 1500])
def test_a_truncated_file_is_refused(quadrant_tflites: Models, tmp_path: Path, length: int) -> None:
    path = tmp_path / "truncated.tflite"
    path.write_bytes(quadrant_tflites["int8"].read_bytes()[:length])
    assert problem_with(path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flat_input", "its input is (1, 12); a classifier's is (1, height, width, channels)"),
        ("two_inputs", "has 2 inputs and 1 outputs; a classifier has one of each"),
    ],
)
def test_a_model_that_is_no_image_classifier_is_refused(
    quadrant_tflites: Models, name: str, problem: str
) -> None:
    assert problem_with(quadrant_tflites[name]) == problem


def test_a_file_that_crashes_the_interpreter_is_refused(quadrant_tflites: Models) -> None:
    problem = problem_with(quadrant_tflites["crashing"])
    assert problem.startswith(("is corrupt: it makes the interpreter crash", "cannot be loaded"))


def test_a_crash_is_told_by_its_signal(
    quadrant_tflites: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(child, "command", lambda *_: [sys.executable, "-c", suicide])
    problem = problem_with(quadrant_tflites["float32"])
    assert problem.startswith("is corrupt: it makes the interpreter crash (SIGSEGV); ")


def test_a_file_that_never_ends_is_refused(quadrant_tflites: Models) -> None:
    with pytest.raises(ModelError, match=r"did not load and run once within 2 s|cannot be loaded"):
        runtime.require_loadable(quadrant_tflites["endless"], timeout_s=2)


@pytest.mark.parametrize("seed", range(30))
def test_changed_bytes_never_take_this_process_down(
    quadrant_tflites: Models, tmp_path: Path, seed: int
) -> None:
    """Each variant either loads, or gives one line; what loads also runs."""
    name = ("float32", "int8", "uint8")[seed % 3]
    path = tmp_path / "changed.tflite"
    path.write_bytes(mutated(quadrant_tflites[name].read_bytes(), seed))
    problem = ""
    try:
        runtime.require_loadable(path, timeout_s=20)
    except ModelError as exc:
        problem = str(exc)
    if problem:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    else:
        runtime.invoke_once(path)
