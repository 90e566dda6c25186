"""The authors' state dicts become ARBEx's weights, or one line says why not."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import arbex_states
import numpy as np
import numpy.typing as npt
import pytest

from edgefer.data.labels import CLASS_ORDERS
from edgefer.errors import ModelError
from edgefer.models import checkpoints
from edgefer.models.arbex import importing
from edgefer.models.arbex.network import Arbex, Balancing

SOURCE = Path("arbex.pth")
LABELS = CLASS_ORDERS["Aff-Wild2"]

Float32Array = npt.NDArray[np.float32]
States = dict[str, Float32Array]


@cache
def _parts() -> dict[str, States]:
    return {part: arbex_states.state(part) for part in arbex_states.shapes()}


def states(*parts: str) -> States:
    return {name: values for part in parts for name, values in _parts()[part].items()}


@cache
def shapes(network: Arbex) -> dict[str, tuple[int, ...]]:
    return checkpoints.expected_shapes(network.build(batch_size=None))


def imported(found: States) -> dict[str, Float32Array]:
    network = importing.network(SOURCE, found, labels=LABELS, input_size=None)
    return importing.weights(SOURCE, found, shapes(network))


def problem(found: States) -> str:
    with pytest.raises(ModelError) as caught:
        imported(found)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{SOURCE}: ")


# What is found in them


@pytest.mark.parametrize(
    ("parts", "balancing", "anchors", "hidden_norm"),
    [
        (("vit", "classifier", "anchors", "attention"), Balancing.BATCH, 1, True),
        (("vit", "classifier", "anchors"), Balancing.ANCHORS, 1, True),
        (("vit", "classifier_plain", "anchors_three"), Balancing.ANCHORS, 3, False),
        (("vit", "classifier"), Balancing.NONE, 1, True),
    ],
)
def test_the_parts_that_there_are_say_which_network_it_is(
    parts: tuple[str, ...], balancing: Balancing, anchors: int, *, hidden_norm: bool
) -> None:
    found = importing.network(SOURCE, states(*parts), labels=LABELS, input_size=None)
    assert found == Arbex(
        labels=LABELS,
        balancing=balancing,
        anchors=anchors,
        hidden_norm=hidden_norm,
    )


@pytest.mark.parametrize(
    "wrapped", ["{part}.{name}", "{part}.module.{name}", "module.{name}", "state_dict.{name}"]
)
def test_names_may_stand_behind_those_of_their_part(wrapped: str) -> None:
    parts = ("vit", "classifier", "anchors", "attention")
    found = {
        wrapped.format(part=part, name=name): values
        for part in parts
        for name, values in states(part).items()
    }
    assert importing.plain(SOURCE, found).keys() == states(*parts).keys()


def test_a_state_dict_is_recognised_by_its_backbones() -> None:
    assert importing.misfit(states("vit")) is None
    assert importing.misfit(states("poster_ir50")) == "no landmark.path_1.0.net.0.weight"


# What does not fit


def test_all_that_does_not_fit_is_listed() -> None:
    found = states("vit", "classifier")
    del found["vit.norm.weight"]
    found["vit.norm.scale"] = np.zeros(3, np.float32)
    found["conv.bias"] = np.zeros(4, np.float32)
    found["convs.0.bias"] = np.full(64, np.nan, np.float32)
    assert problem(found) == (
        "does not fit ARBEx; missing: vit.norm.weight; unexpected: vit.norm.scale; "
        "misshapen: conv.bias (4,) for (256,); NaN or infinite: convs.0.bias"
    )


def test_a_long_list_is_cut_short() -> None:
    said = problem({k: v for k, v in states("vit", "classifier").items() if "ir.net_3" not in k})
    assert "missing: ir.net_3.net.0.res.0.weight, " in said
    assert said.endswith(" more")


def test_a_state_without_a_classifier_asks_for_it() -> None:
    assert problem(states("vit")) == (
        "has no classifier (net.9.bias): its state dict has to be in the file, or beside vit.*.pth "
        "as classifier.*.pth, as the authors' script saves it"
    )


def test_integers_are_no_weights() -> None:
    found = states("vit", "classifier")
    found["conv.bias"] = np.zeros(256, np.int64)
    assert problem(found) == "does not fit ARBEx; no floats: conv.bias"


def test_two_states_of_one_part_are_refused() -> None:
    found = {**states("vit", "classifier"), "module.conv.bias": np.zeros(256, np.float32)}
    assert problem(found) == "holds conv.bias twice; give one state of each part"


@pytest.mark.parametrize("classes", [7, 8])
def test_the_labels_have_to_be_given_since_no_file_has_them(classes: int) -> None:
    """The authors' code calls the eighth class both other and contempt."""
    found = states("vit", "classifier")
    found["net.12.weight"] = np.ones((classes, 96), np.float32)
    found["net.12.bias"] = np.ones(classes, np.float32)
    with pytest.raises(ModelError, match=f"has {classes} classes and does not name them: give --l"):
        importing.network(SOURCE, found, labels=None, input_size=None)
    with pytest.raises(ModelError, match=f"has {classes} classes, but 4 labels were given"):
        importing.network(SOURCE, found, labels=LABELS[:4], input_size=None)


