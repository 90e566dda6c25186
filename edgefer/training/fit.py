"""A training loop that resumes exactly where it was killed.

The order of the faces and their augmentation follow from (seed, stage, epoch, step) alone, and
the state file holds all variables of the network and the optimizer, so that a resumed run
computes what an uninterrupted one would have.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import Float32Array, normalise, to_pixels
from edgefer.errors import DataError, ModelError, UsageError
from edgefer.files import replacing, write_text
from edgefer.models import checkpoints
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.network import Network, Weights
from edgefer.models.spec import ModelSpec
from edgefer.training.augmentation import batch_inputs
from edgefer.training.recipes import Recipe, Stage, Watched, learning_rate
from edgefer.training.records import EpochRecord, Position, TrainingProgress, TrainingResult
from edgefer.training.targets import balanced_weights, targets

if TYPE_CHECKING:
    import keras

STATE_FILE = "state.npz"
BEST_FILE = "best.safetensors"
LOG_FILE = "training.csv"
STATE_FORMAT = 2
SAVE_INTERVAL_S = 60.0
EVALUATION_BATCH = 64


def fit(
    network: Network,
    recipe: Recipe,
    training: LabelledFaces,
    validation: LabelledFaces,
    folder: Path,
    *,
    initial: Weights | None = None,
    resume: bool = False,
    training_data: str = "",
    licence: str = "",
    progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """Train `network` and keep the weights that validate best in `folder`.

    `initial` gives starting weights by name, for all layers or for some of them; what the network
    has no place for is left out. `training_data` and `licence` describe the weights to who uses
    them. With `resume` the folder's state is continued; a state of another recipe, network or
    dataset size, or of another version of edgefer, is a UsageError.
    """
    spec = network.spec(training_data=training_data, licence=licence)
    run = _Run(network, recipe, training, validation, folder, spec, progress)
    if resume and (folder / STATE_FILE).exists():
        run.restore()
    else:
        run.start(initial or {})
    while not run.position.finished:
        run.train_stage()
    records = tuple(EpochRecord(**record) for record in run.position.records)
    return TrainingResult(
        checkpoint=folder / BEST_FILE,
        records=records,
        best_validation_accuracy=run.position.best,
    )


class _Run:
    """One training: its variables, its position, and the files it keeps."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        training: LabelledFaces,
        validation: LabelledFaces,
        folder: Path,
        spec: ModelSpec,
        progress: Callable[[TrainingProgress], None] | None,
    ) -> None:
        if not len(training) or not len(validation):
            raise DataError(training.source, "has no faces to train or to validate on")
        self.network, self.recipe, self.folder, self.progress = network, recipe, folder, progress
        self.spec = spec
        self.images = training.images
        self.targets = targets(training, network.labels, soft=recipe.soft_labels)
        hard = targets(training, network.labels, soft=False).argmax(axis=1)
        self.hard = hard
        self.class_weights = (
            balanced_weights(hard, len(network.labels))
            if recipe.class_weights
            else np.ones(len(network.labels), np.float32)
        )
        self.validation_pixels = np.stack([to_pixels(i, self.spec) for i in validation.images])
        self.validation_labels = targets(validation, network.labels, soft=False).argmax(axis=1)
        self.position = Position()
        self.shown = len(self.images) * len(recipe.augmentations)
        self.steps = math.ceil(self.shown / recipe.batch_size)
        self.identity = {
            "network": network.to_dict(),
            "recipe": json.loads(json.dumps(asdict(recipe))),
            "faces": [len(training), len(validation)],
        }
        self.inference = network.build(batch_size=None)
        self.started = time.monotonic()
        self.steps_done_here = 0

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.position.stage]

    def start(self, initial: Weights) -> None:
        import keras

        keras.utils.set_random_seed(self.recipe.seed)
        self._build_stage()
        current = checkpoints.named_weights(self.model)
        if initial and not any(key in current for key in initial):
            raise ModelError("initial weights", "hold no layer of this network")
        checkpoints.set_weights(self.model, {**current, **initial}, source="initial weights")
        whole = checkpoints.named_weights(self.inference)
        checkpoints.set_weights(self.inference, {**whole, **initial}, source="initial weights")
        self._reset_average()

    def restore(self) -> None:
        import keras

        path = self.folder / STATE_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                arrays = {key: file[key] for key in file.files if key != "header"}
            if header.get("format") != STATE_FORMAT:
                raise UsageError(
                    f"{path} was written by another version of edgefer: finish it with that one, "
                    "choose another --output, or --force to start over"
                )
            if header["identity"] != self.identity:
                raise UsageError(
                    f"{path} belongs to another training (network, recipe or faces differ): "
                    "choose another --output, or --force to start over"
                )
            self.position = Position(**header["position"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ModelError(path, f"is not a training state: {exc}") from exc
        keras.utils.set_random_seed(self.recipe.seed)
        if self.position.finished:
            return
        self._build_stage()
        for name, variables in self._variables().items():
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{name}/{index}"])

    def train_stage(self) -> None:
        position = self.position
        while position.epoch < self.stage.epochs:
            self._train_epoch()
            if self._stage_stops():
                break
        weights = checkpoints.named_weights(self._averaged())
        if position.stage + 1 == len(self.recipe.stages):
            position.finished = True
        else:
            position.next_stage()
            self._build_stage()
            current = checkpoints.named_weights(self.model)
            checkpoints.set_weights(self.model, {**current, **weights}, source="last stage")
            self._reset_average()
        self._save()

    def _build_stage(self) -> None:
        import keras

        stage = self.stage
        with _precision(self.recipe):
            self.model = self.network.training_graph(stage)
        self.optimizer: Any = keras.optimizers.AdamW(
            stage.learning_rate,
            weight_decay=self.recipe.weight_decay,
            global_clipnorm=self.recipe.clip_norm,
        )
        # Only what multiplies many inputs decays: not biases, norms, scales, depthwise taps.
        self.optimizer.exclude_from_weight_decay(
            [v for v in self.model.trainable_variables if len(v.shape) < 2 or v.shape[-1] == 1]
        )
        self.optimizer.build(self.model.trainable_variables)
        self.followed = list(self.model.trainable_variables)
        if self.recipe.ema_statistics:
            rest = self.model.non_trainable_variables
            self.followed += [v for v in rest if v.name.startswith("moving_")]
        self.average = [keras.Variable(v, trainable=False) for v in self.followed]
        self.step_function = _compile_step(
            self.network, self.model, self.optimizer, self.average, self.followed
        )

    def _reset_average(self) -> None:
        for slow, fast in zip(self.average, self.followed, strict=True):
            slow.assign(fast)

    def _variables(self) -> dict[str, list[keras.Variable]]:
        return {
            "model": list(self.model.variables),
            "optimizer": list(self.optimizer.variables),
            "average": self.average,
        }

    def _train_epoch(self) -> None:
        position, started = self.position, time.monotonic()
        last_save = started
        before = position.seconds
        for step, shown in self._batches():
            rows = shown % len(self.images)
            generator = np.random.default_rng(
                [self.recipe.seed, position.stage, position.epoch, step]
            )
            inputs = batch_inputs(
                [self.images[row] for row in rows],
                self.spec,
                [self.recipe.augmentations[index] for index in shown // len(self.images)],
                generator,
            )
            position.updates += 1
            rate = learning_rate(
                self.stage, position.epoch + step / self.steps, position.rate_scale
            )
            self.optimizer.learning_rate.assign(rate)
            # A young average follows quickly: Tarvainen & Valpola 2017.
            decay = min(self.recipe.ema_decay, (1 + position.updates) / (10 + position.updates))
            loss, predicted = self.step_function(
                inputs,
                self.targets[rows],
                self.class_weights[self.hard[rows]],
                np.float32(decay if self.recipe.ema_decay else 0.0),
                np.float32(self._trained()),
            )
            position.loss_sum += float(loss) * len(rows)
            position.correct += int((predicted.numpy().argmax(axis=1) == self.hard[rows]).sum())
            position.step = step + 1
            self.steps_done_here += 1
            position.seconds = before + time.monotonic() - started
            self._report()
            if time.monotonic() - last_save > SAVE_INTERVAL_S:
                self._save()
                last_save = time.monotonic()
        self._close_epoch()

    def _trained(self) -> float:
        """Return the part of the training, stopped early or not, that is done."""
        position, stages = self.position, self.recipe.stages
        before = sum(stage.epochs for stage in stages[: position.stage])
        done = before + position.epoch + position.step / self.steps
        return done / sum(stage.epochs for stage in stages)

    def _batches(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield the epoch's steps from where it stands: the number, and what is shown.

        Each face is shown once with each augmentation: face + augmentation × faces.
        """
        position, size = self.position, self.recipe.batch_size
        seed = [self.recipe.seed, position.stage, position.epoch]
        order = np.random.default_rng(seed).permutation(self.shown)
        for step in range(position.step, self.steps):
            yield step, order[step * size : (step + 1) * size]

    def _close_epoch(self) -> None:
        position, count = self.position, self.shown
        model = self._averaged()
        probabilities = self._validate(model)
        truth = self.validation_labels
        accuracy = float((probabilities.argmax(axis=1) == truth).mean())
        chosen = probabilities[np.arange(len(truth)), truth]
        record = EpochRecord(
            stage=self.stage.name,
            epoch=position.epoch + 1,
            learning_rate=float(self.optimizer.learning_rate.numpy()),
            loss=position.loss_sum / count,
            accuracy=position.correct / count,
            validation_loss=float(-np.log(np.maximum(chosen, 1e-7)).mean()),
            validation_accuracy=accuracy,
            seconds=position.seconds,
        )
        position.records.append(asdict(record))
        if accuracy > position.best:
            position.best = accuracy
            self._save_best(model)
        self._watch(record)
        position.epoch, position.step = position.epoch + 1, 0
        position.loss_sum, position.correct, position.seconds = 0.0, 0, 0.0
        self._save()
        self._write_log()

    def _watch(self, record: EpochRecord) -> None:
        position, stage = self.position, self.stage
        watched = _score(record, stage.stop_watches)
        if watched > position.watched_best + stage.stop_minimum_rise:
            position.watched_best, position.watched_epoch = watched, position.epoch
        watched = _score(record, stage.plateau_watches)
        if watched > position.plateau_best + stage.plateau_minimum_rise:
            position.plateau_best, position.plateau_epoch = watched, position.epoch
        elif position.epoch - position.plateau_epoch >= stage.plateau_patience:
            floor = 1e-6 / stage.learning_rate
            position.rate_scale = max(position.rate_scale * 0.1, floor)
            position.plateau_epoch = position.epoch

    def _stage_stops(self) -> bool:
        patience = self.stage.stop_patience
        waited = self.position.epoch - 1 - self.position.watched_epoch
        return patience is not None and waited >= patience

    def _averaged(self) -> keras.Model:
        """Return the inference graph with the averaged weights.

        What a stage does not train stays as it is.
        """
        weights = checkpoints.named_weights(self.inference) | checkpoints.named_weights(self.model)
        places = {
            id(weight): f"{layer.name}/{weight.name}"
            for layer in self.model.layers
            for weight in layer.weights
        }
        for slow, fast in zip(self.average, self.followed, strict=True):
            weights[places[id(fast)]] = np.asarray(slow.numpy())
        checkpoints.set_weights(self.inference, weights, source="training")
        return self.inference

    def _validate(self, model: keras.Model) -> Float32Array:
        size = 1 if self.network.batch_coupled else EVALUATION_BATCH
        parts = [
            np.asarray(model(normalise(self.validation_pixels[start : start + size], self.spec)))
            for start in range(0, len(self.validation_pixels), size)
        ]
        return np.concatenate(parts)

    def _save_best(self, model: keras.Model) -> None:
        checkpoints.save(
            self.folder / BEST_FILE,
            Checkpoint(
                network=self.network,
                spec=self.spec,
                weights=checkpoints.named_weights(model),
            ),
        )

    def _save(self) -> None:
        header = {
            "format": STATE_FORMAT,
            "identity": self.identity,
            "position": asdict(self.position),
        }
        arrays = {
            f"{name}/{index}": variable.numpy()
            for name, variables in self._variables().items()
            for index, variable in enumerate(variables)
        }
        with replacing(self.folder / STATE_FILE) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.asarray(json.dumps(header)), **arrays)

    def _write_log(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(EpochRecord.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(self.position.records)
        write_text(self.folder / LOG_FILE, text.getvalue())

    def _report(self) -> None:
        if self.progress is None:
            return
        position = self.position
        later = sum(stage.epochs for stage in self.recipe.stages[position.stage + 1 :])
        epochs_left = self.stage.epochs - position.epoch + later
        steps_left = epochs_left * self.steps - position.step
        pace = (time.monotonic() - self.started) / max(self.steps_done_here, 1)
        seen = max(min(position.step * self.recipe.batch_size, self.shown), 1)
        self.progress(
            TrainingProgress(
                stage=self.stage.name,
                epoch=position.epoch + 1,
                epochs=self.stage.epochs,
                step=position.step,
                steps=self.steps,
                loss=position.loss_sum / seen,
                accuracy=position.correct / seen,
                best_validation_accuracy=max(position.best, 0.0),
                remaining_s=steps_left * pace,
            )
        )


def _score(record: EpochRecord, watched: Watched) -> float:
    """Return the watched figure of an epoch, higher being better."""
    if watched is Watched.VALIDATION_LOSS:
        return -record.validation_loss
    if watched is Watched.TRAINING_ACCURACY:
        return record.accuracy
    return record.validation_accuracy


@contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    """Let layers that are made meanwhile compute in the recipe's precision."""
    import keras

    before = keras.config.dtype_policy()
    if recipe.bfloat16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _compile_step(
    network: Network,
    model: keras.Model,
    optimizer: Any,
    average: list[keras.Variable],
    followed: list[keras.Variable],
) -> Callable[..., Any]:
    import tensorflow as tf

    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(inputs: Any, target: Any, weight: Any, decay: Any, trained: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, predicted = network.loss(model, inputs, target, weight, trained)
        optimizer.apply(tape.gradient(loss, variables), variables)
        for slow, fast in zip(average, followed, strict=True):
            slow.assign(slow * decay + fast * (1 - decay))
        return loss, predicted

    return step  # type: ignore[no-any-return, unused-ignore]
