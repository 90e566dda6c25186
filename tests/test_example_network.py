"""The network that docs/adding-a-network.md is about, through the commands like any other."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import small_models
from click.testing import CliRunner, Result

from edgefer.cli import train as train_command
from edgefer.cli.group import cli
from edgefer.converters import float_model, graph
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.errors import UsageError
from edgefer.models import checkpoints, networks

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DOCS = Path(__file__).parents[1] / "docs"
NAME = "mini-xception"
LABELS = ALPHABETICAL_8[:3]


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """Import the example, and put it where a contributor does."""
    spec = importlib.util.spec_from_file_location(
        "mini_xception", DOCS / "example_network" / "mini_xception.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "NETWORKS", {**networks.NETWORKS, NAME: module.KIND})
        command = train_command.network_command(NAME, module.KIND)
        patch.setitem(train_command.command.commands, NAME, command)
        yield module
    del sys.modules[spec.name]


def write_faces(folder: Path, seed: int) -> Path:
    """Make a folder a class, whose images a network can tell apart."""
    for row, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for number, noise in enumerate(small_models.pixels(20, 48, seed=10 * seed + row)):
            image = noise // 4 + 90 * row
            cv2.imwrite(str(folder / label / f"{number}.png"), image)
    return folder


def edgefer(*arguments: object) -> Result:
    """Run a command in this process, where the example is known."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_it_trains_converts_and_is_evaluated_like_any_other(
    example: ModuleType, tmp_path: Path
) -> None:
    faces, others = (write_faces(tmp_path / f"faces{seed}", seed) for seed in (1, 2))
    run, best = tmp_path / "run", tmp_path / "run" / "best.safetensors"
    size = ("--input-size", 48)
    ended = edgefer("train", NAME, "--data", faces, "--output", run, "--epochs", 40, *size)
    assert ended.exit_code == 0, ended.output
    network = example.MiniXception(labels=LABELS, input_size=48)
    assert checkpoints.read(best).network == network
    data = ("--calibration", faces, "--data", others)
    ended = edgefer("convert", best, "--int8", "--output", tmp_path, *data, "--json")
    assert ended.exit_code == 0, ended.output
    delivered = json.loads(ended.stdout)
    assert (tmp_path / delivered["models"][0]["file"]).stat().st_size < 150_000
    for model in delivered["evaluation"]["models"]:
        assert model["metrics"]["accuracy"]["value"] > 0.9, model["name"]


def test_its_graph_is_the_papers(example: ModuleType) -> None:
    """As the authors' summary counts it: 58,423 parameters for 7 classes of 64x64 images."""
    network = example.MiniXception(labels=ALPHABETICAL_8[:7])
    weights = checkpoints.named_weights(network.build())
    assert sum(values.size for values in weights.values()) == 58_423
    answer = network.build()(np.zeros((1, 64, 64, 1), np.float32))
    np.testing.assert_allclose(np.sum(answer), 1, atol=1e-6)


def test_batch_norms_and_activations_leave_no_operator(example: ModuleType) -> None:
    content = graph.read(float_model.from_keras(example.MiniXception().build()))
    kinds = {operator.kind for operator in content.operators}
    assert kinds == {"CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "ADD", "MEAN", "SOFTMAX"}


def test_its_options_are_options_of_train(example: ModuleType) -> None:
    ended = edgefer("train", NAME, "--help")
    assert ended.exit_code == 0
    assert f"Train {example.MiniXception.title} on labelled faces" in ended.output
    assert re.search(r"--input-size INTEGER\s+In pixels\.\s+\[default: 64\]", ended.output)


def test_what_it_cannot_be_is_one_line(example: ModuleType, tmp_path: Path) -> None:
    faces, run = write_faces(tmp_path / "faces", 1), tmp_path / "run"
    ended = edgefer("train", NAME, "--data", faces, "--output", run, "--input-size", 16)
    assert isinstance(ended.exception, UsageError)
    assert str(ended.exception) == "input_size 16 is outside 48…512"
    assert not run.exists()
    with pytest.raises(ValueError, match="mini-Xception has no option depth"):
        example.MiniXception.from_dict({"depth": 3})


def test_every_file_that_the_guide_names_is_there() -> None:
    text = (DOCS / "adding-a-network.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