def test_anchors_and_attention_of_other_numbers_of_classes_are_misshapen() -> None:
    found = states("vit", "classifier", "anchors", "attention")
    found["anchors"] = found["anchors"][:7]
    found["V.bias"] = found["V.bias"][:7]
    assert problem(found) == (
        "does not fit ARBEx; misshapen: anchors (7, 1, 768) for (8, 1, 768), V.bias (7,) for (8,)"
    )


def test_anchors_of_no_class_are_refused() -> None:
    found = {**states("vit", "classifier"), "anchors": np.ones((8, 0, 768), np.float32)}
    assert problem(found) == "does not fit ARBEx: 0 anchors for a class is outside 1…1000"


# Backbones to start from


def as_theirs(branch: str) -> States:
    """Return a branch of the network's state dict as a file of its own."""
    start = f"{branch}."
    return {k.removeprefix(start): v for k, v in states("vit").items() if k.startswith(start)}


@pytest.mark.parametrize(
    ("branch", "read"),
    [("ir", importing.ir50), ("landmark", importing.mobilefacenet)],
)
def test_a_backbone_alone_is_the_same_as_in_the_network(
    branch: str, read: Callable[..., States]
) -> None:
    whole = imported(states("vit", "classifier"))
    found = read(SOURCE, as_theirs(branch), shapes(Arbex(input_size=112)))
    names = {name for name in whole if name.startswith(branch)} - {
        "landmark_reduce/kernel",
        "landmark_reduce/bias",
    }
    assert found.keys() == names
    for name in names:
        np.testing.assert_array_equal(found[name], whole[name])


@pytest.mark.parametrize(
    ("part", "read", "theirs", "ours"),
    [
        (
            "poster_ir50",
            importing.ir50,
            "body3.13.res_layer.2.weight",
            "ir3_14_prelu/alpha",
        ),
        (
            "poster_mobilefacenet",
            importing.mobilefacenet,
            "conv_4.model.5.conv_dw.prelu.weight",
            "landmark2_7_depthwise_prelu/alpha",
        ),
    ],
)
def test_posters_backbones_are_read_by_their_own_names(
    part: str, read: Callable[..., States], theirs: str, ours: str
) -> None:
    found = states(part)
    where = shapes(Arbex(input_size=112))
    placed = read(SOURCE, found, where)
    np.testing.assert_array_equal(placed[ours].ravel(), found[theirs])
    branch = "ir" if ours.startswith("ir") else "landmark"
    assert placed.keys() == read(SOURCE, as_theirs(branch), where).keys()


def test_arcfaces_blocks_are_numbered_on_over_all_stages() -> None:
    counts = (3, 4, 14)
    found = {}
    for name, values in states("poster_ir50").items():
        if name.startswith("body"):
            stage, number, rest = name.split(".", 2)
            place = sum(counts[: int(stage[4:]) - 1]) + int(number)
            found[f"body.{place}.{rest}"] = values
        else:
            found[name] = values
    where = shapes(Arbex(input_size=112))
    expected = importing.ir50(SOURCE, states("poster_ir50"), where)
    numbered = importing.ir50(SOURCE, found, where)
    assert numbered.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(numbered[name], values)
