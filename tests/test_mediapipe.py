"""A client that is not edgefer's loads its models by their metadata, and gives the same answers.

MediaPipe cannot be among the extras: it needs opencv-contrib-python, whose files overwrite those
of opencv-python-headless. Its ImageClassifier needs neither, so that the tests install it alone,
into a folder of their own: 130 MB, a few seconds.
"""

import ctypes.util
import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
import test_arbex

from edgefer import calibration_data, metadata, runtime
from edgefer.converters import conversion, float_model, graph
from edgefer.converters.recipes import FLOAT32, INT8, IoType
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.inspection import inspect
from edgefer.models import bundled, checkpoints
from edgefer.models.arbex.network import Balancing
from edgefer.models.contract import StatedContract
from edgefer.models.spec import ColourOrder, ModelSpec

pytestmark = pytest.mark.slow

MEDIAPIPE = "mediapipe==1.2.2"
CLIENT = Path(__file__).parent / "mediapipe_client.py"
FACES = 100

UINT8 = dataclasses.replace(INT8, input_type=IoType.UINT8, output_type=IoType.UINT8)
FLOAT_ENDS = dataclasses.replace(INT8, input_type=IoType.FLOAT32, output_type=IoType.FLOAT32)
FLAVOURS = {"uint8": UINT8, "int8-float32": FLOAT_ENDS, "float32": FLOAT32}

NETWORKS = ("patt-lite", "lanmsff")
MOST_STEPS = 1
"""How far apart int8 answers may be, in 1/256."""

Answers = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def mediapipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with MediaPipe in it."""
    if not all(map(ctypes.util.find_library, ("EGL", "GLESv2"))) and "CI" not in os.environ:
        pytest.skip("MediaPipe needs libEGL and libGLESv2; see .ci/apt-packages.txt")
    folder = tmp_path_factory.mktemp("mediapipe")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", folder, MEDIAPIPE], check=True)
    return folder


def answers(mediapipe: Path, folder: Path) -> Answers:
    """Return what MediaPipe says of the models in a folder and their pictures."""
    ended = subprocess.run(
        [sys.executable, CLIENT, folder],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(mediapipe)},
        check=True,
        timeout=500,
    )
    found: Answers = json.loads(ended.stdout)
    return found


def with_pictures(folder: Path, name: str, tflite: bytes, count: int) -> None:
    """Write a model, and evaluation faces of its input's size: MediaPipe has nothing to resize."""
    path = folder / f"{name}.tflite"
    path.write_bytes(tflite)
    side = graph.read(tflite).tensors[graph.read(tflite).inputs[0]].shape[1]
    seen = ModelSpec(name="pictures", labels=("a", "b"), input_size=side)
    faces = calibration_data.evaluation_faces().spread(count)
    np.save(path.with_suffix(".npy"), np.stack([to_pixels(face, seen) for face in faces.images]))


def require_same_answers(folder: Path, name: str, answer: dict[str, Any], steps: int) -> None:
    """Hold MediaPipe's answers against those of edgefer's own runtime."""
    path = folder / f"{name}.tflite"
    spec = metadata.read_spec(path)
    assert spec is not None
    assert answer.get("labels") == list(spec.labels), answer
    model = runtime.open_model(path)
    ours = model.probabilities(normalise(np.load(path.with_suffix(".npy")), spec))
    theirs = np.array(answer["scores"])
    assert len(ours) == len(theirs) == FACES
    np.testing.assert_array_equal(theirs.argmax(axis=1), ours.argmax(axis=1))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=steps / 256 + 1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_mediapipe_gives_the_same_answers(network: str, mediapipe: Path, tmp_path: Path) -> None:
    checkpoint = checkpoints.load(bundled.models()[network])
    float32 = float_model.from_keras(checkpoint.build(batch_size=1))
    faces = calibration_data.calibration_faces().spread(16)
    for name, recipe in FLAVOURS.items():
        tflite = conversion.convert(float32, checkpoint.spec, recipe, faces).tflite
        with_pictures(tmp_path, name, tflite, FACES)
    found = answers(mediapipe, tmp_path)
    for name, recipe in FLAVOURS.items():
        steps = 0 if recipe is FLOAT32 else MOST_STEPS
        require_same_answers(tmp_path, name, found[name], steps)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")
