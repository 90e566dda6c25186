"""A calibration as a file: it stands for the faces, and for one float model."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.calibration import result
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.recipes import RangeMethod
from edgefer.converters.rounding.bias_correction import correct_biases
from edgefer.converters.weights import weighted_layers
from edgefer.errors import DataError
from edgefer.records import to_dict

Float32Array = npt.NDArray[np.float32]

FACES = small_models.inputs(20, seed=3)


@cache
def calibrated() -> CalibrationResult:
    return small_models.calibrated(small_models.small(), FACES)


@pytest.mark.parametrize("method", list(RangeMethod))
def test_a_file_gives_the_same_ranges_and_biases(method: RangeMethod, tmp_path: Path) -> None:
    result.write(tmp_path / "c.json", calibrated())
    back = result.read(tmp_path / "c.json")
    assert back == calibrated()
    for bits in (8, 16):
        assert back.ranges(method, bits=bits) == calibrated().ranges(method, bits=bits)
    source = small_models.small()
    rounded = small_models.rounded(source)
    again = correct_biases(source, rounded, back.patches())
    assert again == correct_biases(source, rounded, calibrated().patches())
    result.write(tmp_path / "d.json", back)
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "d.json").read_bytes()


def test_a_file_has_the_size_of_its_bins_whatever_the_number_of_faces(tmp_path: Path) -> None:
    sizes = []
    for count in (10, 60):
        faces = small_models.inputs(count, seed=3)
        path = tmp_path / f"{count}.json"
        result.write(path, small_models.calibrated(small_models.small(), faces))
        sizes.append(path.stat().st_size)
    assert sizes[1] < 1.3 * sizes[0] < 150_000


def test_a_file_holds_no_face(tmp_path: Path) -> None:
    """The image's own tensor is counted too, as values without a place."""
    path = tmp_path / "c.json"
    result.write(path, calibrated())
    values = json.loads(path.read_text())
    assert set(values) == {
        "kind", "schema_version", "model", "faces_hash", "faces", "tensors", "mean_patches",
    }  # fmt: skip
    lengths = [len(tensor["counts"]) for tensor in values["tensors"]]
    assert max(lengths) <= 2049 < FACES[0].size
    shuffled = np.random.default_rng(0).permuted(FACES.reshape(20, -1, 3), axis=1)
    counts = small_models.calibrated(small_models.small(), shuffled.reshape(FACES.shape))
    assert list(counts.tensors[0].counts) == values["tensors"][0]["counts"]


def renamed(tflite: bytes) -> bytes:
    def rename(model: Any) -> None:
        for number, tensor in enumerate(model.subgraphs[0].tensors):
            tensor.name = f"anew_{number}".encode()
        model.metadata = []

    return small_models.patched(tflite, rename)


def test_the_same_network_built_anew_is_known_whatever_its_tensors_are_called() -> None:
    anew = renamed(small_models.small())
    fitted = calibrated().fitted_to(anew)
    direct = small_models.calibrated(anew, FACES)
    assert fitted == direct
    assert list(fitted.ranges(RangeMethod.MIN_MAX)) != list(
        calibrated().ranges(RangeMethod.MIN_MAX)
    )
    assert calibrated().fitted_to(small_models.small()) == calibrated()


def test_another_model_is_a_data_error() -> None:
    """One weight makes another model; so does another activation or stride."""

    def change_weight(model: Any) -> None:
        weights = weighted_layers(graph.read(small_models.small()))[0].weights
        assert weights.data is not None
        changed = weights.data.copy()
        changed.flat[5] += 0.01
        buffer = model.buffers[model.subgraphs[0].tensors[weights.index].buffer]
        buffer.data = changed.reshape(-1).view(np.uint8)

    def change_activation(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = 1

    for change in (change_weight, change_activation):
        other = small_models.patched(small_models.small(), change)
        with pytest.raises(DataError, match=r"is of another float model than o\.tflite; calibrate"):
            calibrated().fitted_to(other, source="o.tflite")


def with_weights(change: Callable[[Float32Array], npt.NDArray[np.floating[Any]]]) -> bytes:
    """Return the small model after a change to all of its float constants."""

    def rewrite(model: Any) -> None:
        for tensor in graph.read(small_models.small()).tensors:
            if tensor.is_float and tensor.data is not None:
                buffer = model.buffers[model.subgraphs[0].tensors[tensor.index].buffer]
                values = change(tensor.data.copy()).astype(np.float32)
                buffer.data = values.reshape(-1).view(np.uint8)

    return small_models.patched(small_models.small(), rewrite)


def test_the_same_network_made_on_another_processor_is_known() -> None:
    """Its folded weights differ by a few roundings."""
    random = np.random.default_rng(0)
    elsewhere = with_weights(lambda w: w * (1 + random.uniform(-1e-6, 1e-6, w.shape)))
    assert elsewhere != small_models.small()
    assert calibrated().fitted_to(elsewhere) == calibrated()


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w * np.float32(1.001),
        lambda w: w[..., ::-1],
        lambda w: -w,
        lambda w: w + np.random.default_rng(1).normal(0, 0.01, w.shape),
    ],
    ids=["scaled", "channels reversed", "negated", "trained on"],
)
def test_other_weights_make_another_model(change: Callable[[Float32Array], Float32Array]) -> None:
    with pytest.raises(DataError, match="is of another float model"):
        calibrated().fitted_to(with_weights(change))


