"""Drives the measuring: models in turn, devices side by side, saved as it comes.

Models take turns process by process (A B A B), so that a device that slows down slows all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edgefer import __version__
from edgefer.benchmarks import models
from edgefer.benchmarks.harness import Harness
from edgefer.benchmarks.plan import BenchPlan
from edgefer.benchmarks.probing.probe import resolve_cores
from edgefer.benchmarks.result import (
    BenchResult,
    DeviceResult,
    Measurement,
    ModelIdentity,
    Verification,
)
from edgefer.errors import DeviceError, EdgeferError, ModelError, UsageError


class Interruptible(Protocol):
    """What can be ended from another thread."""

    def interrupt(self) -> None:
        """End what runs now."""


Open = Callable[[str, Callable[[Interruptible], None]], AbstractContextManager[Harness]]
"""Opens the device with this address, and hands on what can end its work from outside."""

Verify = Callable[[Harness, Path], Verification]

Report = Callable[[str, int, int], None]
"""Called with (device, done, total), in processes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model at one number of threads."""

    path: Path
    identity: ModelIdentity
    threads: int


class Results:
    """The result so far, which the devices' threads write and every change of which is saved."""

    def __init__(self, whole: BenchResult, save: Callable[[BenchResult], None]) -> None:
        self.whole = whole
        self._save = save
        self._lock = threading.Lock()

    def put(self, position: int, device: DeviceResult) -> None:
        """Replace what is known of the device at `position`, and save the whole."""
        with self._lock:
            devices = list(self.whole.devices)
            devices[position] = device
            self.whole = replace(self.whole, devices=tuple(devices))
            self._save(self.whole)


class Cancelled:
    """A switch that ends the devices' work from outside."""

    def __init__(self) -> None:
        self.wanted = False
        self._watched: list[Interruptible] = []

    def watch(self, device: Interruptible) -> None:
        """End what runs on this device too when it comes to that."""
        self._watched.append(device)
        if self.wanted:
            device.interrupt()

    def now(self) -> None:
        """End what runs on every device, and let nothing new begin."""
        self.wanted = True
        for device in self._watched:
            device.interrupt()


def run(
    plan: BenchPlan,
    *,
    open_device: Open,
    verify: Verify,
    save: Callable[[BenchResult], None],
    previous: BenchResult | None = None,
    report: Report | None = None,
) -> BenchResult:
    """Measure all of a plan; `save` is called with the whole after every process.

    What `previous` already holds, of the same models on the same devices with the same effort, is
    not measured again. A model or device that fails is noted in the result, and the others go on;
    a UsageError, as for cores that a device doesn't have, ends it all.
    """
    identities = {path: models.identify(path) for path in plan.models}
    work = [
        Work(path=path, identity=identities[path], threads=threads)
        for threads in plan.threads
        for path in plan.models
    ]
    begun = [_begun(address, plan, previous) for address in plan.devices]
    results = Results(_empty(plan, begun), save)
    cancelled = Cancelled()
    with ThreadPoolExecutor(max_workers=len(plan.devices)) as pool:
        try:
            futures = [
                pool.submit(
                    _DeviceRun(plan, work, position, results, cancelled, report or _no_report).run,
                    open_device,
                    verify,
                )
                for position in range(len(plan.devices))
            ]
            for future in futures:
                future.result()
        except BaseException:
            cancelled.now()
            raise
    return results.whole