def test_mediapipe_gives_the_same_answers_as_arbex(mediapipe: Path, tmp_path: Path) -> None:
    """With weights that its own tests take from a seed, for half the side."""
    network, weights = test_arbex.trained("first", Balancing.BATCH)
    deployed, folded = dataclasses.replace(network, input_size=112).deployable(weights)
    model = deployed.build()
    checkpoints.set_weights(model, folded, source="first")
    float32 = float_model.from_keras(model)
    faces = calibration_data.calibration_faces().spread(8)
    plain = dataclasses.replace(UINT8, bias_correction=False)
    for name, recipe in {"uint8": plain, "float32": FLOAT32}.items():
        tflite = conversion.convert(float32, deployed.spec(), recipe, faces).tflite
        with_pictures(tmp_path, name, tflite, FACES)
    found = answers(mediapipe, tmp_path)
    require_same_answers(tmp_path, "float32", found["float32"], 0)
    require_same_answers(tmp_path, "uint8", found["uint8"], 1)


def variants() -> dict[str, bytes]:
    """Return models that MediaPipe takes, and for each reason one that it does not."""
    spec, faces = small_models.SPEC, small_models.faces(16)
    found = {}
    for given, taken in itertools.product(IoType, IoType):
        recipe = dataclasses.replace(UINT8, input_type=given, output_type=taken)
        made = conversion.convert(small_models.small(), spec, recipe, faces)
        found[f"{given}-{taken}"] = made.tflite
    uint8 = found["uint8-uint8"]
    float32 = metadata.write(small_models.small(), spec, {})
    uneven = dataclasses.replace(spec, mean=(120.0, 127.5, 127.5))
    gray = dataclasses.replace(
        spec, channels=1, colour_order=ColourOrder.GRAY, mean=(127.5,), std=(127.5,)
    )
    return found | {
        "uneven-float32": metadata.write(float32, uneven, {}),
        "uneven-uint8": metadata.write(uint8, uneven, {}),
        "bare-float32": small_models.patched(float32, without_metadata),
        "bare-uint8": small_models.patched(uint8, without_metadata),
        "lost-labels": small_models.patched(uint8, lambda _model: None),
        "few-labels": metadata.write(uint8, dataclasses.replace(spec, labels=spec.labels[:5]), {}),
        "gray": metadata.write(gray_model(), gray, {}),
    }


def without_metadata(model: Any) -> None:
    model.metadata = []


def gray_model() -> bytes:
    """Return a classifier of gray images, with the small model's sizes."""
    from keras import Input, Model, layers

    side, classes = small_models.SIDE, len(small_models.SPEC.labels)
    image = Input((side, side, 1), batch_size=1)
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, strides=8)(image))
    head = layers.Dense(classes, activation="softmax")
    return float_model.from_keras(Model(image, head(features)))


def test_inspect_knows_what_mediapipe_takes(mediapipe: Path, tmp_path: Path) -> None:
    for name, tflite in variants().items():
        with_pictures(tmp_path, name, tflite, 1)
    found = answers(mediapipe, tmp_path)
    faces = calibration_data.evaluation_faces().spread(16)
    for name, answer in found.items():
        said = inspect(tmp_path / f"{name}.tflite", StatedContract(), faces).mediapipe_obstacle
        assert ("error" in answer) == (said is not None), (name, said, answer.get("error"))
    taken = {name for name, answer in found.items() if "error" not in answer}
    assert taken == {
        *("uint8-uint8", "uint8-float32", "float32-uint8", "float32-float32"),
        *("uneven-uint8", "bare-uint8"),
    }
