"""The authors' ARBEx checkpoints through the commands, as a user runs them, and bad ones too."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import arbex_states
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch_saved
from commands import Ended, edgefer, errors

from edgefer import calibration_data, metadata, runtime
from edgefer.errors import ModelError
from edgefer.inspection import inspect
from edgefer.models import checkpoints
from edgefer.models.arbex.network import Arbex, Balancing
from edgefer.models.contract import StatedContract
from edgefer.models.formats import state_dicts

TORCH_GOLDEN = Path(__file__).parent / "golden" / "torch"

LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt")
STATED = ("--labels", ",".join(LABELS))

States = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the authors' script leaves in the folder of a run."""
    folder = tmp_path_factory.mktemp("run")
    for part in ("vit", "classifier", "anchors"):
        torch_saved.save(folder / f"{part}.best.0100.pth", arbex_states.state(part))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all parts, with the attention, as one state dict in a training's checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "model.pth"
    return torch_saved.save(path, all_parts(), inside="state_dict")


def all_parts() -> States:
    parts = ("vit", "classifier", "anchors", "attention")
    return {name: values for part in parts for name, values in arbex_states.state(part).items()}


def golden(name: str) -> npt.NDArray[np.float32]:
    with np.load(arbex_states.GOLDEN / "golden.npz", allow_pickle=False) as file:
        return np.asarray(file[name])


def small(**others: npt.NDArray[Any]) -> States:
    """Return what ARBEx's files are recognised by, and a classifier's last bias."""
    names = ("landmark.path_1.0.net.0.weight", "ir.input_layer.0.weight", "net.9.bias")
    return {**dict.fromkeys(names, np.ones(8, np.float32)), **others}


# Parts in files of their own


def test_parts_beside_each_other_are_one_state_dict(tmp_path: Path) -> None:
    for name in ("vit.0250", "classifier.0250", "anchors.0500", "other.0250"):
        torch_saved.save(tmp_path / f"{name}.pth", {name: np.ones(2, np.float32)})
    found = state_dicts.read_parts(tmp_path / "vit.0250.pth", ("vit", "classifier", "anchors"))
    assert list(found) == ["vit.0250", "classifier.0250"]
    alone = state_dicts.read_parts(tmp_path / "other.0250.pth", ("vit", "classifier"))
    assert list(alone) == ["other.0250"]


def test_an_array_in_two_parts_is_refused(tmp_path: Path) -> None:
    for part in ("vit", "classifier"):
        torch_saved.save(tmp_path / f"{part}.pth", {"net.0.bias": np.ones(2, np.float32)})
    with pytest.raises(ModelError, match=r"classifier.pth: holds net.0.bias, as a file beside it"):
        state_dicts.read_parts(tmp_path / "vit.pth", ("vit", "classifier"))


def test_an_optimizers_state_is_no_weights(tmp_path: Path) -> None:
    values = np.ones(2, np.float32)
    beside = {"vit.norm.bias": values, "optimizer.state.0.exp_avg": values}
    assert list(state_dicts.read(torch_saved.save(tmp_path / "a.pth", beside))) == ["vit.norm.bias"]
    wrapped = {"state_dict.conv.bias": values, "best_acc": np.ones((), np.float32)}
    assert list(state_dicts.read(torch_saved.save(tmp_path / "b.pth", wrapped))) == ["conv.bias"]


# What fits


def test_weights_in_half_precision_are_taken_as_they_are(tmp_path: Path) -> None:
    halves = {
        name: values if name.endswith("num_batches_tracked") else values.astype(np.float16)
        for name, values in all_parts().items()
    }
    found = checkpoints.read(torch_saved.save(tmp_path / "half.pth", halves), labels=LABELS)
    kernel = found.weights["hidden1/kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel.T, halves["net.0.weight"].astype(np.float32))


def test_what_the_balancing_lacks_travels_with_the_model() -> None:
    for balancing in (Balancing.BATCH, Balancing.SINGLE):
        assert Arbex(balancing=balancing).notes == ()
    for balancing in (Balancing.ANCHORS, Balancing.NONE):
        network = Arbex(balancing=balancing)
        (note,) = network.notes
        assert network.spec().description.endswith(f"; {note}")
        assert replace(network, folded=True).notes == (note,)


def test_the_files_of_a_run_are_evaluated_as_the_authors_code_does(
    run: Path, tmp_path: Path
) -> None:
    """Faces are labelled with what the authors' evaluation answers, so all of them are right."""
    answers = golden("first_evaluated_1").argmax(axis=1)
    for number, (image, answer) in enumerate(zip(arbex_states.images(), answers, strict=True)):
        folder = tmp_path / "faces" / LABELS[answer]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :, ::-1])
    files = run / "vit.best.0100.pth"
    ended = edgefer("evaluate", files, *STATED, "--data", tmp_path / "faces", "--json")
    assert ended.code == 0, ended.err
    (model,) = json.loads(ended.out)["models"]
    assert model["metrics"]["accuracy"]["value"] == 1.0


