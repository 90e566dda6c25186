"""Which package runs .tflite files on a device, and what its wheels need there."""

from __future__ import annotations

from dataclasses import dataclass

from edgefer.benchmarks.installing.wheels import Platform
from edgefer.benchmarks.result import DeviceDescription
from edgefer.errors import DeviceError
from edgefer.records import STRICT


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A package that runs .tflite files, with no other dependency than numpy.

    What else it asks for (tqdm, protobuf, ml_dtypes …) is for parts that agent.py doesn't use.
    """

    package: str
    version: str
    module: str
    numpy: str
    """In pip's words."""
    pythons: tuple[int, ...]
    """Minor versions of Python 3 for which there are wheels, in order."""
    glibc: tuple[int, int]
    """The oldest that its wheels run with."""
    system_numpy: bool = False
    """Whether numpy comes from the device's own packages where they have it."""

    @property
    def name(self) -> str:
        """Its folder's name on a device."""
        return f"{self.package}-{self.version}"

    @property
    def requirement(self) -> str:
        """The package in pip's words."""
        return f"{self.package}=={self.version}"


LITERT = Runtime(
    package="ai-edge-litert",
    version="2.3.0",
    module="ai_edge_litert.interpreter",
    numpy="numpy==2.*",
    pythons=(10, 11, 12, 13, 14),
    glibc=(2, 27),
)

# The last release with wheels for 32-bit boards, built against numpy 1. PyPI has no numpy for
# them; piwheels has, but linked to a library that comes with the system's own numpy.
TFLITE_RUNTIME = Runtime(
    package="tflite-runtime",
    version="2.14.0",
    module="tflite_runtime.interpreter",
    numpy="numpy==1.*",
    pythons=(9, 10, 11),
    glibc=(2, 34),
    system_numpy=True,
)

RUNTIMES = {"aarch64": LITERT, "x86_64": LITERT, "armv7l": TFLITE_RUNTIME}
"""By the processor's name in wheels."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class DevicePython:
    """What a device's python3 says of itself."""

    version: tuple[int, int]
    libc: tuple[str, str]
    """The C library's name and version; empty where it isn't GNU's."""


ASK_PYTHON = """
import json, platform, sys
print(json.dumps({"version": sys.version_info[:2], "libc": platform.libc_ver()}))
"""
"""A Python script that prints a `DevicePython`."""


def machine_of(description: DeviceDescription) -> str:
    """Return the processor's name in wheels; 64-bit kernels often run 32-bit systems."""
    narrow = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
    if description.userland_bits == 32:
        return narrow.get(description.architecture, description.architecture)
    return description.architecture


def runtime_for(machine: str, device: str) -> Runtime:
    """Return the runtime for a processor; DeviceError, which names the device, without one."""
    if machine not in RUNTIMES:
        raise DeviceError(
            device,
            f"there is no runtime for its processor ({machine}), only for "
            f"{', '.join(sorted(RUNTIMES))}",
        )
    return RUNTIMES[machine]


def platform_of(machine: str, python: DevicePython, device: str) -> Platform:
    """Return what wheels have to fit; DeviceError, which names the device, where none can."""
    runtime = runtime_for(machine, device)
    major, minor = python.version
    if major != 3 or minor not in runtime.pythons:
        raise DeviceError(
            device,
            f"its python3 is {major}.{minor}, and {runtime.requirement} has wheels for "
            f"3.{runtime.pythons[0]} to 3.{runtime.pythons[-1]} on {machine}; install one of these "
            "as python3, or another release of the system",
        )
    glibc = _glibc(*python.libc)
    if glibc is None or glibc < runtime.glibc:
        raise DeviceError(
            device,
            f"its C library is {' '.join(python.libc).strip() or 'not glibc'}, and "
            f"{runtime.requirement} needs glibc {runtime.glibc[0]}.{runtime.glibc[1]} or newer; "
            "install another release of the system",
        )
    return Platform(python=python.version, glibc=glibc, machine=machine)


def _glibc(name: str, version: str) -> tuple[int, int] | None:
    major, _, minor = version.partition(".")
    if name != "glibc" or not (major.isdecimal() and minor.isdecimal() and len(version) < 8):
        return None
    return int(major), int(minor)
