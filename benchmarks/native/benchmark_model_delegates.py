"""What benchmark_model says of delegates: how much of the graph they took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgefer.benchmarks.native.benchmark_model_lines import Line, matches
from edgefer.records import STRICT

_APPLIED = re.compile(
    r"Explicitly applied (?P<name>.+?) delegate, and the model graph will be "
    r"(?:(?P<all>completely) executed by the delegate"
    r"|partially executed by the delegate w/ (?P<kernels>\d{1,9}) delegate kernels)\."
)
_NOT_APPLIED = re.compile(
    r"Though (?P<name>.+?) delegate is explicitly applied, the model graph will not be executed "
    r"by the delegate\."
)
_REPLACED = re.compile(
    r"Replacing (?P<nodes>\d{1,9})(?: out of (?P<of>\d{1,9}))? node\(s\) with delegate "
    r"\((?P<name>[^)]*)\) node, yielding (?P<partitions>\d{1,9}) partitions"
    r"(?: for the whole graph| for subgraph (?P<subgraph>\d{1,9})(?: \(.*\))?)?\.?"
)


@STRICT
@dataclass(frozen=True, kw_only=True)
class Delegation:
    """What a delegate took of the graph; None where the tool doesn't say."""

    name: str
    stretches: int | None = None
    """How many pieces of the graph it runs."""
    partitions: int | None = None
    """Of how many pieces the main graph consists, the delegate's and the others in turn."""
    nodes: int | None = None


def read_delegations(lines: Sequence[Line]) -> tuple[Delegation, ...]:
    """Return what is said of delegates and the main graph.

    Raises UnknownFormError, which shows the line, where it is in no known form.
    """
    return (
        *(_applied(match) for match in matches(lines, "Explicitly applied", _APPLIED)),
        *(
            Delegation(name=match["name"], stretches=0)
            for match in matches(lines, "Though ", _NOT_APPLIED)
        ),
        *(
            Delegation(
                name=match["name"],
                partitions=int(match["partitions"]),
                nodes=int(match["nodes"]),
            )
            for match in matches(lines, "Replacing ", _REPLACED)
            if match["subgraph"] in (None, "0")
        ),
    )


def _applied(match: re.Match[str]) -> Delegation:
    return Delegation(name=match["name"], stretches=1 if match["all"] else int(match["kernels"]))
