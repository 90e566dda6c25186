"""Benchmarks on disk."""

from __future__ import annotations

from pathlib import Path

from edgefer.benchmarks.result import SCHEMA_VERSION, BenchResult
from edgefer.errors import DataError, DeviceError
from edgefer.records import InvalidRecordError, from_json

LARGEST_BYTES = 1 << 30


def read_result(path: Path) -> BenchResult:
    """Read what `edgefer bench on-device` wrote; DataError where it is something else."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(path, "is too large for a benchmark's result")
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise DataError(path, "does not exist") from exc
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror}") from exc
    try:
        result = from_json(BenchResult, content)
    except InvalidRecordError as exc:
        raise DataError(
            path, f"is not a result of 'edgefer bench on-device' ({exc}); measure again"
        ) from exc
    if result.schema_version != SCHEMA_VERSION:
        raise DataError(
            path,
            f"has schema version {result.schema_version}, this edgefer reads {SCHEMA_VERSION}: "
            "measure again, or use the edgefer that wrote it",
        )
    return result


def require_measured(result: BenchResult) -> None:
    """Raise DeviceError where a device or a model on it failed, naming the first."""
    for device in result.devices:
        problems = [device.problem, *(m.problem for m in device.measurements)]
        first = next((problem for problem in problems if problem), None)
        if first is not None:
            failed = sum(1 for problem in problems if problem)
            more = f" (and {failed - 1} more)" if failed > 1 else ""
            raise DeviceError(device.address, f"not all was measured: {first}{more}")
