"""Why OpenSSH's client gave up, in one line with the next step."""

from __future__ import annotations

import re
import shlex

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.targets.addresses import SshAddress

# The client's own words (sshconnect.c, sshconnect2.c and clientloop.c of OpenSSH 7.6 to 10), which
# are never translated but for the C library's part: the client runs with LC_ALL=C. The first that
# is found counts.
_FAILURES = (
    (
        r"Host key verification failed|No \S+ host key is known",
        "its host key is not known here; run {command} once and accept the key there",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "does not accept your key, or the key needs a passphrase: install it with "
        "{copy_id}, or unlock it with ssh-add; {command} has to work without a password",
    ),
    (
        r"Could not resolve hostname",
        "this name is not known here; check the spelling, or give the IP address",
    ),
    (
        r"Connection refused",
        "refuses the connection; turn on its SSH server, or check the port",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Host is down",
        "cannot be reached; check that it is on and in the same network",
    ),
    (
        r"Session open refused|administratively prohibited",
        "lets you log in, but not run commands; {command} shows what it allows",
    ),
    (
        r"Connection (closed|reset)|kex_exchange_identification|banner",
        "closed the connection before the login was done; {command} -v shows why",
    ),
)


def explain(stderr: bytes, address: SshAddress) -> str:
    """Return what went wrong before a command began, from what the client printed."""
    text = stderr.decode(errors="replace")
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        return _changed_key(text, address)
    for pattern, explanation in _FAILURES:
        if re.search(pattern, text):
            copy_id = address.command.replace("ssh", "ssh-copy-id", 1)
            return explanation.format(command=f"`{address.command}`", copy_id=f"`{copy_id}`")
    said = last_line(text) or "nothing was said"
    return f"ssh failed ({said}); `{address.command}` has to work"


def _changed_key(text: str, address: SshAddress) -> str:
    file = re.search(r"Offending \S+ key in (.+):\d+", text)
    host = re.search(r"Host key for (\S+) has changed", text)
    remove = ["ssh-keygen", *(("-f", file[1]) if file else ())]
    remove += ["-R", host[1] if host else address.host]
    return (
        "host key changed: it was set up anew, or another machine answers in its place; "
        f"if you know why, remove the old key from known_hosts with `{shlex.join(remove)}`"
    )
