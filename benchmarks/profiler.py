"""Where the time of a model's run goes, operator by operator, as LiteRT's own profiler tells it.

Sent to a device beside agent.py, which calls `profile`. LiteRT's C API is in the ai-edge-litert
wheel (libLiteRt.so) and needs no tool of its own; structures and constants here are those of its
headers, litert/c/*.h, as they are from version 2.3 on. Standard library and numpy only.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

OLDEST = (2, 3)
"""Before this version, functions of the same names took other arguments."""

WARMUP_RUNS, WARMUP_SECONDS = 3, 0.5

DELEGATE = "XNNPACK"
"""The one delegate of LiteRT's CPU accelerator; its kernels are the events of type KERNEL."""

DEFAULT, OPERATOR, KERNEL = 1, 2, 8
"""DEFAULT, OPERATOR_INVOKE_EVENT and DELEGATE_PROFILED_OPERATOR_INVOKE_EVENT."""

INVOCATION = "Invoke"
"""The event around a whole run; outside of it LiteRT only attends to buffers, and to events."""

EVENT_TYPES = {1 << bit for bit in range(9)}
EVENT_SOURCES = {0, 1, 2}

CPU = 1
AUTO_REGISTER_ACCELERATORS, ANY_INT = 24, 2
LOCK_FOR_WRITING = 1

STATUSES = {
    1: "invalid argument",
    2: "out of memory",
    3: "runtime failure",
    4: "missing input tensor",
    5: "unsupported",
    6: "not found",
    8: "wrong version",
    500: "cannot read the file",
    501: "invalid model",
    504: "compilation failed",
}

DTYPES = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float16",
    11: "float64",
}

Values = Callable[[Sequence[int], str], Any]
"""Makes an input's values, a numpy array, from its shape and dtype."""


class NoProfileError(Exception):
    """There is no profile, for the reason that the message gives."""


class Event(NamedTuple):
    """What the profiler noted of an operator, or of a delegate's kernel."""

    name: str
    type: int
    elapsed_us: int
    number: int
    """Of the operator in its subgraph, or of the kernel in its partition."""
    subgraph: int


