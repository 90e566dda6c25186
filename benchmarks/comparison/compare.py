"""Whether a second benchmark is slower than a first.

The question is answered for each model, device and number of threads by the ratio of latencies
with its 95% interval, from how the processes differ (`statistics.ratio`). Two answers are kept
apart. Is there a difference: only if the interval leaves out 1. Is the model slower by more than
allowed: only if the whole interval lies beyond the limit. So a benchmark that is exactly at the
limit fails one time in forty, not every second time as if the ratio alone counted, and noise
alone practically never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from edgefer.benchmarks.comparison.matching import DevicePair, Key, device_pairs
from edgefer.benchmarks.comparison.same_circumstances import differences, effort_facts
from edgefer.benchmarks.result import BenchResult
from edgefer.benchmarks.statistics import Interval, LatencyStatistics, Ratio, ratio
from edgefer.benchmarks.warnings.kinds import thread_count
from edgefer.errors import BudgetError, UsageError

DEFAULT_MAX_SLOWDOWN = 0.03


class Verdict(StrEnum):
    """Whether a model's latency changed."""

    SLOWER = "slower"
    FASTER = "faster"
    NO_DIFFERENCE_SHOWN = "no difference shown"


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One model at one number of threads on one device, before and now."""

    device: str
    """The new benchmark's address of it."""
    model: str
    precision: str
    threads: int
    file_changed: bool
    """Whether the two files of this name differ."""
    old: LatencyStatistics
    new: LatencyStatistics
    ratio: Ratio
    """The new latency by the old one: over 1 is slower."""
    verdict: Verdict
    regression: bool
    """Whether the whole interval lies beyond what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two benchmarks side by side. The texts name device, model and threads."""

    max_slowdown: float
    models: tuple[ComparedModel, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    not_compared: tuple[str, ...]
    """What both sides have but no interval can be given for, with the reason."""
    differences: tuple[str, ...]
    """Of circumstances, where the comparison was forced."""


def compare(
    old: BenchResult,
    new: BenchResult,
    *,
    max_slowdown: float = DEFAULT_MAX_SLOWDOWN,
    force: bool = False,
) -> Comparison:
    """Compare two benchmarks; `max_slowdown` is the share by which a model may be slower.

    Raises UsageError where the circumstances differ, naming each difference, unless `force` is
    given, and where nothing can be compared.
    """
    if not 0 <= max_slowdown < math.inf:
        raise UsageError(f"the largest slowdown is a share from 0 up, not {max_slowdown}")
    devices = device_pairs(old, new)
    different = _all_differences(old, new, devices)
    if different and not force:
        raise UsageError(
            f"the circumstances differ: {'; '.join(different)}; measure alike, or use --force"
        )
    common = [(device, key, _obstacle(device, key)) for device in devices for key in device.common]
    comparison = Comparison(
        max_slowdown=max_slowdown,
        models=tuple(_compared(d, key, max_slowdown) for d, key, why in common if why is None),
        only_old=tuple(_name(d, key) for d in devices for key in d.old if key not in d.new),
        only_new=tuple(_name(d, key) for d in devices for key in d.new if key not in d.old),
        not_compared=tuple(f"{_name(d, key)}: {why}" for d, key, why in common if why),
        differences=different,
    )
    if not comparison.models:
        reasons = comparison.not_compared or ("they share no model on the same device and threads",)
        raise UsageError(f"nothing can be compared: {'; '.join(reasons)}")
    return comparison


def require(comparison: Comparison) -> None:
    """Raise BudgetError where a model is slower by more than was allowed, naming each."""
    slower = [_regression(model) for model in comparison.models if model.regression]
    if slower:
        raise BudgetError(
            f"slower by more than the {comparison.max_slowdown:.1%} allowed: {'; '.join(slower)}"
        )


def _all_differences(
    old: BenchResult, new: BenchResult, devices: list[DevicePair]
) -> tuple[str, ...]:
    effort = differences(effort_facts(old.effort), effort_facts(new.effort))
    return (*effort, *(text for device in devices for text in device.differences))


def _obstacle(device: DevicePair, key: Key) -> str | None:
    """Return why there is no interval for a model, or None."""
    old, new = device.old[key].statistics, device.new[key].statistics
    if old.figure is not new.figure:
        return f"the {old.figure} then, the {new.figure} now"
    if min(old.processes, new.processes) < 2:
        return f"{old.processes} and {new.processes} processes, an interval needs 2 and 2"
    return None


def _compared(device: DevicePair, key: Key, max_slowdown: float) -> ComparedModel:
    old, new = device.old[key], device.new[key]
    found = ratio(new.statistics, old.statistics)
    return ComparedModel(
        device=device.address,
        model=key.model,
        precision=key.precision,
        threads=key.threads,
        file_changed=old.measurement.model.sha256 != new.measurement.model.sha256,
        old=old.statistics,
        new=new.statistics,
        ratio=found,
        verdict=_verdict(found.interval),
        regression=found.interval is not None and found.interval.low > 1 + max_slowdown,
    )


def _verdict(interval: Interval | None) -> Verdict:
    if interval is not None and interval.low > 1:
        return Verdict.SLOWER
    if interval is not None and interval.high < 1:
        return Verdict.FASTER
    return Verdict.NO_DIFFERENCE_SHOWN


def _name(device: DevicePair, key: Key) -> str:
    return f"{key.model} ({key.precision}) on {device.address}, {thread_count(key.threads)}"


def _regression(model: ComparedModel) -> str:
    interval = model.ratio.interval
    spread = f" ({interval.low - 1:.1%} to {interval.high - 1:.1%})" if interval else ""
    where = f"{model.model} on {model.device}, {thread_count(model.threads)}"
    return f"{where}: {model.ratio.value - 1:.1%}{spread}"
