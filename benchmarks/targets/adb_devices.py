"""The devices that adb sees, and which one is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgefer.benchmarks.targets.adb_client import ADB, AdbClient
from edgefer.benchmarks.targets.adb_errors import complaint, meaning
from edgefer.errors import DeviceError

READY = "device"
"""adb's word for a device that takes commands."""

_TIMEOUT_S = 60.0

_LISTED = re.compile(r"(?P<serial>\S+)\s+(?P<state>no permissions|\w+)\b(?P<rest>.*)")
_MODEL = re.compile(r"(?<=\bmodel:)\S+")


@dataclass(frozen=True, kw_only=True)
class AttachedDevice:
    """A device that adb sees; `state` is adb's word, `READY` where it takes commands."""

    serial: str
    state: str
    model: str | None


def attached_devices() -> tuple[AttachedDevice, ...]:
    """Return what adb sees, ready or not, in adb's order; DeviceError where adb doesn't answer."""
    try:
        answer = AdbClient(ADB).call("devices", "-l", timeout_s=_TIMEOUT_S)
    except TimeoutError as exc:
        problem = f"does not answer within {_TIMEOUT_S:.0f} s; run `adb kill-server`"
        raise DeviceError(ADB, problem) from exc
    if answer.returncode != 0:
        raise DeviceError(ADB, complaint(answer))
    return listed(answer.stdout.decode(errors="replace"))


def listed(text: str) -> tuple[AttachedDevice, ...]:
    """Read what `adb devices -l` prints."""
    _, _, lines = text.partition("List of devices attached")
    found = [_LISTED.fullmatch(line.strip()) for line in lines.splitlines()]
    return tuple(_device(match) for match in found if match)


def ready_device(serial: str | None) -> str:
    """Return the serial number of the device that is meant: of the only one, without `serial`.

    Raises DeviceError, with the next step, where it is not there, not ready, or ambiguous.
    """
    attached = attached_devices()
    wanted = serial or os.environ.get("ANDROID_SERIAL")
    meant = [device for device in attached if wanted in (None, device.serial)]
    if not meant:
        raise DeviceError(f"adb:{wanted}" if wanted else ADB, _nothing(wanted, attached))
    if len(meant) > 1:
        problem = f"several devices are attached: {_names(meant)}; choose by adb:SERIAL, or adb:all"
        raise DeviceError(ADB, problem)
    if meant[0].state != READY:
        raise DeviceError(f"adb:{meant[0].serial}", meaning(meant[0].state))
    return meant[0].serial


def _device(match: re.Match[str]) -> AttachedDevice:
    model = _MODEL.search(match["rest"])
    return AttachedDevice(
        serial=match["serial"],
        state=match["state"],
        model=model[0].replace("_", " ") if model else None,
    )


def _nothing(wanted: str | None, attached: tuple[AttachedDevice, ...]) -> str:
    if wanted is None:
        return (
            "no device is attached: switch on “USB debugging” in the phone's developer options, "
            "and plug it in"
        )
    over_network = f"; run `adb connect {wanted}` first" if ":" in wanted else ""
    return f"is not attached{over_network} (attached: {_names(attached) or 'none'})"


def _names(devices: Iterable[AttachedDevice]) -> str:
    return ", ".join(
        f"{device.serial} ({device.model if device.state == READY else device.state})"
        for device in devices
    )