@pytest.mark.slow
def test_inspect_says_what_the_balancing_lacks_without_the_attention(run: Path) -> None:
    ended = edgefer("inspect", run / "vit.best.0100.pth", *STATED)
    assert (ended.code, errors(ended)) == (0, [])
    assert "checkpoint of arbex" in ended.out
    assert "anchors alone correct its answer, without the attention, as in its authors' " in (
        ended.out
    )
    assert "Not batch-coupled" in ended.out


@pytest.mark.slow
def test_attention_over_the_batch_is_measured_and_what_it_is_worth(whole: Path) -> None:
    faces = calibration_data.evaluation_faces().spread(16)
    found = inspect(whole, StatedContract(labels=LABELS), faces)
    assert found.made_by["options"]["balancing"] == Balancing.BATCH.value
    assert found.coupling.coupled
    assert found.coupling.largest_change is not None
    assert found.coupling.largest_change > 0.01
    assert found.batch_accuracy is not None
    assert found.batch_accuracy.faces == 16


@pytest.mark.slow
def test_convert_deploys_what_the_authors_network_is_for_one_face(
    whole: Path, tmp_path: Path
) -> None:
    ended = edgefer("convert", whole, *STATED, "--float32", "--no-evaluate", "--output", tmp_path)
    assert ended.code == 0, ended.err
    (warning,) = errors(ended)
    assert warning.startswith("warning: Batch-coupled: among other faces ")
    path = tmp_path / "model-float32.tflite"
    spec = metadata.read_spec(path)
    assert spec is not None
    assert spec.labels == LABELS
    model = runtime.open_model(path)
    theirs = Arbex().spec()
    pixels = arbex_states.inputs()[:3] * np.array(theirs.std) + np.array(theirs.mean)
    images = ((pixels - np.array(spec.mean)) / np.array(spec.std)).astype(np.float32)
    for position, image in enumerate(images):
        np.testing.assert_allclose(
            model.probabilities(image[None])[0],
            golden("first_balanced_1")[position],
            rtol=0,
            atol=2e-5,
        )


# What does not


