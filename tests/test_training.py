"""Training: what a step sees, and that a killed run goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import ALPHABETICAL_8, FERPLUS_VOTES
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.errors import ModelError, UsageError
from edgefer.models import checkpoints
from edgefer.models.lanmsff.network import Lanmsff
from edgefer.models.lanmsff.training import AUTHORS as LANMSFF_AUTHORS
from edgefer.models.lanmsff.training import SOFT as LANMSFF_SOFT
from edgefer.models.network import Network
from edgefer.models.patt_lite.network import PattLite
from edgefer.models.patt_lite.training import AUTHORS, SOFT
from edgefer.models.spec import ColourOrder
from edgefer.training import starting_weights
from edgefer.training.augmentation import batch_inputs
from edgefer.training.fit import BEST_FILE, LOG_FILE, STATE_FILE, _Run, _score, fit
from edgefer.training.recipes import (
    Augmentation,
    Recipe,
    Schedule,
    Stage,
    Watched,
    learning_rate,
)
from edgefer.training.records import EpochRecord
from edgefer.training.targets import balanced_weights, targets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

UNCHANGED = Augmentation(flip=0)
TINY = PattLite(input_size=48)
SMALL_LANMSFF = Lanmsff(input_size=32)
QUICK = replace(
    SOFT,
    stages=(
        Stage(
            name="head",
            epochs=1,
            learning_rate=1e-3,
            schedule=Schedule.PLATEAU,
            train_backbone=False,
            dropout=0.2,
        ),
        replace(SOFT.stages[0], epochs=2, learning_rate=1e-3),
    ),
    batch_size=8,
)


def blobs(count: int, seed: int) -> LabelledFaces:
    """Gray squares whose class shows in where they are bright."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 8
    images = generator.integers(0, 90, (count, 48, 48), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[row * 24 : row * 24 + 24, column * 12 : column * 12 + 12] += 150
    return LabelledFaces(
        source="blobs",
        images=list(images),
        labels=labels.astype(np.int64),
        class_names=FERPLUS_VOTES[:8],
        names=[str(index) for index in range(count)],
    )


def lively_backbone() -> dict[str, npt.NDArray[np.float32]]:
    """Random kernels that keep the signal's variance: He et al. 2015."""
    generator = np.random.default_rng(0)
    weights = checkpoints.named_weights(TINY.build())
    kernels = {k: v for k, v in weights.items() if k.startswith("conv") and k.endswith("kernel")}
    return {
        key: generator.normal(
            0, (2 / (9 if "_dw_" in key else np.prod(kernel.shape[:3]))) ** 0.5, kernel.shape
        ).astype(np.float32)
        for key, kernel in kernels.items()
    }


def run(
    folder: Path, recipe: Recipe = QUICK, network: Network = TINY, *, resume: bool = False
) -> None:
    fit(network, recipe, blobs(64, 1), blobs(16, 2), folder, resume=resume)


def run_lanmsff(folder: Path) -> None:
    """Train a small LANMSFF with all that a state has to hold: dropout, statistics, averages."""
    recipe = replace(LANMSFF_SOFT, batch_size=8)
    recipe = replace(recipe, stages=(replace(recipe.stages[0], epochs=2),))
    run(folder, recipe, SMALL_LANMSFF, resume=True)


def test_without_ranges_augmentation_is_the_preprocessing_of_every_other_command() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    spec = PattLite(input_size=112).spec()
    seen = batch_inputs([image], spec, [UNCHANGED], np.random.default_rng(0))[0]
    expected = normalise(to_pixels(image, spec), spec)
    assert np.abs(seen - expected).max() < 2.5 / 127.5  # warpAffine interpolates in fixed point


def test_a_flip_mirrors_the_face_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    spec = TINY.spec()
    seen = batch_inputs([image] * 32, spec, [Augmentation()] * 32, np.random.default_rng(3))
    plain, mirrored = normalise(image, spec), normalise(image[:, ::-1], spec)
    kinds = {
        "plain" if np.allclose(one, plain, atol=0.02) else "mirrored"
        for one in seen
        if np.allclose(one, plain, atol=0.02) or np.allclose(one, mirrored, atol=0.02)
    }
    assert kinds == {"plain", "mirrored"}
    assert all(
        np.allclose(one, plain, atol=0.02) or np.allclose(one, mirrored, atol=0.02) for one in seen
    )


def test_every_image_is_changed_in_its_own_way() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    spec = TINY.spec()
    ways = [UNCHANGED, Augmentation(flip=1)]
    plain, mirrored = batch_inputs([image] * 2, spec, ways, np.random.default_rng(0))
    np.testing.assert_allclose(plain, mirrored[:, ::-1], atol=0.02)
    assert abs(plain - mirrored).max() > 0.5


def test_magnifying_shows_the_middle_of_a_face() -> None:
    """As the authors of LANMSFF crop: 72 pixels a side, of which the middle 64 are kept."""
    image = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (64, 1))
    spec = Lanmsff().spec()
    ways = [Augmentation(flip=0, magnify=72 / 64)]
    (seen,) = batch_inputs([image], spec, ways, np.random.default_rng(0))
    enlarged = cv2.resize(image, (72, 72), interpolation=cv2.INTER_LINEAR)[4:68, 4:68]
    np.testing.assert_allclose(seen[2:-2, 2:-2, 0], enlarged[2:-2, 2:-2], atol=1.5)


