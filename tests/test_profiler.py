"""LiteRT's per-operator profile: what is made of its events, and the real thing."""

import _ctypes
import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import ai_edge_litert
import pytest
import small_models
from ai_edge_litert.interpreter import Interpreter

from edgefer.benchmarks import profiler
from edgefer.benchmarks.agent_harness import AgentHarness
from edgefer.benchmarks.fake_harness import BOARD, CALM
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.profiler import DEFAULT, KERNEL, OPERATOR, Event, NoProfileError
from edgefer.benchmarks.result import Profile
from edgefer.benchmarks.targets.local import LocalTarget
from edgefer.converters import float_model
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import PRESETS, Precision
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.errors import DeviceError
from edgefer.models.patt_lite.network import PattLite

Models = Mapping[str, Path]

SIDE = 112

LEFT_OUT = {
    Precision.FLOAT32: {},
    Precision.DYNAMIC: {"DEPTHWISE_CONV_2D": 11},
    Precision.INT8: {"SOFTMAX": 1},
}
"""What XNNPACK does not take of a PAtt-Lite."""


@pytest.fixture(scope="module")
def harness() -> Iterator[AgentHarness]:
    with LocalTarget() as target:
        yield AgentHarness(
            target,
            BOARD,
            circumstances=lambda: CALM,
            watched=Watched(frequency_paths=(None,), temperature_paths=()),
            python=sys.executable,
        )


def profiled(harness: AgentHarness, model: Path, *, runs: int = 5, threads: int = 1) -> Profile:
    harness.install(model)
    return harness.profile(model, threads=threads, cpus=(), runs=runs)


def invocation(elapsed_us: int) -> Event:
    return Event("Invoke", DEFAULT, elapsed_us, 0, 0)


def kernel(number: int, elapsed_us: int, name: str = "Convolution (NHWC, F32) GEMM") -> Event:
    return Event(name, KERNEL, elapsed_us, number, 0)


def operator(number: int, elapsed_us: int, name: str = "SOFTMAX", subgraph: int = 0) -> Event:
    return Event(name, OPERATOR, elapsed_us, number, subgraph)


ONE_RUN = [
    Event("LiteRT::Run[buffer registration]", DEFAULT, 9, 0, 0),
    invocation(110),
    kernel(0, 60),
    kernel(1, 20, "Static Reshape (NC)"),
    operator(5, 20),
    Event("Invoke", 32, 0, 1 << 32, 0),
]


# What is made of the events


def test_a_profile_lists_operators_in_the_order_of_execution() -> None:
    found = profiler.summary([ONE_RUN])
    assert found == {
        "operators": [
            {
                "position": 0,
                "kernel": "Convolution (NHWC, F32) GEMM",
                "type": "Convolution",
                "delegated": True,
                "mean_us": 60.0,
            },
            {
                "position": 1,
                "kernel": "Static Reshape (NC)",
                "type": "Static Reshape",
                "delegated": True,
                "mean_us": 20.0,
            },
            {
                "position": 2,
                "kernel": "SOFTMAX",
                "type": "SOFTMAX",
                "delegated": False,
                "mean_us": 20.0,
            },
        ],
        "runs": 1,
        "total_us": 110.0,
        "delegate": "XNNPACK",
        "partitions": 1,
        "delegated_share": 0.8,
        "left_out": {"SOFTMAX": 1},
    }


def test_times_are_means_over_the_runs() -> None:
    slower = [event._replace(elapsed_us=2 * event.elapsed_us) for event in ONE_RUN]
    found = profiler.summary([ONE_RUN, slower])
    assert [entry["mean_us"] for entry in found["operators"]] == [90.0, 30.0, 30.0]
    assert (found["total_us"], found["runs"]) == (165.0, 2)


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([operator(0, 1)], 0),
        ([kernel(0, 1)], 1),
        ([kernel(0, 1), kernel(1, 1), kernel(2, 1)], 1),
        ([kernel(0, 1), operator(1, 1), kernel(0, 1)], 2),
        ([kernel(0, 1), operator(1, 1), kernel(1, 1)], 2),
        ([kernel(0, 1), kernel(1, 1), kernel(0, 1), kernel(1, 1)], 2),
        ([operator(0, 1), kernel(0, 1), operator(3, 1), operator(4, 1), kernel(0, 1)], 2),
    ],
)
def test_partitions_are_stretches_of_kernels(steps: list[Event], count: int) -> None:
    assert profiler.partitions(steps) == count


