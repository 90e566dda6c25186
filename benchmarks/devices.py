"""From an address to a device that measures: the one place that knows all kinds of devices."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from edgefer import runtime
from edgefer.benchmarks import verification
from edgefer.benchmarks.agent_harness import AgentHarness
from edgefer.benchmarks.harness import Harness
from edgefer.benchmarks.installing import runtime_setup
from edgefer.benchmarks.native.benchmark_tool import NAME as NATIVE
from edgefer.benchmarks.native.benchmark_tool import android_abi, find_tool
from edgefer.benchmarks.native.native_harness import NativeHarness
from edgefer.benchmarks.plan import BenchPlan
from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.result import DeviceDescription, Verification
from edgefer.benchmarks.targets.adb import AdbTarget, attached_devices
from edgefer.benchmarks.targets.addresses import (
    AdbAddress,
    Address,
    AllAdbAddress,
    LocalAddress,
    SshAddress,
    parse,
)
from edgefer.benchmarks.targets.local import LocalTarget
from edgefer.benchmarks.targets.ssh import SshTarget
from edgefer.benchmarks.targets.target import Target
from edgefer.download import cache_folder
from edgefer.errors import DeviceError, UsageError

VERIFIED_INPUTS = 16

RUNTIME = "ai-edge-litert"
"""The package whose version benchmark_model is downloaded in."""

Say = Callable[[str, str], None]
"""Called with a device's address and what is being done there now."""


def expand(devices: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses to measure, `adb:all` replaced by every attached device.

    Raises UsageError for what is no address, and for a device that stands twice.
    """
    found: list[str] = []
    for text in devices:
        address = parse(text)
        if isinstance(address, AllAdbAddress):
            found += _all_adb()
        else:
            found.append(str(address))
    twice = next((text for text in found if found.count(text) > 1), None)
    if twice is not None:
        raise UsageError(f"--device {twice} stands twice")
    return tuple(found)


@contextmanager
def opened(
    address: str, watch: Callable[[Target], None], *, plan: BenchPlan, say: Say
) -> Iterator[Harness]:
    """Connect to a device and yield what measures there; the device is left as it was found.

    Only what a plan's `setup` installs stays. `watch` is called with the connected device, whose
    `interrupt` ends the work.
    """
    parsed = parse(address)
    with _target(parsed) as target:
        watch(target)
        description = probe.describe(target)
        if isinstance(parsed, AdbAddress):
            yield _native(target, description, plan, say)
        else:
            yield _agent(target, description, _python(parsed, target, description, plan, say), plan)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A device that answered; `runtime` is None where it has none."""

    description: DeviceDescription
    runtime: str | None


def describe(address: str) -> Reached:
    """Connect to a device only to say what it is, and which runtime it has."""
    parsed = parse(address)
    with _target(parsed) as target:
        description = probe.describe(target)
        runtime = None
        if isinstance(parsed, AdbAddress):
            runtime = f"{NATIVE}, which edgefer brings"
        else:
            python = _python(parsed, target, description, BenchPlan(models=()), _say_nothing)
            with suppress(DeviceError):
                runtime = _agent(target, description, python, BenchPlan(models=())).runtime
        return Reached(description=description, runtime=runtime)


def verify(harness: Harness, model: Path) -> Verification:
    """Run the same inputs on the device and on this machine, and compare the outputs."""
    here = runtime.open_model(model, checked=True)
    inputs = verification.verification_inputs(here.input, VERIFIED_INPUTS)
    return verification.compare_outputs(
        harness.outputs(model, inputs),
        here.scores(inputs),
        here.output,
        name=harness.description.name,
    )


def reachable(devices: Iterable[str]) -> Iterator[tuple[str, Reached | DeviceError]]:
    """Yield each device's address with what it is, or why it cannot be reached."""
    for address in devices:
        try:
            yield address, describe(address)
        except DeviceError as exc:
            yield address, exc


def attached() -> tuple[str, ...]:
    """Return the addresses of all Android devices that adb sees; none where there is no adb."""
    if shutil.which("adb") is None:
        return ()
    return tuple(f"adb:{device.serial}" for device in attached_devices())


def _all_adb() -> list[str]:
    found = [f"adb:{device.serial}" for device in attached_devices()]
    if not found:
        raise DeviceError("adb:all", "no device is attached; plug one in and run 'adb devices'")
    return found


def _target(address: Address) -> Target:
    if isinstance(address, LocalAddress):
        return LocalTarget()
    if isinstance(address, SshAddress):
        return SshTarget(address)
    if isinstance(address, AdbAddress):
        return AdbTarget(address.serial)
    raise UsageError(f"{address} stands for several devices")


def _python(
    address: Address, target: Target, description: DeviceDescription, plan: BenchPlan, say: Say
) -> str:
    if isinstance(address, LocalAddress):
        return sys.executable
    if plan.setup:
        return runtime_setup.set_up(target, description, progress=partial(say, target.address))
    return runtime_setup.find_python(target) or "python3"


def _agent(
    target: Target, description: DeviceDescription, python: str, plan: BenchPlan
) -> AgentHarness:
    return AgentHarness(
        target,
        description,
        circumstances=partial(probe.circumstances, target, description),
        watched=probe.watched_paths(target, description),
        python=python,
        timeout_s=plan.effort.timeout_s,
    )


def _native(
    target: Target, description: DeviceDescription, plan: BenchPlan, say: Say
) -> NativeHarness:
    tool = find_tool(
        plan.tool,
        android_abi(description),
        metadata.version(RUNTIME),
        cache=cache_folder() / "benchmark_model",
        progress=partial(say, target.address),
    )
    return NativeHarness(
        target, description, tool, circumstances=partial(probe.circumstances, target, description)
    )


def _say_nothing(device: str, text: str) -> None:
    """Tell nobody."""
