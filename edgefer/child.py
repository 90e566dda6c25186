"""edgefer's own modules run in a process of their own, where a crash harms nobody."""

import json
import signal
import subprocess
import sys

_BOOTSTRAP = (
    "import json, runpy, sys; "
    "sys.path[:] = json.loads(sys.argv[1]); "
    "sys.argv[:] = sys.argv[2:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__')"
)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module` under this interpreter and this `sys.path`.

    Unlike multiprocessing's spawn it does not import the caller's `__main__` again, so that a
    script needs no guard around its main code.
    """
    return [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path), module, *arguments]


def run(module: str, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run `module` to its end, with its stdout kept and its stderr discarded.

    Raises subprocess.TimeoutExpired, the process being killed, after `timeout_s`.
    """
    return subprocess.run(
        command(module, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout_s,
        check=False,
    )


def death(return_code: int) -> str:
    """Say how a process ended: the signal's name, or the exit code."""
    if return_code >= 0:
        return f"exit code {return_code}"
    try:
        return signal.Signals(-return_code).name
    except ValueError:
        return f"signal {-return_code}"
