"""ARBEx's graphs, held against what the authors' PyTorch code computes.

The golden files, their README and the script that makes them are in golden/arbex; the weights and
images come from arbex_states.
"""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import arbex_states
import numpy as np
import numpy.typing as npt
import pytest

from edgefer import runtime
from edgefer.converters import cost, float_model, graph
from edgefer.data.labels import CLASS_ORDERS
from edgefer.models import batch_coupling, checkpoints
from edgefer.models.arbex import importing
from edgefer.models.arbex.folding import MOST_DEVIATIONS
from edgefer.models.arbex.network import Arbex, Balancing
from edgefer.training.recipes import Parts, Schedule, Stage

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # Keras warns of the attention over a batch of one.
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

Float32Array = npt.NDArray[np.float32]
Weights = dict[str, Float32Array]

HEADS = {
    "first": (("classifier", "anchors"), (1.0, 1.0), 1.0),
    "second": (("classifier_plain", "anchors_three"), (1.7, 2.5), 0.6),
}
"""State dicts, temperature and delta, and trust of the golden files' two heads."""


@cache
def golden() -> dict[str, Float32Array]:
    with np.load(arbex_states.GOLDEN / "golden.npz", allow_pickle=False) as file:
        return dict(file)


@cache
def vit() -> Weights:
    return arbex_states.state("vit")


def states(*parts: str) -> Weights:
    return {**vit(), **{k: v for part in parts for k, v in arbex_states.state(part).items()}}


@cache
def trained(head: str, balancing: Balancing) -> tuple[Arbex, Weights]:
    """Import the authors' state dicts with one of the heads."""
    (classifier, anchors), (temperature, delta), trust = HEADS[head]
    parts = [classifier]
    parts += [anchors] if balancing.has_anchors else []
    parts += ["attention"] if balancing is Balancing.BATCH else []
    found = states(*parts)
    network = importing.network(
        arbex_states.GOLDEN, found, labels=CLASS_ORDERS["Aff-Wild2"], input_size=None
    )
    assert network.balancing is balancing
    network = replace(network, temperature=temperature, delta=delta)
    shapes = checkpoints.expected_shapes(network.build())
    weights = importing.weights(arbex_states.GOLDEN, found, shapes)
    if balancing.has_anchors:
        weights["balancing/trust"] = np.array(trust, np.float32)
    return network, weights


@cache
def model_of(head: str, balancing: Balancing, *, deployed: bool = False) -> Any:
    network, weights = trained(head, balancing)
    if deployed:
        network, weights = network.deployable(weights)  # type: ignore[assignment]
    model = network.build(batch_size=None)
    checkpoints.set_weights(model, weights, source=head)
    return model


def answers(model: Any, images: Float32Array, batch: int = 1) -> Float32Array:
    groups = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([batch_coupling.keras_answers(model, group) for group in groups])


def inside(model: Any, *layers: str) -> Any:
    from keras import Model

    return Model(model.input, [model.get_layer(name).output for name in layers])


# What it computes


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("name", ["probabilities_1", "balanced_1", "evaluated_1", "balanced_8"])
def test_the_golden_answers_could_not_hide_a_difference(name: str, head: str) -> None:
    """Images differ from each other a hundred times as much as the tolerance."""
    found = golden()[f"{head}_{name}"]
    nearest = [np.delete(abs(found - row).max(axis=1), i).min() for i, row in enumerate(found)]
    assert min(nearest) > 0.01


def test_the_golden_answers_show_the_coupling() -> None:
    alone, two, eight = (golden()[f"first_balanced_{n}"] for n in (1, 2, 8))
    assert abs(two - alone).max() > 0.05
    assert abs(eight - alone).max() > 0.05


