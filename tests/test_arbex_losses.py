"""ARBEx's losses, held against the authors' (golden/arbex), and a few steps of its training."""

from dataclasses import replace
from pathlib import Path

import arbex_states
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from edgefer.data.faces import LabelledFaces
from edgefer.errors import ModelError
from edgefer.models import checkpoints
from edgefer.models.arbex import balancing, losses, training
from edgefer.models.arbex.network import Arbex
from edgefer.training.fit import fit
from edgefer.training.recipes import Parts, Schedule, Stage
from edgefer.training.records import TrainingProgress

Float32Array = npt.NDArray[np.float32]

LABELS = ("anger", "happiness", "neutral")
STAGE = Stage(name="all", epochs=1, learning_rate=1e-3, schedule=Schedule.COSINE)


def golden(name: str) -> Float32Array:
    with np.load(arbex_states.GOLDEN / "golden.npz", allow_pickle=False) as file:
        return np.asarray(file[name])


def test_the_losses_equal_the_authors() -> None:
    anchors = arbex_states.state("anchors_three")["anchors"]
    own = np.arange(8)
    distances = balancing.distances(golden("embedding"), anchors.reshape(1, 24, -1))
    confidence = balancing.confidence(golden("second_probabilities_1"))
    target = np.eye(8, dtype=np.float32)
    found = [
        losses.likelihood(golden("second_balanced_1"), target, arbex_states.class_weights()[own]),
        losses.spread(anchors),
        losses.centering(distances, own, confidence, 3),
    ]
    np.testing.assert_allclose([float(x) for x in found], golden("second_losses"), rtol=1e-5)


def test_a_distribution_of_zeros_and_ones_is_certain() -> None:
    """Where PyTorch's logarithm of 0 would give no number."""
    certain = np.array([[0, 1, 0], [1 / 3, 1 / 3, 1 / 3]], np.float32)
    np.testing.assert_allclose(balancing.confidence(certain), [[1], [0]], atol=1e-6)
    np.testing.assert_allclose(balancing.doubt(certain), [[0], [1]], atol=1e-6)


def test_votes_without_confidence_give_a_distribution() -> None:
    uniform = np.full((1, 4), 0.25, np.float32)
    found = balancing.balanced(uniform, uniform, uniform, 1.0)
    assert np.isfinite(np.asarray(found)).all()


def faces(count: int = 6) -> LabelledFaces:
    return LabelledFaces(
        source="pictures",
        images=list(arbex_states.images()[:count, ::4, ::4]),
        labels=np.arange(count) % 3,
        class_names=LABELS,
        names=[str(number) for number in range(count)],
    )


def test_trust_and_the_anchors_losses_come_in_as_the_training_goes_on() -> None:
    network = Arbex(labels=LABELS, input_size=112)
    model = network.training_graph(STAGE)
    anchors = model.get_layer("anchors")
    anchors.anchors.assign(np.random.default_rng(0).normal(size=(3, 1, 768)))
    inputs = arbex_states.inputs()[:3, ::2, ::2]
    target, weight = np.eye(3, dtype=np.float32), np.ones(3, np.float32)
    before, _ = network.loss(model, inputs, target, weight, 0.0)
    assert float(model.get_layer("balancing").trust) == 0.0
    after, predicted = network.loss(model, inputs, target, weight, 1.0)
    assert float(model.get_layer("balancing").trust) == 1.0
    spread = float(losses.spread(anchors.anchors))
    assert float(after) < float(before) + spread / 2 < 0
    np.testing.assert_allclose(np.asarray(predicted).sum(axis=1), 1, atol=1e-5)


def test_backbones_learn_from_answers_of_their_own() -> None:
    """Landmarks only weigh what the attention takes from the image: little comes back to them."""
    network = Arbex(labels=LABELS, input_size=48)
    inputs = arbex_states.inputs()[:3, ::4, ::4][:, :48, :48]
    target, weight = np.eye(3, dtype=np.float32), np.ones(3, np.float32)
    heard = []
    for parts in (Parts.WHOLE, Parts.BOTH):
        model = network.training_graph(replace(STAGE, parts=parts))
        with tf.GradientTape() as tape:
            total, predicted = network.loss(model, inputs, target, weight, 0.0)
        assert predicted.shape == (3, 3)
        stem = model.get_layer("landmark_stem_conv").kernel
        heard.append(float(tf.norm(tape.gradient(total, stem.value))))
    assert heard[1] > 3 * heard[0]


def test_backbones_to_start_from_are_files_or_none(tmp_path: Path) -> None:
    for start in training.KIND.starts:
        assert start.read(start.default) == {}
        with pytest.raises(ModelError, match="does not exist; check the path"):
            start.read(str(tmp_path / "backbone.pth"))


@pytest.mark.slow
def test_a_training_keeps_weights_that_can_be_deployed(tmp_path: Path) -> None:
    """Two steps of the authors' recipe."""
    stage = replace(training.AUTHORS.stages[0], epochs=1)
    recipe = replace(training.AUTHORS, batch_size=3, stages=(stage,))
    network = Arbex(labels=LABELS, input_size=112)
    seen: list[TrainingProgress] = []
    fit(network, recipe, faces(), faces(3), tmp_path, progress=seen.append)
    assert [progress.step for progress in seen] == [1, 2]
    kept = checkpoints.deployable(checkpoints.load(tmp_path / "best.safetensors"))
    assert kept.weights["balancing/trust"] == pytest.approx(0.5)
    assert kept.network == replace(network, folded=True)
    answer = np.asarray(kept.build()(arbex_states.inputs()[:1, ::2, ::2]))
    np.testing.assert_allclose(answer.sum(), 1, atol=1e-5)
