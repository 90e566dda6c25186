"""What a device is and the state it is in, asked the same way of every device.

One POSIX shell script, probe.sh, prints files and answers of tools; everything is worked out here.
A device that lacks a file or gives nonsense is described without it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from edgefer.benchmarks.plan import ALL_CORES, BIG_CORES, LITTLE_CORES
from edgefer.benchmarks.probing import clusters, parsing, state
from edgefer.benchmarks.probing.description import description as description_of
from edgefer.benchmarks.probing.parsing import Bundle
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.result import Circumstances, DeviceDescription
from edgefer.benchmarks.targets.target import Target
from edgefer.errors import UsageError

TIMEOUT_S = 60.0
"""Emulated boards and busy phones need some seconds."""


def describe(target: Target) -> DeviceDescription:
    """Ask a device what it is; DeviceError where its shell doesn't answer."""
    return description_of(_ask(target, "description"))


def circumstances(target: Target, description: DeviceDescription) -> Circumstances:
    """Ask a device for the state it is in now; DeviceError where its shell doesn't answer.

    Quick enough to call before and after every measuring process: one shell, a few small files.
    """
    return state.circumstances(_ask_state(target, description), description)


def watched_paths(target: Target, description: DeviceDescription) -> Watched:
    """Ask a device which files tell its state while a model runs."""
    return state.watched(_ask_state(target, description), description)


def resolve_cores(cores: str, description: DeviceDescription) -> tuple[int, ...]:
    """Return the numbers of the cores that `all`, `big`, `little` or a hexadecimal mask means.

    Raises UsageError where the device has no such cores, or is all of one kind.
    """
    if cores == ALL_CORES:
        return description.cpus
    if cores in (BIG_CORES, LITTLE_CORES):
        return _of_kind(cores, description)
    return _of_mask(cores, description)


def _of_kind(cores: str, description: DeviceDescription) -> tuple[int, ...]:
    choose = clusters.fastest if cores == BIG_CORES else clusters.slowest
    chosen = choose(description.clusters)
    if chosen == description.cpus:
        raise UsageError(
            f"--cores {cores}: {description.name} has cores of one kind only; use all, or a mask"
        )
    return chosen


def _of_mask(cores: str, description: DeviceDescription) -> tuple[int, ...]:
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,2048}", cores) or not int(cores, 16):
        raise UsageError(
            f"--cores {cores}: neither all, big, little nor a hexadecimal mask like 0xf0"
        )
    mask = int(cores, 16)
    chosen = tuple(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)
    missing = sorted(set(chosen) - set(description.cpus))
    if missing:
        raise UsageError(
            f"--cores {cores}: {description.name} has no core {missing[0]} online, only "
            f"{', '.join(map(str, description.cpus))}"
        )
    return chosen


def _ask_state(target: Target, description: DeviceDescription) -> Bundle:
    return _ask(target, "state", *state.state_paths(description))


def _ask(target: Target, *question: str) -> Bundle:
    answer = target.run(["sh", "-c", _script(), "probe", *question], timeout_s=TIMEOUT_S)
    return parsing.parse(target.address, answer)


@cache
def _script() -> str:
    return files(__package__).joinpath("probe.sh").read_text(encoding="utf-8")
