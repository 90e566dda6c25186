"""A benchmark as tables of text, the same on a terminal, in Markdown and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from edgefer.benchmarks.result import Agreement, BenchResult, DeviceResult, Measurement, Profile
from edgefer.benchmarks.statistics import (
    Interval,
    LatencyStatistics,
    Ratio,
    latency_statistics,
    ratio,
)
from edgefer.benchmarks.warnings.kinds import thread_count
from edgefer.benchmarks.warnings.rules import BenchWarning, WarningKind, warnings_of

MOST_TYPES_SHOWN = 4
LEAST_SHARE_SHOWN = 0.005

LATENCY_COLUMNS = ("median ms", "95% interval", "p90 ms", "per second", "speed-up")
START_COLUMNS = ("load cold ms", "warm ms", "first run ms", "memory MB", "in delegate")
PROFILE_COLUMNS = ("model", "operator or kernel", "in delegate", "count", "µs", "share")
VERIFICATION_COLUMNS = ("model", "outputs", "bit-equal", "apart by", "a step", "same class")
AGREEMENTS = {
    Agreement.IDENTICAL: "identical",
    Agreement.WITHIN_ONE_STEP: "within a step",
    Agreement.DIFFERENT: "DIFFERENT",
}
MOST_TYPES_SHOWN = 4
LEAST_SHARE_SHOWN = 0.005
NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a title; the first `text_columns` columns are words."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


def heading(device: DeviceResult) -> str:
    """Return a device on one line: what it is, what ran the models, whether it is emulated."""
    known = device.description
    if known is None:
        return device.address
    cores = ", ".join(
        f"{len(cluster.cpus)}× {cluster.name or 'core'}"
        + (f" {cluster.maximum_khz / 1e6:.1f} GHz" if cluster.maximum_khz else "")
        for cluster in known.clusters
    )
    facts = dict.fromkeys([known.name, known.soc, cores, known.system, device.runtime])
    mark = f"  EMULATED ({known.emulated})" if known.emulated else ""
    return f"{device.address}  {', '.join(fact for fact in facts if fact)}{mark}"


def tables(device: DeviceResult) -> list[Table]:
    """Return what was measured on a device: latency, start, where the time goes, verification."""
    several = len({measurement.threads for measurement in device.measurements}) > 1
    names = ("model", "threads") if several else ("model",)
    found = [
        Table(
            title=f"Latency ({thread_count(_first_threads(device))})" if not several else "Latency",
            columns=(*names, *LATENCY_COLUMNS),
            rows=tuple(_named(several, measured(device), partial(_latency_cells, device))),
        ),
        Table(
            title="Start and memory",
            columns=(*names, *START_COLUMNS),
            rows=tuple(_named(several, measured(device), _start_cells)),
        ),
        Table(
            title=f"Where the time goes ({thread_count(_first_threads(device))})",
            columns=PROFILE_COLUMNS,
            rows=tuple(profile_rows(device)),
            text_columns=2,
        ),
        Table(
            title="The same inputs on the device and on this machine",
            columns=VERIFICATION_COLUMNS,
            rows=tuple(verification_rows(device)),
            text_columns=2,
        ),
    ]
    return [table for table in found if table.rows]


def short_name(measurement: Measurement) -> str:
    """Return a model's name without the ending that all have."""
    return measurement.model.name.removesuffix(".tflite")


def _named(
    several: bool,  # noqa: FBT001 - whether there is a column for the number of threads
    found: Iterable[tuple[Measurement, LatencyStatistics]],
    cells: Callable[[Measurement, LatencyStatistics], tuple[str, ...]],
) -> Iterator[tuple[str, ...]]:
    for measurement, statistics in found:
        threads = (str(measurement.threads),) if several else ()
        yield (short_name(measurement), *threads, *cells(measurement, statistics))


def _latency_cells(
    device: DeviceResult, measurement: Measurement, statistics: LatencyStatistics
) -> tuple[str, ...]:
    return (
        milliseconds(statistics.latency_us) + ("" if statistics.median_us else " (mean)"),
        _interval(statistics.interval_us),
        milliseconds(statistics.p90_us),
        f"{statistics.frames_per_second:.1f}",
        _ratio(_against_first(device, measurement, statistics)),
    )


def _start_cells(measurement: Measurement, statistics: LatencyStatistics) -> tuple[str, ...]:
    return (
        _number(statistics.cold_load_ms),
        _number(statistics.warm_load_ms),
        milliseconds(statistics.first_inference_us),
        _megabytes(model_memory(measurement)),
        _delegated(measurement.profile),
    )


def profile_rows(device: DeviceResult) -> Iterator[tuple[str, ...]]:
    """Yield the costliest types of operators of each profiled model, and the rest as one row.

    Only at the first number of threads: the others' profiles are in the JSON.
    """
    for measurement in device.measurements:
        if measurement.profile is None or measurement.threads != _first_threads(device):
            continue
        name = short_name(measurement)
        rows = by_type(measurement.profile)
        whole = sum(row.total_us for row in rows) or 1.0
        costly = sum(row.total_us >= LEAST_SHARE_SHOWN * whole for row in rows)
        count = min(costly, MOST_TYPES_SHOWN)
        shown, rest = rows[:count], rows[count:]
        for row in shown:
            yield (name, *row.cells(whole))
        if rest:
            count, spent = sum(r.count for r in rest), sum(r.total_us for r in rest)
            yield (
                name,
                f"{len(rest)} other kind{'s' * (len(rest) > 1)}",
                "",
                str(count),
                f"{spent:.0f}",
                f"{spent / whole:.1%}",
            )


