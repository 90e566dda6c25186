"""Measuring through the agent: on this machine for real, and with devices that answer nonsense."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer.benchmarks.agent_answers import Sample
from edgefer.benchmarks.agent_harness import AgentHarness, during
from edgefer.benchmarks.fake_harness import BOARD, CALM
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.result import Backend, DeviceDescription, During
from edgefer.benchmarks.targets.local import LocalTarget
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError, EdgeferError, ModelError

Models = Mapping[str, Path]
Json = dict[str, Any]

SHORT = Effort(minimum_runs=8, minimum_seconds=0.0, warmup_seconds=1.0, timeout_s=60.0)

CHECKED: Json = {
    "python": "3.11.2",
    "bits": 64,
    "machine": "aarch64",
    "numpy": "1.24.2",
    "runtime": "ai-edge-litert 2.3.0",
}
MEASURED: Json = {
    "cpus": [0],
    "waited_s": 0.5,
    "cold_load_ms": None,
    "warm_load_ms": 2.0,
    "first_inference_us": 900.0,
    "warmup_us": [800.0],
    "steady": True,
    "latencies_us": [700.5] * 8,
    "memory": {"before_bytes": 1, "loaded_bytes": 2, "peak_bytes": 3},
    "samples": [{"khz": [None], "millicelsius": []}],
}


class AnsweringTarget(LocalTarget):
    """A device on which every command prints `stdout` and ends by `end`, a shell's command."""

    stdout = b""
    end = "exit 0"

    def run(
        self,
        command: Sequence[str],  # noqa: ARG002
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,  # noqa: ARG002
    ) -> Answer:
        """Run a process that answers `check` well, and all else as it was told to."""
        action = json.loads(stdin)["action"]
        answer = self.stdout if action != "check" else json.dumps({"result": CHECKED}).encode()
        Path(self.folder, "answer").write_bytes(answer)
        script = "cat answer; echo oh no >&2; " + ("exit 0" if action == "check" else self.end)
        return super().run(["sh", "-c", script], timeout_s=timeout_s, stdin=stdin)


@pytest.fixture
def target() -> Iterator[LocalTarget]:
    with LocalTarget() as target:
        yield target


@pytest.fixture
def answering() -> Iterator[AnsweringTarget]:
    with AnsweringTarget() as target:
        yield target


@pytest.fixture
def model(quadrant_tflites: Models) -> Path:
    return quadrant_tflites["int8"]


def on(
    target: LocalTarget,
    python: str = sys.executable,
    description: DeviceDescription = BOARD,
) -> AgentHarness:
    """Return a harness of a device that stands still."""
    watched = Watched(frequency_paths=(None,), temperature_paths=())
    return AgentHarness(
        target, description, circumstances=lambda: CALM, watched=watched, python=python
    )


def problem(
    answering: AnsweringTarget, model: Path, stdout: bytes | Json = b"", end: str = "exit 0"
) -> EdgeferError:
    """Return the error that a measuring process leads to which answers that."""
    answering.stdout = stdout if isinstance(stdout, bytes) else json.dumps(stdout).encode()
    answering.end = end
    harness = on(answering)
    harness.install(model)
    with pytest.raises(EdgeferError) as raised:
        harness.measure(model, threads=1, cpus=(0,), effort=SHORT)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600
    return raised.value


def install_runtime(target: LocalTarget, interpreter: str) -> None:
    """Put a runtime beside the agent, where Python looks first."""
    folder = Path(target.folder, "ai_edge_litert")
    folder.mkdir()
    (folder / "__init__.py").write_text('__version__ = "9.9"\n', encoding="utf-8")
    (folder / "interpreter.py").write_text(interpreter, encoding="utf-8")


# Measuring


def test_the_device_says_what_is_installed(target: LocalTarget) -> None:
    harness = on(target)
    found = harness.check()
    assert found.python == sys.version.split()[0]
    assert found.bits == 64
    assert harness.runtime == found.runtime
    assert harness.runtime.startswith("ai-edge-litert ")
    assert (harness.backend, harness.description) == (Backend.AGENT, BOARD)


