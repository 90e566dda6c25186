"""Statistics of runs as benchmark_model prints them, on one line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgefer.benchmarks.native.benchmark_model_lines import NUMBER, UnknownFormError, read
from edgefer.records import STRICT

_PERCENTILES = (
    rf"(?: p5=(?P<p5_us>{NUMBER}) median=(?P<median_us>{NUMBER}) p95=(?P<p95_us>{NUMBER}))?"
)
_NO_RUNS = re.compile(rf"count=0{_PERCENTILES}")
_EQUAL_RUNS = re.compile(
    rf"count=(?P<count>\d{{1,15}}) curr=(?P<each_us>{NUMBER})(?P<same>\(all same\))?{_PERCENTILES}"
)
_RUNS = re.compile(
    rf"count=(?P<count>\d{{1,15}}) first=(?P<first_us>{NUMBER}) curr=(?P<last_us>{NUMBER})"
    rf" min=(?P<minimum_us>{NUMBER}) max=(?P<maximum_us>{NUMBER})"
    rf" avg=(?P<mean_us>{NUMBER}) std=(?P<std_us>{NUMBER}){_PERCENTILES}"
)

_ROUNDING = 1e-5
"""C++ prints six digits of the mean."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class RunStatistics:
    """What is known of one or more runs, microseconds; only newer tools give percentiles."""

    count: int
    first_us: float
    last_us: float
    minimum_us: float
    maximum_us: float
    mean_us: float
    std_us: float
    """Of the population, its decimals cut off."""
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None


def read_statistics(line: str) -> RunStatistics | None:
    """Read one line; None for no runs.

    Raises UnknownFormError, which shows the line, where it is in no known form, or its numbers
    contradict each other.
    """
    if _NO_RUNS.fullmatch(line):
        return None
    match = _EQUAL_RUNS.fullmatch(line) or read(_RUNS, line)
    told = match.groupdict()
    count, same = int(told.pop("count")), told.pop("same", None) is not None
    numbers = {name: float(text) for name, text in told.items() if text is not None}
    if "each_us" in numbers:
        known = count > 0 and same == (count > 1)
        each_us = numbers.pop("each_us")
        numbers |= dict.fromkeys(("first_us", "last_us", "minimum_us", "maximum_us"), each_us)
        numbers |= {"mean_us": each_us, "std_us": 0.0}
    else:
        known = count > 1
    statistics = RunStatistics(count=count, **numbers)
    if not known or not _agrees(statistics):
        raise UnknownFormError("prints statistics that contradict themselves", line)
    return statistics


def _agrees(told: RunStatistics) -> bool:
    """Say whether the extremes are the extremes, and the mean and deviation can be theirs."""
    single = (told.first_us, told.last_us, told.p5_us, told.median_us, told.p95_us)
    rounding_us = _ROUNDING * told.maximum_us
    return (
        0 <= told.minimum_us <= told.maximum_us
        and all(told.minimum_us <= run <= told.maximum_us for run in single if run is not None)
        and told.minimum_us - rounding_us <= told.mean_us <= told.maximum_us + rounding_us
        and 0 <= told.std_us <= told.maximum_us - told.minimum_us
    )