def test_a_loops_body_is_part_of_the_loop() -> None:
    """In the time of WHILE the body's operators are counted already."""
    events = [invocation(90), operator(0, 80, "WHILE")]
    events += [operator(0, 35, "ADD", subgraph=2), operator(1, 5, "LESS", subgraph=1)] * 2
    events += [operator(1, 10)]
    found = profiler.summary([events])
    assert [entry["kernel"] for entry in found["operators"]] == ["WHILE", "SOFTMAX"]
    assert found["left_out"] == {"WHILE": 1, "SOFTMAX": 1}


def test_operators_too_quick_for_the_clock_share_by_number() -> None:
    found = profiler.summary([[invocation(1), kernel(0, 0), kernel(1, 0), operator(2, 0)]])
    assert found["delegated_share"] == pytest.approx(2 / 3)


def test_a_model_without_a_delegate_names_none() -> None:
    found = profiler.summary([[invocation(5), operator(0, 3), operator(1, 1)]])
    assert found["delegate"] is None
    assert (found["partitions"], found["delegated_share"]) == (0, 0.0)
    assert found["left_out"] == {"SOFTMAX": 2}


@pytest.mark.parametrize(
    ("runs", "problem"),
    [
        ([[]], "saw no run"),
        ([[invocation(5)]], "saw no operator"),
        ([[operator(0, 1)]], "saw no run"),
        ([ONE_RUN, [invocation(1), operator(0, 1)]], "other operators each time"),
    ],
)
def test_events_that_make_no_profile_are_told(runs: list[list[Event]], problem: str) -> None:
    with pytest.raises(NoProfileError, match=problem):
        profiler.summary(runs)


# What a runtime may lack


def test_a_missing_library_means_no_profile(tmp_path: Path) -> None:
    with ExitStack() as owned, pytest.raises(NoProfileError, match=r"none\.so"):
        profiler.LiteRt(tmp_path / "none.so", owned)


def test_a_library_without_the_functions_means_no_profile() -> None:
    with ExitStack() as owned, pytest.raises(NoProfileError, match="LiteRtCreateEnvironment"):
        profiler.LiteRt(Path(_ctypes.__file__), owned)


def test_an_old_runtime_means_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ai_edge_litert, "__version__", "2.1.4")
    with pytest.raises(NoProfileError, match=r"^it needs ai-edge-litert 2\.3, not 2\.1\.4$"):
        profiler.profile("model.tflite", 1, 1, lambda *_: None)


def test_no_runtime_means_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(NoProfileError, match="ai-edge-litert, which is not installed"):
        profiler.profile("model.tflite", 1, 1, lambda *_: None)


@pytest.mark.parametrize("fields", [profiler._Event._fields_[:-1], profiler._Event._fields_[:4]])
def test_events_of_another_form_mean_no_profile(
    quadrant_tflites: Models, fields: tuple[tuple[str, type]], tmp_path: Path
) -> None:
    """A shorter record than the library's: what the reader sees is shifted."""
    names = ", ".join(f'("{name}", {described(kind)})' for name, kind in fields)
    script = tmp_path / "script.py"
    script.write_text(
        "import ctypes\n"
        "from edgefer.benchmarks import agent, profiler\n"
        "class _Event(ctypes.Structure):\n"
        f"    _fields_ = ({names})\n"
        "    source = number = subgraph = 0\n"
        "function = ctypes.POINTER(_Event)\n"
        "profiler._FUNCTIONS['GetProfilerEvents'] = "
        "(ctypes.c_void_p, ctypes.c_int, function)\n"
        "profiler._Event = _Event\n"
        "try:\n"
        f"    profiler.profile({str(quadrant_tflites['int8'])!r}, 1, 1, agent.fixed_values)\n"
        "except profiler.NoProfileError as error:\n"
        "    print(error)\n",
        encoding="utf-8",
    )
    answer = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert answer.stdout == "this version of LiteRT notes its events in another form\n"


def described(kind: type) -> str:
    """Return a ctypes type as source."""
    if issubclass(kind, ctypes.Array):
        return f"ctypes.{kind._type_.__name__} * {kind._length_}"
    return f"ctypes.{kind.__name__}"


# The real thing


def test_a_model_that_the_delegate_takes_whole(
    harness: AgentHarness, quadrant_tflites: Models
) -> None:
    found = profiled(harness, quadrant_tflites["float32"])
    assert [operator.kernel for operator in found.operators] == [
        "Average Pooling (NHWC, F32) Average Pooling",
        "Static Reshape (NC)",
        "Static Reshape (NC)",
        "Fully Connected (NC, F32) GEMM",
        "Softmax (NC, F32)",
    ]
    assert [operator.position for operator in found.operators] == [0, 1, 2, 3, 4]
    assert all(operator.delegated for operator in found.operators)
    assert (found.runs, found.partitions, found.delegated_share) == (5, 1, 1.0)
    assert found.left_out == {}
    assert found.total_us > 0


