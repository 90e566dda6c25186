"""What was measured on a device: its processes, and the clusters of cores that they had."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.benchmarks.result import DeviceResult, ProcessRun


def processes(device: DeviceResult) -> Iterator[ProcessRun]:
    """Yield all processes on a device, each model's in order."""
    for measurement in device.measurements:
        yield from measurement.processes


def used_clusters(device: DeviceResult) -> tuple[int, ...]:
    """Return the places, in the description, of the clusters on whose cores was measured."""
    if device.description is None:
        return ()
    cpus = {cpu for each in device.measurements if each.processes for cpu in each.cpus}
    return tuple(
        index
        for index, cluster in enumerate(device.description.clusters)
        if cpus.intersection(cluster.cpus)
    )
