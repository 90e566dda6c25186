"""PyTorch models of users become .tflite files that answer as torch does."""

import contextlib
import importlib.util
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from commands import edgefer
from small_models import faces, inputs, real, run

from edgefer import metadata
from edgefer.converters import conversion, exported_program, float_model, pytorch
from edgefer.converters.recipes import INT8
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.errors import MissingExtraError, ModelError
from edgefer.models import bundled
from edgefer.models.spec import ModelSpec

GOLDEN = Path(__file__).parent / "golden" / "torch"
SIDE = 32
SPEC = ModelSpec(name="small", labels=ALPHABETICAL_8, input_size=SIDE)
SPEC_FILE = f"""
name = "their model"
labels = {json.dumps(ALPHABETICAL_8)}
input_size = {SIDE}
mean = 127.5
std = 127.5
author = "Them"
"""

is_installed = importlib.util.find_spec("litert_torch") is not None
needs_torch = pytest.mark.skipif(
    not is_installed, reason="needs torch and litert-torch: pip install 'edgefer[torch]'"
)

Float32Array = npt.NDArray[np.float32]


def exported(kind: str, folder: Path) -> tuple[Path, Any]:
    """Export one of the small models; return the file and the module."""
    import pytorch_models
    import torch

    module = pytorch_models.seeded(getattr(pytorch_models, kind))
    path = folder / f"{kind}.pt2"
    pytorch_models.export(module, path, torch.zeros(1, 3, SIDE, SIDE))
    return path, module


def answers(module: Any, images: Float32Array) -> Float32Array:
    """Return torch's probabilities of images with the channels last."""
    import torch

    with torch.no_grad():
        scores = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        is_sum_one = bool(((scores.sum(1) - 1).abs() < 1e-4).all()) and bool((scores >= 0).all())
        return np.asarray(scores if is_sum_one else scores.softmax(1))


def converted(path: Path) -> pytorch.ConvertedProgram:
    return pytorch.from_exported_program(exported_program.read(path), source=path)


def spec_file(folder: Path, text: str = SPEC_FILE) -> Path:
    path = folder / "model.toml"
    path.write_text(text)
    return path


def errors(err: str) -> Sequence[str]:
    return [line for line in err.splitlines() if line.startswith("edgefer: error:")]


@needs_torch
@pytest.mark.parametrize(
    ("kind", "added_softmax", "spread", "int8_change"),
    [("MobileNetLike", True, 0.02, 0.004), ("PosterLike", False, 0.2, 0.04)],
)
def test_a_converted_model_answers_as_torch_does(
    tmp_path: Path,
    kind: str,
    added_softmax: bool,  # noqa: FBT001 - pytest passes it by name
    spread: float,
    int8_change: float,
) -> None:
    """Float probabilities are within 1e-5; int8's change by a fifth of their spread on average."""
    path, module = exported(kind, tmp_path)
    program = converted(path)
    assert program.added_softmax is added_softmax
    images = inputs(64, seed=7)
    expected = answers(module, images)
    assert expected.std(axis=0).max() > spread
    np.testing.assert_allclose(run(program.tflite, images), expected, atol=1e-5)
    int8 = conversion.convert(program.tflite, SPEC, INT8, faces(64)).tflite
    pixels = np.rint(images * 127.5 + 127.5).astype(np.int16) - 128
    found = real(int8, run(int8, pixels.astype(np.int8)))
    assert np.abs(found - expected).mean() < int8_change


@needs_torch
def test_resizing_to_the_nearest_pixel_picks_the_pixels_that_torch_picks(tmp_path: Path) -> None:
    """litert-torch's own conversion picks others, whose answers are all different ones."""
    import pytorch_models
    import torch

    class Resized(torch.nn.Module):  # type: ignore[misc]
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            smaller = torch.nn.functional.interpolate(image, size=(12, 5))
            larger = torch.nn.functional.interpolate(smaller, size=(17, 40))
            return larger.flatten(2).mean(1).softmax(-1)

    pytorch_models.export(Resized(), tmp_path / "x.pt2", torch.zeros(1, 3, SIDE, SIDE))
    images = inputs(4)
    expected = answers(Resized(), images)
    np.testing.assert_allclose(
        run(converted(tmp_path / "x.pt2").tflite, images), expected, atol=1e-6
    )


@needs_torch
def test_a_conversion_that_answers_differently_from_torch_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = GOLDEN / "tiny.pt2"
    monkeypatch.setattr(pytorch, "TOLERANCE", 1e-12)
    with pytest.raises(ModelError, match="is converted wrongly by litert-torch: a probability"):
        converted(path)


@needs_torch
def test_a_program_with_its_channels_last_answers_as_torch_does(tmp_path: Path) -> None:
    import pytorch_models

    images = inputs(4)
    channels_last = run(converted(GOLDEN / "channels-last.pt2").tflite, images)
    channels_first = run(converted(GOLDEN / "tiny.pt2").tflite, images)
    np.testing.assert_allclose(channels_last, channels_first, atol=1e-6)
    expected = answers(pytorch_models.seeded(pytorch_models.Tiny), images)
    np.testing.assert_allclose(channels_first, expected, atol=1e-5)


@needs_torch
def test_convert_makes_described_files_and_says_what_int8_cost(tmp_path: Path) -> None:
    path, _ = exported("MobileNetLike", tmp_path)
    options = ("--float32", "--int8", "--spec", spec_file(tmp_path), "--json")
    ended = edgefer("convert", path, *options, "--output", tmp_path)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    names = ["MobileNetLike-float32.tflite", "MobileNetLike-int8.tflite"]
    assert [model["file"] for model in result["models"]] == names
    assert result["evaluation"]["dataset"]["faces"] == 1200
    int8 = metadata.read(tmp_path / names[1])
    assert int8.spec is not None
    assert (int8.spec.name, int8.spec.author, int8.spec.labels) == (
        "their model", "Them", ALPHABETICAL_8,
    )  # fmt: skip
    page = (tmp_path / "MobileNetLike-int8.html").read_text()
    assert "a softmax was added" in page