def test_a_file_packed_by_gzip_is_the_same_calibration(tmp_path: Path) -> None:
    result.write(tmp_path / "c.json", calibrated())
    result.write(tmp_path / "c.json.gz", calibrated())
    packed = (tmp_path / "c.json.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "c.json").read_bytes()
    assert result.read(tmp_path / "c.json.gz") == calibrated()
    (tmp_path / "cut.json.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="cannot be read: damaged gzip data"):
        result.read(tmp_path / "cut.json.gz")


def test_gzip_is_not_unpacked_beyond_what_a_calibration_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "MOST_BYTES", 1_000_000)
    (tmp_path / "bomb").write_bytes(gzip.compress(b"{" + b" " * 1_000_000))
    with pytest.raises(DataError, match="is larger than 1,000,000 bytes"):
        result.read(tmp_path / "bomb")


def changed(place: tuple[str | int, ...], value: Any) -> bytes:
    values = to_dict(calibrated())
    inner: Any = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("schema_version",), 2, "schema_version: "),
        (("faces",), "20", "faces: "),
        (("faces",), 0, "faces are no number above zero"),
        (("pictures",), [], "pictures: "),
        (("kind",), "a calibration", "kind: "),
        (("model", "structure"), None, "model.structure: "),
        (("model", "projections", 0), float("nan"), "model.projections.0: "),
        (("tensors",), {}, "tensors: "),
        (("tensors", 1, "low"), float("nan"), "tensors.1.low: "),
        (("tensors", 1, "low"), float("-inf"), "tensors.1.low: "),
        (("tensors", 1, "low"), -1e300, "are no float32 values"),
        (("tensors", 1, "low"), 99.0, "are not in order"),
        (("tensors", 1, "high"), 5e8, "counts where the range has"),
        (("tensors", 1, "zeros"), -1, "counts are below zero"),
        (("tensors", 1, "zeros"), 10**40, "counts add up to none or to too many"),
        (("tensors", 1, "zeros"), 1.5, "tensors.1.zeros: "),
        (("tensors", 1, "counts"), [-5, 10], "counts are below zero"),
        (("tensors", 1, "counts"), [1] * 5000, "5000 counts where the range has"),
        (("tensors", 1, "counts", 0), True, "tensors.1.counts.0: "),
        (("mean_patches", 0, "shape"), [10**9, 10**9, 3], "do not fill a patch"),
        (("mean_patches", 0, "shape"), [-3, -3, 3], "do not fill a patch"),
        (("mean_patches", 0, "values", 0), float("nan"), "mean_patches.0.values.0: "),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(
    place: tuple[str | int, ...], value: Any, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(changed(place, value))
    with pytest.raises(DataError) as caught:
        result.read(path)
    assert str(caught.value).startswith(f"{path}: is not a calibration of edgefer's: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\xff", b"[1, 2", b"null", b"[]", b"[" * 100_000, b'{"schema_version": 1}'],
    ids=["empty", "binary", "cut", "null", "list", "nested", "bare"],
)
def test_what_is_no_calibration_is_a_data_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a calibration of edgefer's"):
        result.read(path)


def test_a_file_too_large_a_folder_and_no_file_are_data_errors(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(result.MOST_BYTES + 1)
    with pytest.raises(DataError, match="is larger than 64,000,000 bytes"):
        result.read(large)
    with pytest.raises(DataError, match="cannot be read: Is a directory; check its path"):
        result.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        result.read(tmp_path / "none.json")


def test_a_file_with_a_tensor_too_few_does_not_fit_its_model(tmp_path: Path) -> None:
    values = to_dict(calibrated())
    del values["tensors"][3]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="is of another float model"):
        result.read(path).fitted_to(small_models.small())
