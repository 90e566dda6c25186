"""Warnings about a device: what it is, and on which of its cores was measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.benchmarks.measured import processes, used_clusters
from edgefer.benchmarks.plan import ALL_CORES, LITTLE_CORES
from edgefer.benchmarks.result import BenchResult, DeviceResult
from edgefer.benchmarks.warnings.kinds import BenchWarning, WarningKind


def emulated(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of times that no real silicon gave."""
    if device.description and device.description.emulated:
        yield BenchWarning(
            kind=WarningKind.EMULATED,
            finding=f"the device is emulated ({device.description.emulated})",
            hint="its times say nothing about a real one; measure there",
        )


def bits_32(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a 32-bit system: with a 64-bit one the same board was up to 5.5 times as fast."""
    if device.description and device.description.userland_bits == 32:
        yield BenchWarning(
            kind=WarningKind.BITS_32,
            finding=f"the system is 32-bit ({device.description.system})",
            hint="the fast kernels are 64-bit: install a 64-bit system if the board can run one",
        )


def governor(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a governor that may lower the clock between runs."""
    used = used_clusters(device)
    found = sorted(
        {
            name
            for process in processes(device)
            for index, name in enumerate(process.before.governors)
            if index in used and name not in (None, "performance")
        }
    )
    if found:
        yield BenchWarning(
            kind=WarningKind.GOVERNOR,
            finding=f"the governor is {' and '.join(found)}",
            hint=(
                "only root can change that on a phone: compare with results of the same governor"
                if device.description and device.description.system.startswith("Android")
                else "the clock may change between runs: echo performance | "
                "sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            ),
        )


def cores(device: DeviceResult, result: BenchResult) -> Iterator[BenchWarning]:
    """Warn of runs that can move between cores of different speed, or have only slow ones."""
    if device.description is None or len(device.description.clusters) < 2:
        return
    used, fastest = used_clusters(device), len(device.description.clusters) - 1
    if len(used) > 1:
        yield BenchWarning(
            kind=WarningKind.CORES_NOT_BOUND,
            finding=f"runs could move between {len(used)} kinds of cores",
            hint=(
                "keep them on the fast ones with --cores big"
                if result.cores == ALL_CORES
                else f"--cores {result.cores} mixes them: name cores of one kind"
            ),
        )
    elif used and fastest not in used and result.cores != LITTLE_CORES:
        yield BenchWarning(
            kind=WarningKind.LITTLE_CORES,
            finding="only slow cores were used, the fast ones idled",
            hint="an app gets the fast ones when it works: try --cores big",
        )
