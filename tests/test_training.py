"""Training: what a step sees, and that a killed run goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import ALPHABETICAL_8, FERPLUS_VOTES
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.errors import ModelError, UsageError
from edgefer.models import checkpoints
from edgefer.models.patt_lite import PattLite
from edgefer.training import starting_weights
from edgefer.training.augmentation import batch_inputs
from edgefer.training.fit import BEST_FILE, LOG_FILE, STATE_FILE, fit
from edgefer.training.recipes import (
    AUTHORS,
    SOFT,
    Augmentation,
    Recipe,
    Schedule,
    Stage,
    learning_rate,
)
from edgefer.training.targets import balanced_weights, targets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

UNCHANGED = Augmentation(flip=False)
TINY = PattLite(input_size=48)
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


def run(folder: Path, recipe: Recipe = QUICK, *, resume: bool = False) -> None:
    fit(TINY, recipe, blobs(64, 1), blobs(16, 2), folder, resume=resume)


def test_without_ranges_augmentation_is_the_preprocessing_of_every_other_command() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    spec = PattLite(input_size=112).spec()
    seen = batch_inputs([image], spec, UNCHANGED, np.random.default_rng(0))[0]
    expected = normalise(to_pixels(image, spec), spec)
    assert np.abs(seen - expected).max() < 2.5 / 127.5  # warpAffine interpolates in fixed point


def test_a_flip_mirrors_the_face_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    spec = TINY.spec()
    seen = batch_inputs([image] * 32, spec, Augmentation(flip=True), np.random.default_rng(3))
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


def test_the_same_generator_gives_the_same_batch() -> None:
    images = blobs(4, 0).images
    first, second = (
        batch_inputs(images, TINY.spec(), SOFT.augmentation, np.random.default_rng([1, 2]))
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
    recipe = replace(QUICK, augmentation=UNCHANGED, ema_decay=0.0)
    recipe = replace(recipe, stages=(replace(recipe.stages[1], epochs=8, warmup_epochs=0.5),))
    result = fit(TINY, recipe, blobs(128, 1), blobs(32, 2), tmp_path, initial=lively_backbone())
    assert result.records[-1].loss < result.records[0].loss * 0.8
    assert len((tmp_path / LOG_FILE).read_text().splitlines()) == 9
    loaded = checkpoints.load(result.checkpoint)
    assert loaded.network == TINY
    assert result.best_validation_accuracy == max(r.validation_accuracy for r in result.records)


def test_an_existing_state_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UsageError, match="belongs to another training"):
        run(tmp_path, replace(QUICK, seed=5), resume=True)


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
    here.run(Path(sys.argv[1]), resume=True)
    """
)


def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    (tmp_path / "tests_training.py").write_text(Path(__file__).read_text())
    script = tmp_path / "killable.py"
    script.write_text(KILLABLE)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([sys.executable, script, whole], check=True, cwd=tmp_path)
    process = subprocess.Popen([sys.executable, script, broken], cwd=tmp_path)
    deadline = time.monotonic() + 240
    while not (broken / LOG_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    assert process.poll() is None, "the training ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([sys.executable, script, broken], check=True, cwd=tmp_path)
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