@needs_torch
def test_weights_that_are_not_finite_are_told_in_one_line(tmp_path: Path) -> None:
    import pytorch_models
    import torch

    module = pytorch_models.seeded(pytorch_models.Tiny)
    module.get_parameter("head.weight").data[0, 0] = torch.nan
    pytorch_models.export(module, tmp_path / "nan.pt2", torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ModelError) as caught:
        converted(tmp_path / "nan.pt2")
    assert str(caught.value) == (
        f"{tmp_path}/nan.pt2: has NaN or infinity in its weights (head.weight)"
    )


@needs_torch
def test_what_litert_torch_cannot_convert_is_told_in_one_line(tmp_path: Path) -> None:
    import pytorch_models
    import torch

    class Odd(torch.nn.Module):  # type: ignore[misc]
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(image.mean(1)).softmax(-1)

    pytorch_models.export(Odd(), tmp_path / "odd.pt2", torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ModelError) as caught:
        converted(tmp_path / "odd.pt2")
    assert str(caught.value).startswith(
        f"{tmp_path}/odd.pt2: cannot be converted by litert-torch: "
    )
    assert "\n" not in str(caught.value)


class Attack:
    """What unpickles as the making of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@needs_torch
def test_code_in_sample_inputs_is_left_behind(tmp_path: Path) -> None:
    """Loading it with torch runs it, which the first half shows; a conversion does not."""
    import torch

    proof, path = tmp_path / "executed", tmp_path / "evil.pt2"
    with zipfile.ZipFile(GOLDEN / "tiny.pt2") as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            is_sample = name.endswith("sample_inputs/model.pt")
            content = pickle.dumps(Attack(proof), 2) if is_sample else source.read(name)
            copy.writestr(name, content)
    with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
        warnings.simplefilter("ignore")
        torch.export.load(path)
    assert proof.exists()
    proof.rmdir()
    float_model.from_tflite(converted(path).tflite, source=path)
    assert not proof.exists()


@needs_torch
def test_a_conversion_that_takes_too_long_is_ended() -> None:
    path = GOLDEN / "tiny.pt2"
    program = exported_program.read(path)
    with pytest.raises(ModelError, match=r"was not converted by litert-torch in 0\.1 s"):
        pytorch.from_exported_program(program, source=path, timeout_s=0.1)


def test_without_the_extra_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = GOLDEN / "tiny.pt2"
    program = exported_program.read(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgefer\[torch\]'"):
        pytorch.from_exported_program(program, source=path)


@pytest.mark.parametrize(
    ("model", "old", "new", "code", "expected"),
    [
        ("two-inputs", "", "", 4, "takes 2 inputs; a classifier takes one image, a tensor"),
        ("tiny", '"anger", ', "", 4, "has 8 outputs, but 7 labels are given for it"),
        ("tiny", "input_size = 32", "input_size = 48", 4,
         "takes 32x32 pixels of 3 channels, but its spec file says 48x48 of 3"),
        ("tiny", "input_size = 32", "input_size = 32\nchannels = 1", 4,
         "takes 32x32 pixels of 3 channels, but its spec file says 32x32 of 1"),
    ],
)  # fmt: skip
def test_a_program_and_a_spec_that_do_not_fit_are_told_before_the_conversion(
    tmp_path: Path, model: str, old: str, new: str, code: int, expected: str
) -> None:
    path = GOLDEN / f"{model}.pt2"
    spec = spec_file(tmp_path, SPEC_FILE.replace(old, new, 1))
    ended = edgefer("convert", path, "--int8", "--spec", spec, "--output", tmp_path)
    assert (ended.code, ended.out) == (code, "")
    assert errors(ended.err) == [f"edgefer: error: {path}: {expected}"]
    assert [found.name for found in tmp_path.iterdir()] == ["model.toml"]


def test_a_program_without_a_spec_says_which_options_it_needs(tmp_path: Path) -> None:
    path = GOLDEN / "tiny.pt2"
    ended = edgefer("convert", path, "--int8", "--output", tmp_path)
    assert ended.code == 2
    assert errors(ended.err) == [
        f"edgefer: error: {path} does not say how to feed it: give --labels and --mean and --std"
    ]


def test_a_spec_file_serves_a_float_tflite_too(tmp_path: Path) -> None:
    path = Path(__file__).parent / "golden" / "tflite" / "float32.tflite"
    text = SPEC_FILE.replace(json.dumps(ALPHABETICAL_8), '["a", "b", "c", "d"]')
    spec = spec_file(tmp_path, text.replace("input_size = 32", "input_size = 16"))
    options = ("--float16", "--no-evaluate", "--spec", spec, "--output", tmp_path)
    ended = edgefer("convert", path, *options)
    assert ended.code == 0, ended.err
    (made,) = tmp_path.glob("*.tflite")
    found = metadata.read(made).spec
    assert found is not None
    assert (found.name, found.labels) == ("their model", ("a", "b", "c", "d"))


def test_a_checkpoint_that_describes_itself_takes_no_spec_file(tmp_path: Path) -> None:
    ended = edgefer("convert", "--int8", "--spec", spec_file(tmp_path), "--output", tmp_path)
    assert ended.code == 2
    path = bundled.models()[bundled.DEFAULT]
    assert errors(ended.err) == [
        f"edgefer: error: --spec is for models that do not describe themselves; {path} does"
    ]