def test_nothing_is_on_the_device_but_the_agent_and_models(
    target: LocalTarget, model: Path
) -> None:
    harness = on(target)
    harness.install(model)
    names = sorted(path.name for path in Path(target.folder).iterdir())
    assert names[0] == "agent.py"
    assert re.fullmatch(r"model-[0-9a-f]{16}\.tflite", names[1])
    assert names[2:] == ["profiler.py"]


def test_a_models_name_never_reaches_the_device(
    target: LocalTarget, model: Path, tmp_path: Path
) -> None:
    awkward = tmp_path / "a 'b' \"c\" $(touch spoilt) `id`;\n..tflite"
    awkward.write_bytes(model.read_bytes())
    harness = on(target)
    harness.install(awkward)
    harness.install(model)
    assert len(list(Path(target.folder).glob("*.tflite"))) == 1
    assert len(harness.measure(awkward, threads=1, cpus=(), effort=SHORT).latencies_us) == 8


def test_models_take_turns(target: LocalTarget, quadrant_tflites: Models) -> None:
    """A B A B: each process is a new one, of its own model."""
    harness = on(target)
    names = ("int8", "float32")
    for name in names:
        harness.install(quadrant_tflites[name])
    found = [
        harness.measure(quadrant_tflites[name], threads=1, cpus=(), effort=SHORT)
        for name in names * 2
    ]
    assert [len(run.latencies_us) for run in found] == [8] * 4
    assert len({run.latencies_us for run in found}) == 4


def test_a_process_is_measured_with_its_circumstances(
    target: LocalTarget, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "khz").write_text("1500000\n", encoding="ascii")
    (tmp_path / "hot").write_text("48750\n", encoding="ascii")
    states = [CALM, replace(CALM, load_1min=3.5)]
    harness = AgentHarness(
        target,
        BOARD,
        circumstances=lambda: states.pop(0),
        watched=Watched(
            frequency_paths=(str(tmp_path / "khz"),), temperature_paths=(str(tmp_path / "hot"),)
        ),
        python=sys.executable,
    )
    harness.install(model)
    found = harness.measure(model, threads=2, cpus=sorted(os.sched_getaffinity(0)), effort=SHORT)
    assert (found.before.load_1min, found.after.load_1min) == (0.1, 3.5)
    assert found.during == During(lowest_khz=(1_500_000,), highest_temperature_c=48.75)
    assert found.memory.before_bytes
    assert found.summary is None
    assert 0 <= found.waited_s < 60


def test_64_runs_and_3_seconds_are_the_least_by_default(target: LocalTarget) -> None:
    """Runs of 25 ms: 64 of them are not three seconds."""
    install_runtime(
        target,
        "import time\n"
        "class Interpreter:\n"
        "    def __init__(self, **_): pass\n"
        "    def allocate_tensors(self): pass\n"
        "    def get_input_details(self): return []\n"
        "    def invoke(self): time.sleep(0.025)\n",
    )
    harness = on(target)
    harness.install(Path(__file__))
    found = harness.measure(Path(__file__), threads=1, cpus=(), effort=Effort())
    assert sum(found.latencies_us) >= 3e6
    assert 64 <= len(found.latencies_us) <= 120


def test_a_profile_comes_back(target: LocalTarget, model: Path) -> None:
    harness = on(target)
    harness.install(model)
    found = harness.profile(model, threads=1, cpus=(), runs=4)
    assert found.runs == 4
    assert found.left_out == {"AVERAGE_POOL_2D": 1, "SOFTMAX": 1}


@pytest.mark.parametrize("name", ["int8", "float32"])
def test_outputs_are_those_of_this_machine(
    target: LocalTarget, quadrant_tflites: Models, name: str
) -> None:
    inputs = np.random.default_rng(0).integers(0, 100, (4, 16, 16, 3))
    raw = inputs.astype(np.int8 if name == "int8" else np.float32)
    harness = on(target)
    harness.install(quadrant_tflites[name])
    found = harness.outputs(quadrant_tflites[name], raw)
    expected = small_models.run(quadrant_tflites[name].read_bytes(), raw)
    assert found.dtype == raw.dtype
    np.testing.assert_array_equal(found, expected)