@pytest.mark.parametrize("head", list(HEADS))
def test_embedding_logits_and_answer_equal_the_authors_at_batch_1(head: str) -> None:
    cut = inside(model_of(head, Balancing.BATCH), "embedding", "classifier", "balancing")
    for position, image in enumerate(arbex_states.inputs()[:4]):
        embedding, logits, answer = (np.asarray(x)[0] for x in cut(image[None], training=False))
        wanted = golden()
        np.testing.assert_allclose(embedding, wanted["embedding"][position], rtol=0, atol=1e-4)
        np.testing.assert_allclose(logits, wanted[f"{head}_logits_1"][position], rtol=0, atol=1e-4)
        np.testing.assert_allclose(
            answer, wanted[f"{head}_balanced_1"][position], rtol=0, atol=2e-5
        )


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("head", list(HEADS))
def test_attention_over_the_batch_equals_the_authors(head: str, batch: int) -> None:
    found = answers(model_of(head, Balancing.BATCH), arbex_states.inputs(), batch)
    np.testing.assert_allclose(found, golden()[f"{head}_balanced_{batch}"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize(
    ("balancing", "name"), [(Balancing.ANCHORS, "evaluated_1"), (Balancing.NONE, "probabilities_1")]
)
def test_their_evaluations_variants_equal_theirs(
    balancing: Balancing, name: str, *, deployed: bool
) -> None:
    model = model_of("second", balancing, deployed=deployed)
    found = answers(model, arbex_states.inputs()[:2])
    np.testing.assert_allclose(found, golden()[f"second_{name}"][:2], rtol=0, atol=2e-5)


def test_the_maps_on_the_way_equal_the_authors() -> None:
    """Ours are turned by 180 degrees."""
    from keras import Model

    model = model_of("first", Balancing.BATCH)
    readers = {
        "landmark1": "landmark2_1_expand_conv",
        "landmark2": "landmark3_1_expand_conv",
        "landmark3": "landmark_reduce",
        "ir1": "ir2_1_bn1",
        "ir2": "ir3_1_bn1",
        "ir3": "scale3_conv",
        "attended1": "embed1_1",
        "attended2": "embed2",
        "attended3": "embed3",
    }
    maps = Model(model.input, {n: model.get_layer(layer).input for n, layer in readers.items()})
    for name, found in maps(arbex_states.inputs()[:1], training=False).items():
        wanted = golden()[f"map_{name}"]
        upright = np.asarray(found)[:, ::-1, ::-1, ::7].transpose(0, 3, 1, 2)
        step = upright.shape[2] // 7
        tolerance = 1e-5 * abs(wanted).max()
        np.testing.assert_allclose(
            upright[:, :, ::step, ::step], wanted, rtol=0, atol=tolerance, err_msg=name
        )


def test_the_smaller_input_is_what_is_seen_of_the_larger() -> None:
    network, weights = trained("first", Balancing.ANCHORS)
    small = replace(network, input_size=112)
    model = small.build()
    checkpoints.set_weights(model, weights, source="small")
    image = arbex_states.inputs()[:1]
    np.testing.assert_allclose(
        answers(model, image[:, ::2, ::2]), golden()["first_evaluated_1"][:1], rtol=0, atol=2e-5
    )


# What is deployed


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("head", list(HEADS))
def test_the_deployed_graph_equals_the_authors_at_batch_1(head: str, batch: int) -> None:
    """In a batch of eight as well: no image sees another."""
    model = model_of(head, Balancing.BATCH, deployed=True)
    images = arbex_states.inputs()
    found = answers(model, images, batch)
    np.testing.assert_allclose(found, golden()[f"{head}_balanced_1"], rtol=0, atol=2e-5)
    embedding = np.asarray(inside(model, "embedding")(images[:1], training=False))
    np.testing.assert_allclose(embedding.ravel(), golden()["embedding"][0], rtol=0, atol=1e-4)


def test_what_is_deployed_once_stays_as_it_is() -> None:
    network, weights = trained("first", Balancing.BATCH)
    deployed, folded = network.deployable(weights)
    assert (deployed.balancing, deployed.batch_coupled) == (Balancing.SINGLE, False)
    assert deployed.deployable(folded) == (deployed, folded)


@pytest.mark.parametrize("side", [48, 64])
def test_a_network_of_smaller_faces_is_deployed_exactly(side: int) -> None:
    """Its grid is of 3 or 4 positions, not of 7."""
    network = Arbex(input_size=side)
    random = np.random.default_rng(side)
    model = network.build(batch_size=None)
    weights = {
        key: values + random.normal(0, 0.1, values.shape).astype(np.float32)
        for key, values in checkpoints.named_weights(model).items()
        if not key.endswith("moving_variance")
    }
    weights = {**checkpoints.named_weights(model), **weights}
    checkpoints.set_weights(model, weights, source="seeded")
    deployed, folded = network.deployable(weights)
    smaller = deployed.build(batch_size=None)
    checkpoints.set_weights(smaller, folded, source="folded")
    faces = random.normal(size=(2, side, side, 3)).astype(np.float32)
    answers = np.asarray(model(faces))
    assert np.ptp(answers, axis=0).max() > 0.01
    np.testing.assert_allclose(np.asarray(smaller(faces)), answers, rtol=0, atol=2e-5)


def test_a_norm_that_leaves_out_a_channel_is_folded_too() -> None:
    """Vanished and negative scales before a zero-padded convolution; the border says it."""
    network, weights = trained("first", Balancing.NONE)
    changed = {key: values.copy() for key, values in weights.items()}
    for name in ("ir1_1_bn1", "ir1_3_bn1", "ir3_7_bn1"):
        changed[f"{name}/gamma"][:4] = (0.0, -0.5, 0.02, 1.0)
        changed[f"{name}/beta"][:4] = (0.0, 0.3, 1.5, -0.4)
    assert MOST_DEVIATIONS > 1.5 / 0.02
    found = []
    for form, values in ((network, changed), network.deployable(changed)):
        model = form.build()
        checkpoints.set_weights(model, values, source="changed")
        found.append(np.asarray(inside(model, "embedding")(arbex_states.inputs()[:1])).ravel())
    assert abs(found[0] - golden()["embedding"][0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_float_tflite_has_few_operators_and_equals_the_authors(tmp_path: Path) -> None:
    network, weights = trained("first", Balancing.BATCH)
    deployed, folded = network.deployable(weights)
    model = deployed.build()
    checkpoints.set_weights(model, folded, source="first")
    tflite = float_model.from_keras(model)
    path = tmp_path / "arbex.tflite"
    path.write_bytes(tflite)
    found = runtime.open_model(path).probabilities(arbex_states.inputs()[:1])
    np.testing.assert_allclose(found, golden()["first_balanced_1"][:1], rtol=0, atol=2e-5)
    content = graph.read(tflite)
    kinds = Counter(operator.kind for operator in content.operators)
    assert len(content.operators) < 400
    assert (kinds["PRELU"], kinds["GELU"], kinds["RSQRT"], kinds["SOFTMAX"]) == (55, 5, 11, 8)
    assert kinds["BATCH_MATMUL"] == 2 * (3 + 2)
    assert not kinds.keys() & {"GATHER", "RELU", "MEAN", "SQUARED_DIFFERENCE", "TRANSPOSE_CONV"}
    assert cost.multiply_accumulates(content) < 7.5e9


def test_pictures_of_half_the_size_need_no_other_weights() -> None:
    large, small = Arbex(), Arbex(input_size=112)
    assert checkpoints.expected_shapes(large.build()) == checkpoints.expected_shapes(small.build())


# Its configuration


def test_a_configuration_survives_json() -> None:
    network = Arbex(balancing=Balancing.ANCHORS, anchors=3, temperature=2.0, hidden_norm=False)
    assert Arbex.from_dict(network.to_dict()) == network


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_size": 128}, "input_size 128 is neither 224 nor a multiple of 16 from 48 to 112"),
        ({"input_size": 50}, "input_size 50 is neither 224 nor a multiple of 16 from 48 to 112"),
        ({"anchors": 0}, "0 anchors for a class is outside 1…1000"),
        ({"temperature": 0.0}, "temperature 0.0 is not positive"),
        ({"delta": float("nan")}, "delta nan is not positive"),
        (
            {"balancing": "batch", "folded": True},
            "attention over the batch cannot be folded",
        ),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Arbex.from_dict(options)


def test_pixels_are_normalised_as_the_authors_loader_does() -> None:
    spec = Arbex().spec()
    pixels = arbex_states.images()[0].astype(np.float32)
    ours = (pixels - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    np.testing.assert_allclose(ours, arbex_states.inputs()[0], rtol=0, atol=1e-5)


# What is trained

STAGE = Stage(
    name="all",
    epochs=1,
    learning_rate=1e-3,
    schedule=Schedule.COSINE,
    dropout=0.25,
    classifier_dropout=0.5,
    train_backbone=False,
)


def test_the_training_graph_has_the_inference_graphs_weights() -> None:
    network = Arbex(input_size=112)
    graphs = (network.training_graph(STAGE), network.build())
    trained_shapes, shapes = map(checkpoints.expected_shapes, graphs)
    assert trained_shapes == shapes


def test_a_frozen_backbone_is_left_alone() -> None:
    model = Arbex(input_size=112).training_graph(STAGE)
    trainable = {layer.name for layer in model.layers if layer.trainable_weights}
    assert not [name for name in trainable if name.startswith(("ir", "landmark"))]
    assert {"scale1_kv", "tokens", "anchors", "attention_single", "classifier"} <= trainable


def test_backbones_answers_of_their_own_are_only_trained() -> None:
    network = Arbex(input_size=48)
    model = network.training_graph(replace(STAGE, parts=Parts.BOTH))
    only_trained = {
        key.partition("/")[0]
        for key in checkpoints.expected_shapes(model).keys()
        - checkpoints.expected_shapes(network.build()).keys()
    }
    assert only_trained == {"auxiliary_ir", "auxiliary_landmark"}


def test_a_folded_network_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="a folded network cannot be trained"):
        Arbex(folded=True).training_graph(STAGE)
