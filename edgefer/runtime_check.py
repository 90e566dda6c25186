"""Runs in a child: loads the .tflite it is given and invokes it once, so that the parent needn't.

Answers one line on stdout: `runtime.LOADABLE`, or what is wrong with the file.
"""

import contextlib
import os
import resource
import sys
from pathlib import Path

from edgefer import runtime


def main() -> None:
    """Try the file and answer."""
    _limit_memory()
    try:
        runtime.invoke_once(Path(sys.argv[1]))
    except runtime.RUNTIME_ERRORS as exc:
        sys.stdout.write(runtime.one_line(exc))
    else:
        sys.stdout.write(runtime.LOADABLE)


def _limit_memory() -> None:
    """Refuse more memory than the machine has, leave no core dump, be the first to be killed."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit, value in ((resource.RLIMIT_DATA, machine), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    with contextlib.suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