def test_extremes_are_taken_from_what_could_be_read() -> None:
    samples = [
        Sample(khz=(1_800_000, None), millicelsius=(50_000, None)),
        Sample(khz=(600_000, None), millicelsius=(82_500, 40_000)),
        Sample(khz=(None, None), millicelsius=(None, None)),
    ]
    assert during(samples) == During(lowest_khz=(600_000, None), highest_temperature_c=82.5)
    assert during(samples[2:]) is None
    assert during([]) is None


# Models that fail


def test_a_model_that_crashes_the_interpreter_is_named_with_its_device(
    target: LocalTarget, quadrant_tflites: Models
) -> None:
    crashing = quadrant_tflites["crashing"]
    harness = on(target)
    harness.install(crashing)
    with pytest.raises(ModelError) as raised:
        harness.measure(crashing, threads=1, cpus=(), effort=SHORT)
    assert str(raised.value) == f"{crashing}: crashes the interpreter on local (SIGSEGV)"
    assert raised.value.exit_code == 4


def test_a_file_that_is_no_model_is_named_with_its_device(
    target: LocalTarget, tmp_path: Path
) -> None:
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    harness = on(target)
    harness.install(text)
    with pytest.raises(ModelError) as raised:
        harness.measure(text, threads=1, cpus=(), effort=SHORT)
    assert str(raised.value).startswith(f"{text}: on local: cannot be loaded: ")
    assert "\n" not in str(raised.value)


