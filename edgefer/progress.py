"""What long-running functions call to say how far they are."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total)."""