class _Event(ctypes.Structure):
    """ProfiledEventData, with its two LiteRtMemoryUsage."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("number", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class _RankedTensorType(ctypes.Structure):
    """LiteRtRankedTensorType, with its LiteRtLayout; the lowest 7 bits of `flags` are the rank."""

    _fields_ = (
        ("element_type", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class _Integer(ctypes.Structure):
    """LiteRtAny that holds an integer."""

    _fields_ = (("type", ctypes.c_int), ("value", ctypes.c_int64))


class _EnvironmentOption(ctypes.Structure):
    """LiteRtEnvOption."""

    _fields_ = (("tag", ctypes.c_int), ("value", _Integer))


_Handle, _Index, _Text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
_Out = ctypes.POINTER(_Handle)
_TensorType = ctypes.POINTER(_RankedTensorType)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "CreateEnvironment": (ctypes.c_int, ctypes.POINTER(_EnvironmentOption), _Out),
    "CreateModelFromFile": (_Handle, _Text, _Out),
    "CreateOptions": (_Out,),
    "SetOptionsHardwareAccelerators": (_Handle, ctypes.c_int),
    "CreateOpaqueOptions": (_Text, _Handle, _Handle, _Out),
    "AddOpaqueOptions": (_Handle, _Handle),
    "CreateCompiledModel": (_Handle, _Handle, _Handle, _Out),
    "CompiledModelGetProfiler": (_Handle, _Out),
    "GetModelSignature": (_Handle, _Index, _Out),
    "GetNumSignatureInputs": (_Handle, ctypes.POINTER(_Index)),
    "GetNumSignatureOutputs": (_Handle, ctypes.POINTER(_Index)),
    "GetSignatureInputTensorByIndex": (_Handle, _Index, _Out),
    "GetSignatureOutputTensorByIndex": (_Handle, _Index, _Out),
    "GetRankedTensorType": (_Handle, _TensorType),
    "GetCompiledModelInputBufferRequirements": (_Handle, _Index, _Index, _Out),
    "GetCompiledModelOutputBufferRequirements": (_Handle, _Index, _Index, _Out),
    "CreateManagedTensorBufferFromRequirements": (_Handle, _TensorType, _Handle, _Out),
    "GetTensorBufferSize": (_Handle, ctypes.POINTER(ctypes.c_size_t)),
    "LockTensorBuffer": (_Handle, _Out, ctypes.c_int),
    "UnlockTensorBuffer": (_Handle,),
    "RunCompiledModel": (_Handle, _Index, _Index, _Out, _Index, _Out),
    "StartProfiler": (_Handle,),
    "StopProfiler": (_Handle,),
    "GetNumProfilerEvents": (_Handle, ctypes.POINTER(ctypes.c_int)),
    "GetProfilerEvents": (_Handle, ctypes.c_int, ctypes.POINTER(_Event)),
    "DestroyTensorBuffer": (_Handle,),
    "DestroyCompiledModel": (_Handle,),
    "DestroyOptions": (_Handle,),
    "DestroyModel": (_Handle,),
    "DestroyEnvironment": (_Handle,),
}


class LiteRt:
    """LiteRT's C functions, each failing with NoProfileError, and the handles that they made."""

    def __init__(self, library: Path, owned: contextlib.ExitStack) -> None:
        self._owned = owned
        self._libc = ctypes.CDLL(None)
        self._libc.strdup.restype = ctypes.c_void_p
        try:
            loaded = ctypes.CDLL(str(library))
            self._functions = {name: getattr(loaded, f"LiteRt{name}") for name in _FUNCTIONS}
        except (OSError, AttributeError) as error:
            raise NoProfileError(f"this runtime is built without LiteRT's C API: {error}") from None
        for name, function in self._functions.items():
            function.argtypes = _FUNCTIONS[name]
            function.restype = None if name.startswith("Destroy") else ctypes.c_int

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status."""
        status = self._functions[name](*arguments)
        if status:
            raise NoProfileError(
                f"LiteRt{name} failed: {STATUSES.get(status, 'status')} ({status})"
            )

    def get(self, name: str, *arguments: Any, kind: Any = _Handle) -> Any:
        """Call a function whose last argument receives what it returns."""
        result = kind()
        self.call(name, *arguments, ctypes.byref(result))
        return result if kind is _Handle else result.value

    def create(self, name: str, *arguments: Any, destroy: str) -> Any:
        """Call a function that makes something, which is destroyed when the profile is done."""
        handle = self.get(name, *arguments)
        self._owned.callback(self._functions[destroy], handle)
        return handle

    def add_option(self, options: Any, identifier: bytes, toml: bytes) -> None:
        """Add a text to the options, which then own it and free it."""
        text = self._libc.strdup(toml)
        free = ctypes.cast(self._libc.free, ctypes.c_void_p)
        self.call(
            "AddOpaqueOptions", options, self.get("CreateOpaqueOptions", identifier, text, free)
        )


class _Profiled:
    """A compiled model with its inputs and outputs, and the profiler that watches it."""

    def __init__(self, litert: LiteRt, model_path: str, threads: int, values: Values) -> None:
        self._litert = litert
        only_cpu = _EnvironmentOption(AUTO_REGISTER_ACCELERATORS, _Integer(ANY_INT, CPU))
        self._environment = litert.create(
            "CreateEnvironment", 1, ctypes.byref(only_cpu), destroy="DestroyEnvironment"
        )
        model = litert.create(
            "CreateModelFromFile", self._environment, model_path.encode(), destroy="DestroyModel"
        )
        options = litert.create("CreateOptions", destroy="DestroyOptions")
        litert.call("SetOptionsHardwareAccelerators", options, CPU)
        litert.add_option(options, b"runtime_options_string", b"enable_profiling = true\n")
        litert.add_option(options, b"xnnpack", b"num_threads = %d\n" % threads)
        self._model = litert.create(
            "CreateCompiledModel",
            self._environment,
            model,
            options,
            destroy="DestroyCompiledModel",
        )
        self._profiler = litert.get("CompiledModelGetProfiler", self._model)
        signature = litert.get("GetModelSignature", model, 0)
        self._inputs = self._buffers(signature, "Input", values)
        self._outputs = self._buffers(signature, "Output", None)

    def _buffers(self, signature: Any, side: str, values: Values | None) -> Any:
        """Return an array of the buffers of all inputs or outputs; inputs are filled."""
        count = self._litert.get(f"GetNumSignature{side}s", signature, kind=_Index)
        buffers = (_Handle * count)()
        for position in range(count):
            tensor = self._litert.get(f"GetSignature{side}TensorByIndex", signature, position)
            tensor_type = _tensor_type(self._litert, tensor)
            requirements = self._litert.get(
                f"GetCompiledModel{side}BufferRequirements", self._model, 0, position
            )
            buffers[position] = self._litert.create(
                "CreateManagedTensorBufferFromRequirements",
                self._environment,
                ctypes.byref(tensor_type),
                requirements,
                destroy="DestroyTensorBuffer",
            )
            if values:
                self._fill(buffers[position], tensor_type, values)
        return buffers

    def _fill(self, buffer: Any, tensor_type: _RankedTensorType, values: Values) -> None:
        dtype = DTYPES.get(tensor_type.element_type)
        if dtype is None:
            raise NoProfileError(f"an input is of LiteRT's type {tensor_type.element_type}")
        shape = tensor_type.dimensions[: tensor_type.flags & 0x7F]
        content = values(shape, dtype).tobytes()
        room = self._litert.get("GetTensorBufferSize", buffer, kind=ctypes.c_size_t)
        if len(content) > room:
            raise NoProfileError(f"an input of {len(content)} bytes has a buffer of {room}")
        address = _Handle()
        self._litert.call("LockTensorBuffer", buffer, ctypes.byref(address), LOCK_FOR_WRITING)
        ctypes.memmove(address, content, len(content))
        self._litert.call("UnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Run once."""
        inputs, outputs = self._inputs, self._outputs
        self._litert.call(
            "RunCompiledModel", self._model, 0, len(inputs), inputs, len(outputs), outputs
        )

    def profiled_run(self) -> list[Event]:
        """Run once with the profiler on; returns what it noted."""
        self._litert.call("StartProfiler", self._profiler)  # forgets the run before
        self.run()
        self._litert.call("StopProfiler", self._profiler)
        return self._events()

    def _events(self) -> list[Event]:
        count = self._litert.get("GetNumProfilerEvents", self._profiler, kind=ctypes.c_int)
        events = (_Event * (2 * count + 1))()  # room to see whether LiteRT's are larger than ours
        if count:
            self._litert.call("GetProfilerEvents", self._profiler, count, events)
        beyond = bytes(events)[count * ctypes.sizeof(_Event) :]
        known = all(
            event.type in EVENT_TYPES and event.source in EVENT_SOURCES for event in events[:count]
        )
        if any(beyond) or not known:
            raise NoProfileError("this version of LiteRT notes its events in another form")
        return [
            Event(
                (event.tag or b"").decode(errors="replace"),
                event.type,
                event.elapsed_us,
                event.number,
                event.subgraph,
            )
            for event in events[:count]
        ]


