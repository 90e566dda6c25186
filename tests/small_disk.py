"""Disks that are full or read-only, for tests; only root may have them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")


@contextmanager
def mounted_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a disk in memory at `folder` with options like `ro` or `size=1m`."""
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs to mount a small disk, which this sandbox forbids even to root")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", str(folder)], check=True)
