"""Scripts in an Android device's shell, and whether they came to their end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.targets.adb_client import AdbClient
from edgefer.benchmarks.targets.adb_errors import complaint
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError

_TRANSFER_TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class AdbShell:
    """A device's sh.

    The end of a script is told by a line that sh prints after it, because adb's own exit code
    does not tell: it is 0 too when the device was unplugged in the middle, or is older than
    Android 7. There, stderr comes with stdout.
    """

    client: AdbClient
    serial: str

    def run(
        self,
        script: str,
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,
    ) -> Answer:
        """Run a script, whose stdin ends at once unless something is given or it stays open.

        Raises TimeoutError where it takes longer, DeviceError where the connection broke off.
        """
        end = secrets.token_hex(16)
        source = "" if stdin or stdin_stays_open else "</dev/null"
        answer = self.client.call(
            "-s",
            self.serial,
            "shell",
            f"{{ {script}\n}} {source}; echo {end}$?",
            timeout_s=timeout_s,
            stdin=stdin,
            stdin_stays_open=stdin_stays_open,
        )
        stdout, ended, code = answer.stdout.rpartition(end.encode())
        if not ended or not code.strip().isdigit():
            raise DeviceError(self.client.address, _why_broken_off(answer))
        if code.endswith(b"\r\n"):  # the terminal of a device older than Android 7
            stdout = stdout.replace(b"\r\n", b"\n")
        return Answer(returncode=int(code), stdout=stdout, stderr=answer.stderr)

    def adb(self, *words: str) -> Answer:
        """Call adb for this device; what it refuses is a DeviceError."""
        try:
            answer = self.client.call("-s", self.serial, *words, timeout_s=_TRANSFER_TIMEOUT_S)
        except TimeoutError as exc:
            problem = f"adb {words[0]} did not end within {_TRANSFER_TIMEOUT_S:.0f} s"
            raise DeviceError(self.client.address, problem) from exc
        if answer.returncode != 0:
            raise DeviceError(self.client.address, complaint(answer))
        return answer


def reason(answer: Answer) -> str:
    """Return the last line that a failed command printed."""
    return last_line((answer.stderr.strip() or answer.stdout).decode(errors="replace"))


def _why_broken_off(answer: Answer) -> str:
    if answer.stderr.strip():
        return complaint(Answer(returncode=answer.returncode, stdout=b"", stderr=answer.stderr))
    return "was disconnected while a command ran; check the cable, and `adb devices`"