def profile(model: str, threads: int, runs: int, values: Values) -> dict[str, Any]:
    """Profile a model on the CPU with XNNPACK, the way the interpreter runs it.

    Its inputs hold what `values` makes. Returns the fields of edgefer's Profile: per operator in
    the order of execution its kernel, type, mean time in microseconds and whether the delegate
    ran it; the mean time of a whole run; partitions; operators that the delegate left out.
    Raises NoProfileError.
    """
    with contextlib.ExitStack() as owned:
        profiled = _Profiled(LiteRt(_library(), owned), model, threads, values)
        _warm_up(profiled)
        return summary([profiled.profiled_run() for _ in range(runs)])


def summary(runs: Sequence[Sequence[Event]]) -> dict[str, Any]:
    """Bring together what the profiler noted in each of the runs."""
    totals = [invocation_us(events) for events in runs]
    executions = [executed(events) for events in runs]
    first = executions[0]
    steps = [event._replace(elapsed_us=0) for event in first]
    if any([event._replace(elapsed_us=0) for event in run] != steps for run in executions):
        raise NoProfileError("the model runs other operators each time")
    operators = [
        {
            "position": position,
            "kernel": event.name,
            "type": event.name.partition(" (")[0],
            "delegated": event.type == KERNEL,
            "mean_us": sum(run[position].elapsed_us for run in executions) / len(runs),
        }
        for position, event in enumerate(first)
    ]
    count = partitions(first)
    return {
        "operators": operators,
        "runs": len(runs),
        "total_us": sum(totals) / len(runs),
        "delegate": DELEGATE if count else None,
        "partitions": count,
        "delegated_share": _delegated_share(operators),
        "left_out": dict(Counter(event.name for event in first if event.type == OPERATOR)),
    }