class _DeviceRun:
    """The work on one device."""

    def __init__(
        self,
        plan: BenchPlan,
        work: Sequence[Work],
        position: int,
        results: Results,
        cancelled: Cancelled,
        report: Report,
    ) -> None:
        self.plan, self.work, self.position = plan, work, position
        self.results, self.cancelled = results, cancelled
        self.address = plan.devices[position]
        self.device = results.whole.devices[position]
        rounds = plan.effort.processes + bool(plan.effort.profile_runs) + plan.verify
        self.total = rounds * len(work)
        self.done = 0
        self._report = report

    def run(self, open_device: Open, verify: Verify) -> None:
        self._report(self.address, 0, self.total)
        try:
            with open_device(self.address, self.cancelled.watch) as harness:
                self._begin(harness)
                self._measure(harness)
                self._profile(harness)
                self._verify(harness, verify)
        except UsageError:
            raise
        except EdgeferError as exc:
            if not self.cancelled.wanted:
                self._put(replace(self.device, problem=str(exc)))

    def _begin(self, harness: Harness) -> None:
        cpus = resolve_cores(self.plan.cores, harness.description)
        fresh = DeviceResult(
            address=self.address,
            backend=harness.backend,
            description=harness.description,
            runtime=harness.runtime,
            tool_sha256=harness.tool_sha256,
        )
        kept = self.device if _same_device(self.device, fresh) else fresh
        measurements = [self._kept(kept, item, cpus) for item in self.work]
        self._put(replace(fresh, measurements=tuple(measurements)))
        for path in dict.fromkeys(item.path for item in self.work):
            harness.install(path)

    def _kept(self, kept: DeviceResult, item: Work, cpus: tuple[int, ...]) -> Measurement:
        fresh = Measurement(model=item.identity, threads=item.threads, cpus=cpus)
        for old in kept.measurements:
            if (old.model, old.threads, old.cpus) == (fresh.model, fresh.threads, fresh.cpus):
                return replace(old, problem=None)
        return fresh

    def _measure(self, harness: Harness) -> None:
        for repetition in range(self.plan.effort.processes):
            for index, item in enumerate(self.work):
                measurement = self.device.measurements[index]
                if len(measurement.processes) <= repetition and self._goes_on(measurement):
                    self._one_process(harness, index, item)
                self._step()

    def _one_process(self, harness: Harness, index: int, item: Work) -> None:
        measurement = self.device.measurements[index]
        try:
            process = harness.measure(
                item.path,
                threads=item.threads,
                cpus=measurement.cpus,
                effort=self.plan.effort,
            )
        except ModelError as exc:
            self._set(index, replace(measurement, problem=str(exc)))
        else:
            processes = (*measurement.processes, process)
            self._set(index, replace(measurement, processes=processes))

    def _profile(self, harness: Harness) -> None:
        if not self.plan.effort.profile_runs:
            return
        for index, item in enumerate(self.work):
            measurement = self.device.measurements[index]
            if measurement.profile is None and self._goes_on(measurement):
                self._one_profile(harness, index, item)
            self._step()

    def _one_profile(self, harness: Harness, index: int, item: Work) -> None:
        measurement = self.device.measurements[index]
        try:
            profile = harness.profile(
                item.path,
                threads=item.threads,
                cpus=measurement.cpus,
                runs=self.plan.effort.profile_runs,
            )
        except (ModelError, DeviceError) as exc:
            if self.cancelled.wanted:
                raise
            self._set(index, replace(measurement, profile_problem=str(exc)))
        else:
            self._set(index, replace(measurement, profile=profile, profile_problem=None))

    def _verify(self, harness: Harness, verify: Verify) -> None:
        if not self.plan.verify:
            return
        known: dict[Path, Verification] = {}
        for index, item in enumerate(self.work):
            measurement = self.device.measurements[index]
            if self._goes_on(measurement) and measurement.verification is None:
                self._set(index, self._verified(measurement, harness, verify, item.path, known))
            self._step()

    def _verified(
        self,
        measurement: Measurement,
        harness: Harness,
        verify: Verify,
        path: Path,
        known: dict[Path, Verification],
    ) -> Measurement:
        try:
            if path not in known:
                known[path] = verify(harness, path)
        except (ModelError, DeviceError) as exc:
            if self.cancelled.wanted:
                raise
            return replace(measurement, problem=f"not verified: {exc}")
        return replace(measurement, verification=known[path])

    def _goes_on(self, measurement: Measurement) -> bool:
        if self.cancelled.wanted:
            raise DeviceError(self.address, "interrupted")
        return measurement.problem is None

    def _set(self, index: int, measurement: Measurement) -> None:
        measurements = list(self.device.measurements)
        measurements[index] = measurement
        self._put(replace(self.device, measurements=tuple(measurements)))

    def _put(self, device: DeviceResult) -> None:
        self.device = device
        self.results.put(self.position, device)

    def _step(self) -> None:
        self.done += 1
        self._report(self.address, self.done, self.total)


def _begun(address: str, plan: BenchPlan, previous: BenchResult | None) -> DeviceResult:
    if previous is not None and (previous.effort, previous.cores) == (plan.effort, plan.cores):
        for device in previous.devices:
            if device.address == address:
                return replace(device, problem=None)
    return DeviceResult(address=address)


def _same_device(old: DeviceResult, new: DeviceResult) -> bool:
    return (old.backend, old.description, old.runtime, old.tool_sha256) == (
        new.backend,
        new.description,
        new.runtime,
        new.tool_sha256,
    )


def _empty(plan: BenchPlan, devices: Sequence[DeviceResult]) -> BenchResult:
    return BenchResult(
        edgefer_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        effort=plan.effort,
        cores=plan.cores,
        devices=tuple(devices),
    )


def _no_report(device: str, done: int, total: int) -> None:
    """Tell nobody."""
