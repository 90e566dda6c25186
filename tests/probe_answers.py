"""Devices that answer to probe.sh as golden/devices has it, or as a test makes it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.result import Circumstances, DeviceDescription
from edgefer.benchmarks.targets.target import Answer, Target

DEVICES = Path(__file__).parent / "golden" / "devices"
NAMES = sorted(folder.name for folder in DEVICES.iterdir() if folder.is_dir())
CPUS = "/sys/devices/system/cpu"

Command = Sequence[str]


@dataclass(kw_only=True)
class Shell:
    """As much of a Target as the probe needs: commands, and a name."""

    answer: Callable[[Command], Answer]
    address: str = "ssh://pi"

    def run(self, command: Command, *, timeout_s: float) -> Answer:
        """Return the answer to a command, which must end some time."""
        assert 0 < timeout_s < 600
        return self.answer(command)


def target(answer: Callable[[Command], Answer]) -> Target:
    return cast(Target, Shell(answer=answer))


def printing(description: bytes, state: bytes = b"", complaint: bytes = b"") -> Target:
    """Return a device that prints these answers to the two questions."""
    answers = {"description": description, "state": state}

    def answer(command: Command) -> Answer:
        return Answer(returncode=0, stdout=answers[command[4]], stderr=complaint)

    return target(answer)


def known(name: str) -> Target:
    description, state = (
        (DEVICES / name / f"{question}.txt").read_bytes() for question in ("description", "state")
    )
    return printing(description, state)


def bundle(parts: Mapping[str, str]) -> bytes:
    """Return what the script prints when these parts are all that a device has."""
    content = "".join(f"\n==edgefer== {name}\n{part}\n" for name, part in parts.items())
    return f"\n==edgefer== begin\n{content}\n==edgefer== end\n".encode()


def described(parts: Mapping[str, str]) -> DeviceDescription:
    return probe.describe(printing(bundle(parts)))


def state_of(parts: Mapping[str, str], description: DeviceDescription) -> Circumstances:
    return probe.circumstances(printing(b"", bundle(parts)), description)


ONE_CORE = described({})