@dataclass(frozen=True, kw_only=True)
class TypeTime:
    """The time of one type of operator within a run."""

    kind: str
    delegated: bool
    count: int
    total_us: float

    def cells(self, whole_us: float) -> tuple[str, ...]:
        """Return the row's cells, its share being of `whole_us`."""
        delegated = "yes" if self.delegated else "no"
        share = f"{self.total_us / whole_us:.1%}"
        return (self.kind, delegated, str(self.count), f"{self.total_us:.0f}", share)


def verification_rows(device: DeviceResult) -> Iterator[tuple[str, ...]]:
    """Yield how each verified model's outputs compare with this machine's."""
    seen = set()
    for measurement in device.measurements:
        found = measurement.verification
        if found is not None and measurement.model not in seen:
            seen.add(measurement.model)
            yield (
                short_name(measurement),
                AGREEMENTS[found.agreement],
                f"{found.identical} of {found.inputs}",
                f"{found.largest_difference:.2g}",
                f"{found.step:.2g}",
                f"{found.same_top_class} of {found.inputs}",
            )


def problems(device: DeviceResult) -> list[str]:
    """Return what failed on a device, once each."""
    found = [device.problem]
    for measurement in device.measurements:
        found += [measurement.problem, measurement.profile_problem]
    return list(dict.fromkeys(problem for problem in found if problem))


def warnings(device: DeviceResult, result: BenchResult) -> list[str]:
    """Return what a reader must know before believing a device's figures, and what to do.

    What is found of several measurements is said once, of the first.
    """
    by_kind: dict[WarningKind, list[BenchWarning]] = {}
    for warning in warnings_of(device, result):
        by_kind.setdefault(warning.kind, []).append(warning)
    found = []
    for first, *others in by_kind.values():
        likewise = f" (and likewise {len(others)} more)" if others else ""
        found.append(f"{device.address}: {first.text}{likewise}")
    return found


def _first_threads(device: DeviceResult) -> int:
    return device.measurements[0].threads if device.measurements else 1


def measured(device: DeviceResult) -> list[tuple[Measurement, LatencyStatistics]]:
    """Return the measurements that have a latency, with their statistics."""
    found = ((m, latency_statistics(m)) for m in device.measurements)
    return [(measurement, statistics) for measurement, statistics in found if statistics]


def _against_first(
    device: DeviceResult, measurement: Measurement, statistics: LatencyStatistics
) -> Ratio | None:
    """Compare with the device's first model at the same number of threads."""
    first = next(m for m in device.measurements if m.threads == measurement.threads)
    reference = latency_statistics(first)
    if reference is None or first is measurement:
        return None
    return ratio(reference, statistics)


def by_type(profile: Profile) -> list[TypeTime]:
    """Sum up a profile by type of operator or kernel, the costliest first."""
    kinds = dict.fromkeys((operator.type, operator.delegated) for operator in profile.operators)
    rows = []
    for kind, delegated in kinds:
        times = [o.mean_us for o in profile.operators if (o.type, o.delegated) == (kind, delegated)]
        rows.append(TypeTime(kind=kind, delegated=delegated, count=len(times), total_us=sum(times)))
    return sorted(rows, key=lambda row: -row.total_us)


def model_memory(measurement: Measurement) -> int | None:
    """Return what the loaded model takes, the median over processes, in bytes."""
    taken = sorted(
        p.memory.loaded_bytes - p.memory.before_bytes
        for p in measurement.processes
        if p.memory.loaded_bytes is not None and p.memory.before_bytes is not None
    )
    return taken[len(taken) // 2] if taken else None


def _delegated(profile: Profile | None) -> str:
    if profile is None:
        return NOTHING
    partitions = profile.partitions
    parts = f" in {partitions} parts" if partitions is not None and partitions > 1 else ""
    return f"{profile.delegated_share:.0%}{parts}"


def milliseconds(microseconds: float | None) -> str:
    """Return microseconds as milliseconds, or a dash for none."""
    return NOTHING if microseconds is None else _number(microseconds / 1000)


def _number(value: float | None) -> str:
    """Return a figure with about three digits that count."""
    if value is None:
        return NOTHING
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}" if value >= 1 else f"{value:#.3g}"


def _interval(interval: Interval | None) -> str:
    return (
        NOTHING
        if interval is None
        else f"{milliseconds(interval.low)}…{milliseconds(interval.high)}"
    )


def _megabytes(size_bytes: int | None) -> str:
    return NOTHING if size_bytes is None else f"{size_bytes / 1e6:.1f}"


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return NOTHING
    interval = found.interval
    spread = f" ({interval.low:.2f}…{interval.high:.2f})" if interval else ""
    return f"{found.value:.2f}×{spread}"
