"""A command on a device when no other benchmark runs there, bound to some cores."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.targets.target import Target
from edgefer.errors import DeviceError

# Benchmarks take turns by a lock on the folder above the working folder: it is always there, and
# the system releases the lock whatever ends them. toybox, Android's tools, has only the form of
# flock that takes an open file, and a taskset whose mask has no 0x. mksh, Android's sh, hands the
# file on to commands only if it is opened for them, as here, and not by exec.
_SCRIPT = """
folder=$1 longest=$2 mask=$3
shift 3
waited=0
{
    if command -v flock >/dev/null; then
        until flock -n 9; do
            if [ $waited -ge $longest ]; then
                echo "edgefer: waited in vain"
                exit
            fi
            sleep 1
            waited=$((waited + 1))
        done
    fi
    echo "edgefer: waited $waited s"
    taskset $mask "$@"
} 9<"$folder" 2>&1
"""
_BEGUN = re.compile(r"^edgefer: waited (\d{1,9}) s\r?\n", re.MULTILINE)
_IN_VAIN = "edgefer: waited in vain"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a command did; `output` is its stdout and stderr in the order in which they came."""

    waited_s: int
    returncode: int
    output: str


def run_in_turn(
    target: Target, command: Sequence[str], *, cpus: Sequence[int], timeout_s: float
) -> Turn:
    """Run a command in the working folder, bound to `cpus`, when it is its turn.

    It may take `timeout_s`, and wait as long before. Raises DeviceError where that is not enough.
    """
    folder = posixpath.dirname(target.folder)
    mask = sum(1 << cpu for cpu in cpus)
    answer = target.run(
        ["sh", "-c", _SCRIPT, "sh", folder, f"{timeout_s:.0f}", f"{mask:x}", *command],
        timeout_s=2 * timeout_s,
    )
    output = answer.stdout.decode(errors="replace")
    begun = _BEGUN.search(output)
    if begun is None:
        if _IN_VAIN in output:
            problem = f"is still busy with another benchmark after {timeout_s:.0f} s; try again"
        else:
            said = last_line(answer.stderr.decode(errors="replace") or output)
            problem = f"cannot begin: {said or f'exit code {answer.returncode}'}"
        raise DeviceError(target.address, problem)
    return Turn(waited_s=int(begun[1]), returncode=answer.returncode, output=output[begun.end() :])