def test_a_gray_network_is_trained_on_colours_as_gray() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    spec = Lanmsff(colour_order=ColourOrder.GRAY).spec()
    (seen,) = batch_inputs([colours], spec, [UNCHANGED], np.random.default_rng(0))
    np.testing.assert_allclose(seen, to_pixels(colours, spec), atol=1)


def test_the_same_generator_gives_the_same_batch() -> None:
    images = blobs(4, 0).images
    first, second = (
        batch_inputs(images, TINY.spec(), SOFT.augmentations * 4, np.random.default_rng([1, 2]))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_targets_follow_the_labels_names_into_the_networks_order() -> None:
    faces = blobs(8, 0)
    expected = [ALPHABETICAL_8.index(FERPLUS_VOTES[label]) for label in faces.labels]
    assert targets(faces, ALPHABETICAL_8, soft=True).argmax(axis=1).tolist() == expected


def test_votes_become_soft_targets() -> None:
    votes = np.tile(np.array([0.5, 0.25, 0.25, 0, 0, 0, 0, 0], np.float32), (8, 1))
    soft = targets(replace(blobs(8, 0), votes=votes), ALPHABETICAL_8, soft=True)
    assert soft[0, ALPHABETICAL_8.index("neutral")] == 0.5
    assert soft[0, ALPHABETICAL_8.index("surprise")] == 0.25
    np.testing.assert_allclose(soft.sum(axis=1), 1)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    """Golden: sklearn.utils.class_weight.compute_class_weight("balanced", ...)."""
    weights = balanced_weights(np.array([0, 0, 0, 1, 2, 2]), 3)
    np.testing.assert_allclose(weights, [2 / 3, 2.0, 1.0], rtol=1e-6)


def test_cosine_warms_up_and_ends_at_zero() -> None:
    stage = replace(SOFT.stages[0], epochs=10, warmup_epochs=1, learning_rate=1.0)
    assert learning_rate(stage, 0.5, 1.0) == pytest.approx(0.5, abs=0.01)
    assert learning_rate(stage, 1.0, 1.0) == pytest.approx(1.0)
    assert learning_rate(stage, 5.5, 1.0) == pytest.approx(0.5)
    assert learning_rate(stage, 10, 1.0) == pytest.approx(0.0)


def test_the_authors_second_stage_decays_by_the_epoch() -> None:
    """Golden: keras.optimizers.schedules.InverseTimeDecay(1e-5, 80.0, 1)(epoch) at 0, 40, 80."""
    stage = AUTHORS.stages[1]
    rates = [learning_rate(stage, epoch, 1.0) for epoch in (0, 40, 80)]
    assert rates == pytest.approx([1e-5, 6.6666665e-6, 5e-6])


def test_training_learns_and_leaves_a_log_and_the_best_weights(tmp_path: Path) -> None:
    recipe = replace(QUICK, augmentations=(UNCHANGED,), ema_decay=0.0)
    recipe = replace(recipe, stages=(replace(recipe.stages[1], epochs=8, warmup_epochs=0.5),))
    result = fit(TINY, recipe, blobs(128, 1), blobs(32, 2), tmp_path, initial=lively_backbone())
    assert result.records[-1].loss < result.records[0].loss * 0.8
    assert len((tmp_path / LOG_FILE).read_text().splitlines()) == 9
    loaded = checkpoints.load(result.checkpoint)
    assert loaded.network == TINY
    assert result.best_validation_accuracy == max(r.validation_accuracy for r in result.records)


def test_each_face_is_shown_once_an_epoch_with_each_augmentation(tmp_path: Path) -> None:
    recipe = replace(QUICK, augmentations=(UNCHANGED, Augmentation(flip=1), UNCHANGED))
    running = _Run(TINY, recipe, blobs(64, 1), blobs(16, 2), tmp_path, TINY.spec(), None)
    shown = np.concatenate([rows for _, rows in running._batches()])
    assert running.steps == 24
    assert sorted(shown.tolist()) == list(range(3 * 64))


def record(**figures: float) -> EpochRecord:
    known = dict.fromkeys(("loss", "accuracy", "validation_loss", "validation_accuracy"), 0.0)
    return EpochRecord(stage="all", epoch=1, learning_rate=1.0, seconds=1.0, **{**known, **figures})


def test_the_authors_of_lanmsff_stop_by_the_validation_loss(tmp_path: Path) -> None:
    """Keras's ReduceLROnPlateau with a patience of 9, EarlyStopping with one of 14."""
    running = _Run(TINY, LANMSFF_AUTHORS, blobs(8, 1), blobs(8, 2), tmp_path, TINY.spec(), None)
    position, rates = running.position, []
    for epoch, loss in enumerate([1.0, 0.5, *[0.6] * 14]):
        position.epoch = epoch
        running._watch(record(validation_loss=loss, validation_accuracy=epoch / 100))
        position.epoch += 1
        rates.append(position.rate_scale)
        assert running._stage_stops() == (epoch == 15)
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 6)