def test_a_model_that_is_not_there_is_named(target: LocalTarget, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: cannot be read: No such file"):
        on(target).install(tmp_path / "none.tflite")


@pytest.mark.parametrize("name", ["SEGV", "ABRT", "ILL", "BUS", "FPE"])
@pytest.mark.parametrize("through_a_shell", [False, True], ids=["locally", "over ssh"])
def test_a_crash_is_the_models(
    answering: AnsweringTarget,
    model: Path,
    name: str,
    through_a_shell: bool,  # noqa: FBT001
) -> None:
    """Over ssh it is an exit code of 128 + n."""
    number = signal.Signals[f"SIG{name}"]
    end = f"exit {128 + number}" if through_a_shell else f"kill -{name} $$"
    error = problem(answering, model, end=end)
    assert str(error) == f"{model}: crashes the interpreter on local (SIG{name})"


# Devices that fail


def test_missing_python_is_told_with_the_next_step(target: LocalTarget) -> None:
    with pytest.raises(DeviceError) as raised:
        on(target, python="python-that-is-not-there").check()
    assert str(raised.value) == (
        "local: Python cannot be started there (python-that-is-not-there: No such file or "
        "directory); install it with `edgefer bench on-device --setup --device local ...`"
    )
    assert raised.value.exit_code == 5


def test_a_missing_runtime_is_told_with_the_next_step(target: LocalTarget, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(DeviceError) as raised:
        on(target, python=str(python)).check()
    assert str(raised.value) == (
        "local: numpy is not installed; "
        "install it with `edgefer bench on-device --setup --device local ...`"
    )


def test_a_runtime_for_another_processor_is_told(target: LocalTarget) -> None:
    install_runtime(target, "raise OSError('libLiteRt.so: wrong ELF class: ELFCLASS64')\n")
    with pytest.raises(DeviceError) as raised:
        on(target).check()
    assert str(raised.value).startswith(
        "local: ai_edge_litert is installed but cannot be imported: libLiteRt.so: wrong ELF class"
    )
    assert "--setup --device local" in str(raised.value)


def test_a_runtime_that_crashes_python_is_told(target: LocalTarget) -> None:
    install_runtime(target, "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    with pytest.raises(DeviceError, match=r"Python crashes there when it loads .* \(SIGILL\)$"):
        on(target).check()


def test_a_hang_is_ended_on_the_device(target: LocalTarget, model: Path) -> None:
    install_runtime(
        target,
        "import ctypes\ndef Interpreter(**_):\n    ctypes.PyDLL(None).sleep(600)\n",
    )
    harness = on(target)
    harness.install(model)
    with pytest.raises(DeviceError) as raised:
        harness.measure(model, threads=1, cpus=(), effort=replace(SHORT, timeout_s=2.0))
    assert str(raised.value) == (
        "local: the measuring process took longer than 2 s and was ended (SIGALRM)"
    )


def test_an_agent_that_was_killed_is_told(answering: AnsweringTarget, model: Path) -> None:
    expected = "local: the measuring process was killed (SIGKILL): is its memory too small?"
    assert str(problem(answering, model, end="kill -KILL $$")) == expected
    assert str(problem(answering, model, end="exit 137")) == expected


def test_an_agent_that_fails_is_told_by_its_last_words(
    answering: AnsweringTarget, model: Path
) -> None:
    error = problem(answering, model, b"[", end="exit 1")
    assert str(error) == "local: the measuring process failed: oh no"


@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        (b"", "the whole: Invalid JSON"),
        (b"Segmentation \x1b[31mfault\x07\n", "the whole: Invalid JSON"),
        (b"\xff\xfe\x00", "the whole: Invalid JSON"),
        (b"[" * 1_000_000, "the whole: Invalid JSON"),
        (b"[]", "the whole: Input should be"),
        (b'{"result": 3}', "result: Input should be"),
        (b'{"result": {}}', "result.cpus: Field required"),
        (b'{"spoilt": {}}', "spoilt: Unexpected keyword argument"),
        (json.dumps({"result": MEASURED}).encode()[:-9], "the whole: Invalid JSON"),
    ],
)
def test_an_answer_that_is_none_is_shown(
    answering: AnsweringTarget, model: Path, stdout: bytes, said: str
) -> None:
    error = problem(answering, model, stdout)
    assert isinstance(error, DeviceError)
    assert str(error).startswith(f"local: its answer cannot be used ({said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steady": 1}, "steady: Input should be a valid boolean"),
        ({"waited_s": "0"}, "waited_s: Input should be a valid number"),
        ({"latencies_us": [float("nan")] * 8}, "latencies_us.0: Input should be a finite number"),
        ({"latencies_us": [float("inf")] * 8}, "latencies_us.0: Input should be a finite number"),
        ({"latencies_us": [-1.0] * 8}, "latencies_us.0: Input should be greater than 0"),
        ({"memory": {}}, "memory.before_bytes: Field required"),
        ({"cpus": [0.5]}, "cpus.0: Input should be a valid integer"),
        ({"\x1b]0;title\x07": 1}, r"\x1b]0;title\x07: Unexpected keyword argument"),
    ],
)
def test_wrong_values_are_told(
    answering: AnsweringTarget, model: Path, change: Json, said: str
) -> None:
    error = problem(answering, model, {"result": MEASURED | change})
    assert isinstance(error, DeviceError)
    assert said in str(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latencies_us": []}, "it answered 0 runs, at least 8 needed"),
        ({"latencies_us": [1.0] * 7}, "it answered 7 runs, at least 8 needed"),
        ({"cpus": [3]}, "it may use only cores [3] of [0]; choose cores with --cores"),
        ({"samples": [{"khz": [], "millicelsius": []}]}, "a frequency for each of 1 clusters"),
    ],
)
def test_an_answer_to_another_question_is_told(
    answering: AnsweringTarget, model: Path, change: Json, said: str
) -> None:
    error = problem(answering, model, {"result": MEASURED | change})
    assert isinstance(error, DeviceError)
    assert said in str(error)


def test_a_good_answer_is_believed(answering: AnsweringTarget, model: Path) -> None:
    """What the tests above spoil."""
    answering.stdout = json.dumps({"result": MEASURED}).encode()
    harness = on(answering)
    harness.install(model)
    found = harness.measure(model, threads=1, cpus=(0,), effort=SHORT)
    assert found.latencies_us == (700.5,) * 8
    assert found.waited_s == 0.5


def test_an_emulated_processors_cores_may_be_fewer(answering: AnsweringTarget, model: Path) -> None:
    answering.stdout = json.dumps({"result": MEASURED}).encode()
    harness = on(answering, description=replace(BOARD, emulated="QEMU"))
    harness.install(model)
    assert harness.measure(model, threads=1, cpus=(0, 1, 2, 3), effort=SHORT)