def test_what_the_delegate_leaves_out_is_named(
    harness: AgentHarness, quadrant_tflites: Models
) -> None:
    """XNNPACK has neither int8 average pooling nor int8 softmax."""
    found = profiled(harness, quadrant_tflites["int8"])
    assert found.left_out == {"AVERAGE_POOL_2D": 1, "SOFTMAX": 1}
    kinds = [(operator.type, operator.delegated) for operator in found.operators]
    assert kinds[0] == ("AVERAGE_POOL_2D", False)
    assert ("Fully Connected", True) in kinds
    assert kinds[-1] == ("SOFTMAX", False)


def test_a_model_that_the_delegate_refuses(harness: AgentHarness, quadrant_tflites: Models) -> None:
    found = profiled(harness, quadrant_tflites["int16"])
    assert found.delegate is None
    assert (found.partitions, found.delegated_share) == (0, 0.0)
    assert set(found.left_out) == {"AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}


@pytest.mark.parametrize("name", ["free_batch", "two_inputs", "flat_input", "uint8"])
def test_inputs_of_every_kind_are_bound(
    harness: AgentHarness, quadrant_tflites: Models, name: str
) -> None:
    assert profiled(harness, quadrant_tflites[name], threads=2).operators


@pytest.mark.parametrize("name", ["float32", "int8", "uint8", "int16", "free_batch", "two_inputs"])
def test_partitions_are_those_of_the_interpreter(
    harness: AgentHarness, quadrant_tflites: Models, name: str
) -> None:
    assert profiled(harness, quadrant_tflites[name]).partitions == delegate_nodes(
        quadrant_tflites[name]
    )


def delegate_nodes(path: Path) -> int:
    """Return how many nodes of the model the interpreter has given to its delegate."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    names = [details["op_name"] for details in interpreter._get_ops_details()]
    return names.count("DELEGATE")


def test_a_file_that_is_no_model_has_no_profile(harness: AgentHarness, tmp_path: Path) -> None:
    model = tmp_path / "text.tflite"
    model.write_text("no model")
    with pytest.raises(DeviceError, match=r"^local: no profile: LiteRtCreateModelFromFile failed"):
        profiled(harness, model)


def test_a_profile_frees_what_it_took(quadrant_tflites: Models, tmp_path: Path) -> None:
    """LiteRT's profiler alone takes over 50 MB a model."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json\n"
        "from edgefer.benchmarks import agent, profiler\n"
        "profiler.WARMUP_SECONDS = 0\n"
        "resident = []\n"
        "for _ in range(8):\n"
        f"    profiler.profile({str(quadrant_tflites['int8'])!r}, 2, 2, agent.fixed_values)\n"
        "    resident.append(agent.memory_bytes(b'VmRSS'))\n"
        "print(json.dumps(resident))\n",
        encoding="utf-8",
    )
    answer = subprocess.run([sys.executable, str(script)], capture_output=True, check=True)
    resident = json.loads(answer.stdout)
    assert resident[-1] - resident[1] < 20e6


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.DYNAMIC, Precision.INT8])
def test_the_operators_add_up_to_the_whole(
    harness: AgentHarness, tmp_path: Path, precision: Precision
) -> None:
    """Within 10% of the run; and the delegate takes what it takes from the interpreter too."""
    model = tmp_path / "patt-lite.tflite"
    ranges = small_models.ranges(patt_lite(), small_models.inputs(4, SIDE))
    model.write_bytes(quantize(patt_lite(), ranges, PRESETS[precision], (-1.0, 1.0)))
    found = [profiled(harness, model, runs=20) for _ in range(3)]
    shares = [
        sum(operator.mean_us for operator in profile.operators) / profile.total_us
        for profile in found
    ]
    assert 0.9 < max(shares) <= 1.0
    assert found[0].partitions == delegate_nodes(model)
    assert found[0].left_out == LEFT_OUT[precision]
    assert len(found[0].operators) >= 27


@cache
def patt_lite() -> bytes:
    """Return a PAtt-Lite with random weights."""
    model = PattLite(input_size=SIDE, labels=ALPHABETICAL_8).build()
    small_models.randomise(model)
    return float_model.from_keras(model)