def resnet() -> States:
    names = ("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "fc.weight")
    return dict.fromkeys(names, np.ones((4, 3), np.float32))


NO_CLASSIFIER = {name: values for name, values in small().items() if not name.startswith("net")}


@pytest.mark.parametrize("command", ["convert", "evaluate", "inspect"])
@pytest.mark.parametrize(
    ("states", "labels", "said"),
    [
        (
            resnet(),
            STATED,
            "is no ARBEx (no landmark.path_1.0.net.0.weight): it has conv1.weight, bn1.weight, "
            "bn1.bias (5 tensors in all)",
        ),
        (
            small(),
            (),
            "has 8 classes and does not name them: give --labels in the order of its training data",
        ),
        (small(), (*STATED[:1], "a,b,c"), "has 8 classes, but 3 labels were given"),
        (
            small(),
            ("--labels", "a,b,c,d,e,f,g,g"),
            "does not go with these options: a label stands twice",
        ),
        (
            NO_CLASSIFIER,
            STATED,
            "has no classifier (net.9.bias): its state dict has to be in the file, or beside "
            "vit.*.pth as classifier.*.pth, as the authors' script saves it",
        ),
    ],
    ids=[
        "another network",
        "no labels",
        "wrong number of classes",
        "a label twice",
        "no classifier",
    ],
)
def test_a_state_dict_that_does_not_fit_is_one_line(
    command: str, states: States, labels: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    path = torch_saved.save(tmp_path / "model.pth", states)
    require_refused(path, command, labels, said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "code",
            "has code in it, a call of posix.system; nothing was executed, ask its authors for a "
            "state dict",
        ),
        (
            "module",
            "has a whole module in it (__main__.Small), which only its own code can open; save "
            'its weights instead: torch.save(model.state_dict(), "weights.pth")',
        ),
        ("plain-pickle", "is a pickle, but none of torch.save; nothing was executed"),
    ],
)
def test_a_file_with_code_in_it_is_one_line(name: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes((TORCH_GOLDEN / f"{name}.pth").read_bytes())
    require_refused(path, "convert", STATED, said)


def test_a_file_of_two_gigabytes_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(2**31)
    said = (
        "has 2.0 GiB; a checkpoint of at most 1 GiB is read: save its weights instead: "
        'torch.save(model.state_dict(), "weights.pth")'
    )
    require_refused(path, "convert", STATED, said)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_one_line(value: float, tmp_path: Path) -> None:
    states = all_parts()
    states["conv.bias"] = np.full(256, value, np.float32)
    path = torch_saved.save(tmp_path / "model.pth", states)
    said = "does not fit ARBEx; NaN or infinite: conv.bias"
    require_refused(path, "convert", STATED, said)


def require_refused(path: Path, command: str, labels: tuple[str, ...], said: str) -> None:
    """Run a command where the file is alone; one line, exit 4, and it is alone afterwards."""
    precision = ("--int8",) if command == "convert" else ()
    ended = edgefer(command, path.name, *labels, *precision, cwd=path.parent)
    assert (ended.code, ended.out) == (4, "")
    assert errors(ended) == [f"edgefer: error: {path.name}: {said}"]
    assert list(path.parent.iterdir()) == [path]


# Backbones to start a training from


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a few faces, a folder a class."""
    root = tmp_path_factory.mktemp("faces")
    for number, image in enumerate(arbex_states.images()):
        folder = root / LABELS[number % 2]
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :, ::-1])
    return root


def train(faces: Path, output: Path, **backbones: Path) -> Ended:
    given = [part for name, path in backbones.items() for part in (f"--{name}", path)]
    options = ("--data", faces, "--output", output, "--input-size", 112, "--epochs", 1)
    return edgefer("train", "arbex", *options, *given)


@pytest.mark.parametrize("option", ["ir50", "mobilefacenet"])
def test_a_backbone_that_does_not_fit_is_one_line(option: str, faces: Path, tmp_path: Path) -> None:
    path = torch_saved.save(tmp_path / "backbone.pth", resnet())
    ended = train(faces, tmp_path / "run", **{option: path})
    assert ended.code == 4
    (line,) = errors(ended)
    branch = {"ir50": "ir.input_layer.0.weight", "mobilefacenet": "landmark.path_1.0.net.0.weight"}
    assert line.startswith(
        f"edgefer: error: {path}: does not fit ARBEx; missing: {branch[option]}, "
    )
    assert list(tmp_path.iterdir()) == [path]


def backbone_files(folder: Path) -> Mapping[str, Path]:
    """Write POSTER++'s backbones as it keeps them: bare, and in a training's checkpoint."""
    ir50, mobilefacenet = map(arbex_states.state, ("poster_ir50", "poster_mobilefacenet"))
    return {
        "ir50": torch_saved.save(folder / "ir50.pth", ir50),
        "mobilefacenet": torch_saved.save(
            folder / "mobilefacenet.pth.tar", mobilefacenet, inside="state_dict"
        ),
    }


@pytest.mark.slow
def test_a_training_starts_from_both_backbones(faces: Path, tmp_path: Path) -> None:
    ended = train(faces, tmp_path / "run", **backbone_files(tmp_path))
    assert ended.code == 0, ended.err
    found = checkpoints.load(tmp_path / "run" / "best.safetensors")
    assert found.spec.labels == ("anger", "neutral")
    slopes = arbex_states.state("poster_ir50")["input_layer.2.weight"]
    np.testing.assert_allclose(found.weights["ir_stem_prelu/alpha"].ravel(), slopes, atol=0.01)