def test_what_is_watched_is_higher_when_better() -> None:
    seen = record(accuracy=0.7, validation_loss=2.0, validation_accuracy=0.6)
    assert [_score(seen, watched) for watched in Watched] == [0.7, 0.6, -2.0]


def test_statistics_of_trained_batch_norms_are_averaged_with_the_weights(tmp_path: Path) -> None:
    for is_averaged in (True, False):
        recipe = replace(LANMSFF_SOFT, ema_statistics=is_averaged)
        faces = blobs(16, 1)
        running = _Run(SMALL_LANMSFF, recipe, faces, faces, tmp_path, SMALL_LANMSFF.spec(), None)
        running.start({})
        running.average[-1].assign(running.average[-1] + 1)
        weights = checkpoints.named_weights(running._averaged())
        current = checkpoints.named_weights(running.model)
        moved = {key for key in current if not np.array_equal(weights[key], current[key])}
        assert moved == {"block4_bn4/moving_variance" if is_averaged else "classifier/bias"}


def test_in_bfloat16_the_weights_stay_float32(tmp_path: Path) -> None:
    import keras

    recipe = replace(LANMSFF_SOFT, bfloat16=True)
    faces = blobs(16, 1)
    running = _Run(SMALL_LANMSFF, recipe, faces, faces, tmp_path, SMALL_LANMSFF.spec(), None)
    running.start({})
    assert {str(variable.dtype) for variable in running.model.trainable_variables} == {"float32"}
    assert running.model.get_layer("block3_conv1").compute_dtype == "bfloat16"
    assert running.model.outputs[0].dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_an_existing_state_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UsageError, match="belongs to another training"):
        run(tmp_path, replace(QUICK, seed=5), resume=True)


def test_a_state_of_another_version_is_refused_by_that_name(tmp_path: Path) -> None:
    header: dict[str, object] = {"identity": {}, "position": {}}  # as before states had a format
    np.savez(tmp_path / STATE_FILE, header=np.asarray(json.dumps(header)))
    with pytest.raises(UsageError, match="was written by another version of edgefer"):
        run(tmp_path, resume=True)


def test_a_damaged_state_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="is not a training state"):
        run(tmp_path, resume=True)


KILLABLE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import edgefer.training.fit as module
    import tests_training as here
    module.SAVE_INTERVAL_S = 0.0  # a state after every step
    getattr(here, sys.argv[2])(Path(sys.argv[1]))
    """
)


def run_patt_lite(folder: Path) -> None:
    run(folder, resume=True)


@pytest.mark.parametrize("training", ["run_patt_lite", "run_lanmsff"])
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
    training: str, tmp_path: Path
) -> None:
    (tmp_path / "tests_training.py").write_text(Path(__file__).read_text())
    script = tmp_path / "killable.py"
    script.write_text(KILLABLE)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([sys.executable, script, whole, training], check=True, cwd=tmp_path)
    process = subprocess.Popen([sys.executable, script, broken, training], cwd=tmp_path)
    deadline = time.monotonic() + 240
    while not (broken / LOG_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    assert process.poll() is None, "the training ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([sys.executable, script, broken, training], check=True, cwd=tmp_path)
    expected = np.load(whole / STATE_FILE)
    resumed = np.load(broken / STATE_FILE)
    for key in expected.files:
        if key != "header":
            np.testing.assert_array_equal(resumed[key], expected[key], err_msg=key)
    best = checkpoints.load(broken / BEST_FILE).weights
    for key, value in checkpoints.load(whole / BEST_FILE).weights.items():
        np.testing.assert_array_equal(best[key], value, err_msg=key)


def test_a_backbone_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ModelError, match="holds no MobileNetV1 weights"):
        starting_weights.backbone(str(path))
    with pytest.raises(ModelError, match="does not exist"):
        starting_weights.backbone(str(tmp_path / "absent.npz"))
