"""Every error that edgefer raises on purpose.

    EdgeferError (exit code 1)
    ├── UsageError (2)            options that don't fit together, a name that isn't known
    │   └── MissingExtraError     a feature whose optional packages are not installed
    ├── BudgetError (3)           the accuracy budget or a latency comparison was not met
    ├── ModelError (4)            a model file is unusable
    ├── DataError (4)             a dataset or an image is unusable
    ├── OutputError (1)           a result could not be written
    └── DeviceError (5)           a device failed

The message is one line for a person: what failed, on which file or device, what to try next.
"""

from pathlib import Path


class EdgeferError(Exception):
    """Base of all errors that edgefer raises on purpose."""

    exit_code = 1


class UsageError(EdgeferError):
    """Options that contradict each other, or a name that is not known."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A feature needs an optional set of packages that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs more packages: pip install 'edgefer[{extra}]'")


class BudgetError(EdgeferError):
    """A measured accuracy or latency is outside what the caller allowed."""

    exit_code = 3


class ModelError(EdgeferError):
    """A model file cannot be used."""

    exit_code = 4

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class DataError(EdgeferError):
    """A dataset or an image cannot be used."""

    exit_code = 4

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class OutputError(EdgeferError):
    """A result cannot be written where it was asked for."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class DeviceError(EdgeferError):
    """A device cannot be reached or failed at its work."""

    exit_code = 5

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(f"{device}: {problem}")
