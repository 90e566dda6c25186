"""Why a place on a device cannot be written to."""

_PROBLEMS = {
    b"No space left on device": "no space left",
    b"Disk quota exceeded": "its quota of disk space is used up",
    b"Read-only file system": "it is read-only",
    b"Permission denied": "no permission to write there",
}
"""The C library's words, which a device uses because its commands run with LC_ALL=C."""


def storage_problem(complaint: bytes) -> str | None:
    """Return what kept a command from writing, or None where it complained of something else."""
    return next((problem for words, problem in _PROBLEMS.items() if words in complaint), None)
