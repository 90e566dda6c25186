"""What adb's states and complaints mean, and what to do about them."""

import re

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.targets.target import Answer

_ACCEPT = "unlock the phone, accept “Allow USB debugging?” on it, and try again"

_STATES = {
    "unauthorized": f"has not allowed this computer in: {_ACCEPT}",
    "authorizing": f"is being asked to allow this computer in: {_ACCEPT}",
    "connecting": "is still connecting; try again in a moment",
    "offline": "is offline: unplug it and plug it in again, or run `adb reconnect`",
    "no permissions": "may not be used by this user: install Android's udev rules (Debian: apt "
    "install android-sdk-platform-tools-common), or join the group plugdev and log in again",
}

_COMPLAINTS = (
    (re.compile("unauthorized|authorizing"), _STATES["unauthorized"]),
    (re.compile("device offline"), _STATES["offline"]),
    (re.compile("insufficient permissions|no permissions"), _STATES["no permissions"]),
    (
        re.compile("no devices|device '.*' not found"),
        "is not attached any more; check the cable, and `adb devices`",
    ),
    (
        re.compile("doesn't match this client"),
        "cannot be reached: an adb server of another version runs and does not make room; end it "
        "with its own `adb kill-server`",
    ),
    (
        re.compile("cannot connect to daemon|failed to start daemon"),
        "cannot be reached: adb's server does not start; run `adb start-server` to see why",
    ),
    (re.compile("No space left on device"), "has no room left; free some in /data/local/tmp"),
)


def meaning(state: str) -> str:
    """Say what to do about a device in a state in which it takes no commands."""
    return _STATES.get(state, f"is in the state “{state}”; start Android on it")


def complaint(answer: Answer) -> str:
    """Say what adb's refusal means and what to do; adb's own words where that is not known."""
    text = (answer.stdout + b"\n" + answer.stderr).decode(errors="replace")
    for pattern, told in _COMPLAINTS:
        if pattern.search(text):
            return told
    errors = [line for line in text.splitlines() if "error:" in line]
    said = last_line(errors[-1] if errors else text)
    return f"adb says: {said}" if said else f"adb ended with exit code {answer.returncode}"