def test_a_huge_answer_is_refused(answering: AnsweringTarget, model: Path) -> None:
    error = problem(answering, model, b"[", end="head -c 70000000 /dev/zero")
    assert str(error) == "local: its answer is too long: 70000001 bytes"


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ({"kind": "cores", "message": "a\nb\x1b[2J"}, r"local: a b\x1b[2J"),
        ({"kind": "turn", "message": "another benchmark"}, "local: another benchmark"),
        ({"kind": "python", "message": "its Python is 3.8"}, "local: its Python is 3.8"),
        ({"kind": "profile", "message": "too old"}, "local: no profile: too old"),
        ({"kind": "never heard of", "message": "x" * 10_000}, "local: xxx"),
    ],
)
def test_a_failure_on_the_device_is_told_in_one_line(
    answering: AnsweringTarget, model: Path, failed: Json, said: str
) -> None:
    error = problem(answering, model, {"error": failed})
    assert isinstance(error, DeviceError)
    assert str(error).startswith(said)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"\x93NUMPY\x01\x00\x02\x00{}",
        b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(70),
        b"PK\x03\x04" + bytes(30),
    ],
)
def test_outputs_that_are_no_array_are_told(
    answering: AnsweringTarget, model: Path, content: bytes
) -> None:
    """Through the real pull: the device stored something else."""
    answering.stdout = json.dumps({"result": {"count": 2}}).encode()
    harness = on(answering)
    harness.install(model)
    Path(answering.folder, "outputs.npy").write_bytes(content)
    with pytest.raises(DeviceError, match=r"^local: the outputs that it stored cannot be read"):
        harness.outputs(model, np.zeros((2, 16, 16, 3), np.int8))


def test_too_few_outputs_are_told(answering: AnsweringTarget, model: Path) -> None:
    answering.stdout = json.dumps({"result": {"count": 2}}).encode()
    harness = on(answering)
    harness.install(model)
    np.save(Path(answering.folder, "outputs.npy"), np.zeros((1, 4), np.int8))
    with pytest.raises(DeviceError, match=r"^local: it stored outputs \(1, 4\) of 2 inputs$"):
        harness.outputs(model, np.zeros((2, 16, 16, 3), np.int8))


def test_an_interruption_ends_the_measuring(target: LocalTarget, model: Path) -> None:
    harness = on(target)
    harness.install(model)
    target.interrupt()
    with pytest.raises(DeviceError, match=r"^local: interrupted$"):
        harness.measure(model, threads=1, cpus=(), effort=SHORT)


# The harness's own weight


BARE_LOOP = """
import json, os, random, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
noise = np.frombuffer(random.Random(0).randbytes(1 << 16), np.uint8) / 127.5 - 1
interpreter.set_tensor(details["index"], np.resize(noise, details["shape"]).astype(np.float32))
for _ in range(500):
    interpreter.invoke()
latencies = []
for _ in range(3000):
    begin = time.perf_counter()
    interpreter.invoke()
    latencies.append((time.perf_counter() - begin) * 1e6)
print(json.dumps(latencies))
"""


@pytest.mark.slow
def test_the_harness_measures_what_a_bare_loop_does(target: LocalTarget, tmp_path: Path) -> None:
    """Within 2%. Both run at once on one core, by turns of some milliseconds.

    So whatever else the machine does, and however fast it goes, is the same for both.
    """
    model = tmp_path / "patt-lite.tflite"
    model.write_bytes(small_models.patt_lite())
    core = max(os.sched_getaffinity(0))
    harness = on(target)
    harness.install(model)
    effort = Effort(minimum_runs=3000, minimum_seconds=0.0, warmup_seconds=1.0)
    ratios = []
    for _ in range(7):
        command = [sys.executable, "-c", BARE_LOOP, str(model), str(core)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bare:
            found = harness.measure(model, threads=1, cpus=(core,), effort=effort)
            bare_us = json.loads(bare.communicate(timeout=300)[0])
        ratios.append(statistics.median(found.latencies_us) / statistics.median(bare_us))
    assert abs(statistics.median(ratios) - 1) < 0.02, ratios