def invocation_us(events: Sequence[Event]) -> int:
    """Return how long a whole run took."""
    for event in events:
        if event.type == DEFAULT and event.name == INVOCATION:
            return event.elapsed_us
    raise NoProfileError("LiteRT's profiler saw no run")


def executed(events: Sequence[Event]) -> list[Event]:
    """Return the operators and kernels of one run, in order.

    Those of inner subgraphs, a loop's body, are part of the time of the operator that calls them.
    """
    found = [event for event in events if event.type in (OPERATOR, KERNEL)]
    if not found:
        raise NoProfileError("LiteRT's profiler saw no operator")
    return [event for event in found if event.subgraph == found[0].subgraph]


def partitions(steps: Sequence[Event]) -> int:
    """Count the delegate's stretches: in each of them its kernels are numbered anew."""
    count, last = 0, -1
    for event in steps:
        if event.type != KERNEL:
            last = -1
            continue
        count += last < 0 or event.number <= last
        last = event.number
    return count


def _delegated_share(operators: Sequence[dict[str, Any]]) -> float:
    """Return the delegate's share of the time; of the number where all take under 1 us."""
    timed = any(operator["mean_us"] for operator in operators)
    all_of_them, delegated = 0.0, 0.0
    for operator in operators:
        weight = operator["mean_us"] if timed else 1.0
        all_of_them += weight
        delegated += weight * operator["delegated"]
    return delegated / all_of_them


def _warm_up(profiled: _Profiled) -> None:
    end = time.monotonic() + WARMUP_SECONDS
    runs = 0
    while runs < WARMUP_RUNS or time.monotonic() < end:
        profiled.run()
        runs += 1


def _tensor_type(litert: LiteRt, tensor: Any) -> _RankedTensorType:
    """Return a tensor's type and shape; sizes that the file leaves open, its batch, are 1."""
    tensor_type = _RankedTensorType()
    litert.call("GetRankedTensorType", tensor, ctypes.byref(tensor_type))
    for axis in range(tensor_type.flags & 0x7F):
        tensor_type.dimensions[axis] = abs(tensor_type.dimensions[axis])
    return tensor_type


def _library() -> Path:
    try:
        import ai_edge_litert
    except ImportError:
        raise NoProfileError("it needs ai-edge-litert, which is not installed") from None
    version = ai_edge_litert.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise NoProfileError(f"it needs ai-edge-litert {'.'.join(map(str, OLDEST))}, not {version}")
    return Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
