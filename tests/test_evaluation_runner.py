"""Models on labelled faces, in the worker processes that a user gets."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgefer import child
from edgefer.data.faces import LabelledFaces, SkippedFile
from edgefer.data.preprocessing import Float32Array, normalise, to_pixels
from edgefer.errors import BudgetError, DataError, ModelError, UsageError
from edgefer.evaluation import pool
from edgefer.evaluation.result import EvaluationResult, require
from edgefer.evaluation.runner import EvaluatedModel, evaluate
from edgefer.models.checkpoints import Checkpoint, named_weights
from edgefer.models.patt_lite.network import Attention, PattLite
from edgefer.models.spec import ModelSpec

Models = Mapping[str, Path]


def tflite(path: Path, spec: ModelSpec) -> EvaluatedModel:
    return EvaluatedModel(name=path.name, spec=spec, source=path, checked=True)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def relabelled(spec: ModelSpec, *labels: str) -> ModelSpec:
    return dataclasses.replace(spec, labels=labels)


def quadrant_scores(faces: LabelledFaces, spec: ModelSpec) -> Float32Array:
    """Compute what the quadrant model does, without an interpreter."""
    inputs = normalise(np.stack([to_pixels(image, spec) for image in faces.images]), spec)
    means = inputs.reshape(-1, 2, 8, 2, 8, 3).mean(axis=(2, 4, 5)).reshape(-1, 4)
    odds = np.exp(12.0 * means)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def two_models(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> EvaluationResult:
    """Evaluate the float model and the int8 one on two workers."""
    models = [tflite(quadrant_tflites[name], quadrant_spec) for name in ("float32", "int8")]
    return evaluate(models, quadrant_faces, workers=2)


def test_scores_are_the_networks_and_in_the_faces_order(
    two_models: EvaluationResult, quadrant_faces: LabelledFaces, quadrant_spec: ModelSpec
) -> None:
    expected = quadrant_scores(quadrant_faces, quadrant_spec)
    np.testing.assert_allclose(two_models.models[0].probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(two_models.models[1].probabilities, expected, atol=0.06)


def test_labels_are_matched_by_name(
    two_models: EvaluationResult, quadrant_faces: LabelledFaces, quadrant_spec: ModelSpec
) -> None:
    """The faces' class order is another one than the model's."""
    answers = quadrant_scores(quadrant_faces, quadrant_spec).argmax(axis=1)
    right = [
        quadrant_spec.labels[answer] == quadrant_faces.class_names[label]
        for answer, label in zip(answers, quadrant_faces.labels, strict=True)
    ]
    assert two_models.models[0].metrics.accuracy.correct == sum(right)
    assert 0.8 < sum(right) / len(right) < 1


def test_the_first_model_is_the_reference(two_models: EvaluationResult) -> None:
    first, second = two_models.models
    assert first.comparison is None
    assert len(first.differing) == 0
    assert second.comparison is not None
    lost = first.metrics.accuracy.value - second.metrics.accuracy.value
    assert second.comparison.drop_points == pytest.approx(100 * lost)
    assert second.comparison.agreement == pytest.approx(1 - len(second.differing) / 160)
    assert (first.answers != second.answers).nonzero()[0].tolist() == second.differing.tolist()


def test_a_model_with_another_label_order_is_compared_by_name(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    """A wrong order on the same file changes the answers where names change, and only there."""
    swapped = relabelled(quadrant_spec, "happiness", "anger", "neutral", "surprise")
    path = quadrant_tflites["float32"]
    result = evaluate([tflite(path, quadrant_spec), tflite(path, swapped)], quadrant_faces)
    named = [[model.labels[answer] for answer in model.answers.tolist()] for model in result.models]
    expected = [
        index for index, (one, other) in enumerate(zip(*named, strict=True)) if one != other
    ]
    assert result.models[1].differing.tolist() == expected
    assert 0 < len(expected) < len(quadrant_faces)


def test_a_wrong_label_order_is_named(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    shifted = relabelled(quadrant_spec, "surprise", "anger", "happiness", "neutral")
    result = evaluate([tflite(quadrant_tflites["float32"], shifted)], quadrant_faces)
    permuted = result.models[0].permuted
    assert permuted is not None
    assert permuted.labels == quadrant_spec.labels


def test_a_right_label_order_is_not_suspected(two_models: EvaluationResult) -> None:
    assert [model.permuted for model in two_models.models] == [None, None]


def test_a_class_that_the_model_lacks_is_a_usage_error(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    fewer = relabelled(quadrant_spec, "anger", "happiness", "neutral", "fear")
    with pytest.raises(UsageError, match="labels surprise are not among the model's"):
        evaluate([tflite(quadrant_tflites["float32"], fewer)], quadrant_faces)


def test_two_labels_of_one_meaning_are_a_usage_error(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    doubled = relabelled(quadrant_spec, "sad", "sadness", "neutral", "fear")
    with pytest.raises(UsageError, match="two of its labels mean the same"):
        evaluate([tflite(quadrant_tflites["float32"], doubled)], quadrant_faces)


def test_no_faces_are_a_data_error(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    with pytest.raises(DataError, match="has no faces"):
        evaluate([tflite(quadrant_tflites["int8"], quadrant_spec)], quadrant_faces.select([]))


def test_no_model_is_a_usage_error(quadrant_faces: LabelledFaces) -> None:
    with pytest.raises(UsageError, match="no model"):
        evaluate([], quadrant_faces)


def test_nan_scores_name_the_model_and_the_face(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    path = quadrant_tflites["not_a_number"]
    with pytest.raises(ModelError, match=r"not_a_number\.tflite: gives NaN .* the first face 0"):
        evaluate([tflite(path, quadrant_spec)], quadrant_faces)


def test_a_corrupt_file_is_refused_before_it_runs(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    path = quadrant_tflites["crashing"]
    model = EvaluatedModel(name=path.name, spec=quadrant_spec, source=path)
    with pytest.raises(ModelError, match=f"^{path}: (is corrupt|cannot be loaded)"):
        evaluate([model], quadrant_faces)


def test_a_worker_that_dies_at_work_names_the_model(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    path, chunk = quadrant_tflites["int8"], quadrant_faces.images[:4]
    with pool.WorkerPool(1) as workers:
        scores = workers.scores(path, quadrant_spec, [(0, chunk), (4, chunk), (8, chunk)])
        assert next(scores)[0] == 0
        (process,) = workers._workers.values()
        process.kill()
        with pytest.raises(ModelError, match=r"int8\.tflite: a process that ran it died"):
            list(scores)


def test_a_worker_that_never_starts_is_told_by_its_signal(
    quadrant_tflites: Models,
    quadrant_spec: ModelSpec,
    quadrant_faces: LabelledFaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(child, "command", lambda *_: [sys.executable, "-c", suicide])
    with pytest.raises(ModelError, match=r"int8\.tflite: a process that ran it died \(SIGKILL\)"):
        evaluate([tflite(quadrant_tflites["int8"], quadrant_spec)], quadrant_faces)


def test_progress_reaches_all_classifications_once(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    told: list[tuple[int, int]] = []
    models = [tflite(quadrant_tflites[name], quadrant_spec) for name in ("float32", "uint8")]
    evaluate(
        models, quadrant_faces, workers=1, progress=lambda done, all_: told.append((done, all_))
    )
    assert told[-1] == (320, 320)
    assert told == sorted(set(told))


def test_faces_are_read_only_as_they_are_needed(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> None:
    """When the first scores come, at most the chunks under way have been read."""
    reads: list[int] = []

    class Images(list[np.ndarray]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            reads.append(index)
            return super().__getitem__(index)

    read_at_first: list[int] = []
    faces = dataclasses.replace(quadrant_faces, images=Images(quadrant_faces.images))
    evaluate(
        [tflite(quadrant_tflites["int8"], quadrant_spec)],
        faces,
        workers=1,
        progress=lambda *_: read_at_first.append(len(reads)),
    )
    assert read_at_first[0] <= 20 < read_at_first[-1] == 160


def test_the_result_is_json_with_everything_in_it(
    two_models: EvaluationResult, quadrant_faces: LabelledFaces
) -> None:
    skipped = SkippedFile(path="x.png", reason="is not an image")
    faces = dataclasses.replace(quadrant_faces, skipped=(skipped,))
    found = json.loads(json.dumps(dataclasses.replace(two_models, faces=faces).to_dict()))
    assert found["schema_version"] == 1
    assert {"edgefer", "numpy", "opencv", "runtime"} == set(found["versions"])
    assert found["dataset"]["faces"] == sum(found["dataset"]["faces_per_class"].values()) == 160
    assert found["dataset"]["skipped"] == [{"path": "x.png", "reason": "is not an image"}]
    first, second = found["models"]
    assert first["comparison"] is None
    assert set(second["metrics"]) == {
        "accuracy", "macro_f1", "recall", "confusion",
        "negative_log_likelihood", "calibration_error",
    }  # fmt: skip
    assert len(second["differing"]) == len(two_models.models[1].differing)
    for difference in second["differing"]:
        assert difference["answer"] != difference["reference_answer"]


def test_a_drop_within_the_budget_passes(two_models: EvaluationResult) -> None:
    require(two_models, max_drop_points=50, min_accuracy=0.5)


def test_a_drop_over_the_budget_fails_with_exit_code_3(two_models: EvaluationResult) -> None:
    comparison = two_models.models[1].comparison
    assert comparison is not None
    with pytest.raises(BudgetError, match=r"loses .* points of accuracy against float32") as raised:
        require(two_models, max_drop_points=comparison.drop_points - 0.01)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)


def test_too_low_an_accuracy_fails(two_models: EvaluationResult) -> None:
    with pytest.raises(BudgetError, match=r"float32\.tflite: its accuracy .* under the 99\.00%"):
        require(two_models, min_accuracy=0.99)


def test_a_budget_in_percent_is_a_usage_error(two_models: EvaluationResult) -> None:
    with pytest.raises(UsageError, match="share of 0…1"):
        require(two_models, min_accuracy=85)


def test_a_drop_of_one_model_is_a_usage_error(two_models: EvaluationResult) -> None:
    alone = dataclasses.replace(two_models, models=two_models.models[:1])
    with pytest.raises(UsageError, match="needs two models"):
        require(alone, max_drop_points=1)


def test_a_script_needs_no_main_guard(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, tmp_path: Path
) -> None:
    """The workers don't import the caller's script again."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from edgefer.data.faces import LabelledFaces\n"
        "from edgefer.evaluation.runner import EvaluatedModel, evaluate\n"
        "from edgefer.models.spec import ModelSpec\n"
        "faces = LabelledFaces(source='s', images=[np.zeros((16, 16), np.uint8)] * 70,\n"
        "    labels=np.zeros(70, np.int64), class_names=('anger',), names=['n'] * 70)\n"
        f"spec = ModelSpec(name='q', labels={quadrant_spec.labels}, input_size=16)\n"
        f"path = Path({str(quadrant_tflites['int8'])!r})\n"
        "model = EvaluatedModel(name='q', spec=spec, source=path)\n"
        "print(evaluate([model], faces, workers=2).models[0].metrics.accuracy.total)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == ("70\n", "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_evaluation_leaves_no_process_behind(
    quadrant_tflites: Models, quadrant_spec: ModelSpec, tmp_path: Path, sent: signal.Signals
) -> None:
    """Ctrl-C reaches the whole process group; a kill reaches the parent alone."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from edgefer.evaluation.pool import WorkerPool\n"
        "from edgefer.models.spec import ModelSpec\n"
        f"spec = ModelSpec(name='q', labels={quadrant_spec.labels}, input_size=16)\n"
        f"path = Path({str(quadrant_tflites['int8'])!r})\n"
        "chunks = iter(lambda: (0, [np.zeros((16, 16), np.uint8)] * 8), None)\n"
        "try:\n"
        "    with WorkerPool(2) as pool:\n"
        "        scores = pool.scores(path, spec, chunks)\n"
        "        next(scores)\n"
        "        print(*[process.pid for process in pool._workers.values()], flush=True)\n"
        "        for _ in scores: pass\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        workers = [int(number) for number in running.stdout.readline().split()]
        assert len(workers) == 2
        os.killpg(running.pid, sent)
        out, err = running.communicate(timeout=60)
    assert (out, err) == ("stopped\n" if sent is signal.SIGINT else "", "")
    deadline = time.monotonic() + 20
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:(?s).*softmax over axis:UserWarning")
@pytest.mark.parametrize("attention", [Attention.IDENTITY, Attention.BATCH])
def test_a_checkpoint_is_measured_face_by_face(
    attention: Attention, quadrant_faces: LabelledFaces
) -> None:
    """Whatever its attention does to a batch, a face's scores are those it has alone."""
    network = PattLite(input_size=48, attention=attention)
    weights = named_weights(network.build())
    checkpoint = Checkpoint(network=network, spec=network.spec(), weights=weights)
    faces = quadrant_faces.select(range(5))
    result = evaluate([EvaluatedModel.from_checkpoint(checkpoint, name="random")], faces)
    alone = checkpoint.build(batch_size=1)
    for image, scores in zip(faces.images, result.models[0].probabilities, strict=True):
        inputs = normalise(to_pixels(image, checkpoint.spec)[None], checkpoint.spec)
        np.testing.assert_allclose(np.asarray(alone(inputs))[0], scores, atol=1e-6)
    assert result.versions["tensorflow"]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.filterwarnings("ignore")
def test_every_core_is_used(tmp_path: Path) -> None:
    """At least 0.9 x cores x the single process's rate, measured in turns on 4,000 faces.

    Each rate is the best of the turns, as timeit's documentation advises: what else runs on the
    machine can only slow a turn down.
    """
    import tensorflow as tf

    cores = pool.usable_cores()
    if cores < 2:
        pytest.skip("needs two cores")
    network = PattLite(input_size=112)
    network.build().export(tmp_path / "saved", verbose=False)
    path = tmp_path / "model.tflite"
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    path.write_bytes(converter.convert())
    random = np.random.default_rng(0)
    faces = LabelledFaces(
        source="noise",
        images=list(random.integers(0, 256, (4000, 48, 48)).astype(np.uint8)),
        labels=np.zeros(4000, np.int64),
        class_names=("anger",),
        names=["noise"] * 4000,
    )

    def seconds(workers: int) -> float:
        begin = time.perf_counter()
        evaluate([tflite(path, network.spec())], faces, workers=workers)
        return time.perf_counter() - begin

    turns = [(seconds(1), seconds(cores)) for _ in range(4)]
    single, every = (min(side) for side in zip(*turns, strict=True))
    assert single / every >= 0.9 * cores
