"""Lists of names in messages."""

from collections.abc import Sequence

_SHOWN = 6


def listed(names: Sequence[str]) -> str:
    """Return the names on one line, shortened after the first six: `'a', 'b' and 3 more`."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
