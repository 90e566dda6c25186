"""Which files on a device tell its state while a model runs there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Paths on the device that are quick enough to read between two runs."""

    frequency_paths: tuple[str | None, ...]
    """Frequency in kHz: a path a cluster, in the description's order; None where there is none."""
    temperature_paths: tuple[str, ...]
    """Temperatures in thousandths of a degree Celsius, of zones that gave a plausible one."""
