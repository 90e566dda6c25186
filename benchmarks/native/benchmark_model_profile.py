"""The profile that benchmark_model prints: its operators in the order of execution.

    ============================== Run Order ==============================
                       [node type]  [first] [avg ms]     [%]  [cdf%]  [mem KB] [times called] [Name]
     Convolution (NHWC, QC8) IGEMM    0.267    0.278  3.783%  3.783%     0.000              1 …

Columns are apart by tabs, or by spaces; older tools have one more, [start]. A node type holds
spaces, commas and brackets, a name whatever the model's author gave its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgefer.benchmarks.native.benchmark_model_lines import NUMBER, Line, UnknownFormError
from edgefer.records import STRICT

DELEGATE = "Delegate/"
"""Before the name of a kernel in a delegate; LiteRT's tool puts it before the type as well."""

_RUN_ORDER = "Run Order"
_COLUMNS = ("first", "avg ms", "%", "cdf%", "mem KB", "times called", "Name")
_BEGINNINGS_OF_SECTIONS = {
    "Profiling Info for Benchmark Initialization:": False,
    "Operator-wise Profiling Info for Regular Benchmark Runs:": True,
    "Primary graph (name:": True,
    "Subgraph (index:": False,
    "Delegate internal:": False,
}
"""Whether the table that follows is the main graph's, while it is run."""

_COLUMN_NAME = re.compile(r"\[([^\[\]]*)\]")
_MEASURED = re.compile(NUMBER)
_SHARE = re.compile(rf"(?:{NUMBER}|-?nan|-?inf)%")
_CALLS = re.compile(r"\d{1,15}")
_WORD = re.compile(r"\S+")
_WHOLE_DELEGATE = re.compile(r"TfLite\w*Delegate\w*")
"""The type under which tools before TensorFlow 2.10 show all that a delegate runs."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class OperatorRow:
    """One row; `calls` are those of one run, or with LiteRT's tool those of all."""

    kernel: str
    delegated: bool
    mean_us: float
    """Of one call."""
    calls: int
    name: str


def operator_rows(lines: Sequence[Line]) -> tuple[OperatorRow, ...]:
    """Return the operators of the main graph in order; none where the output has no profile.

    Raises UnknownFormError, which shows the line, where a row is not in a known form.
    """
    places = []
    wanted = True  # tools before TensorFlow 2.2 print no heading for a section
    for place, line in enumerate(lines):
        for beginning, is_main in _BEGINNINGS_OF_SECTIONS.items():
            if line.text.startswith(beginning):
                wanted = is_main
        if wanted and _title(line.text) == _RUN_ORDER:
            places.append(place)
    if len(places) > 1:
        raise UnknownFormError(f"prints {len(places)} profiles of the main graph")
    return _table(lines[places[0] + 1 :]) if places else ()


def _title(text: str) -> str | None:
    return text.strip("= ") if text.startswith("====") else None


def _table(lines: Sequence[Line]) -> tuple[OperatorRow, ...]:
    """Read the heads of columns and the rows, which end with an empty line."""
    heads = lines[0].text if lines else ""
    kind, *columns = _COLUMN_NAME.findall(heads) or [""]
    before_shares = len(columns) - len(_COLUMNS) + 2
    if kind != "node type" or tuple(columns) not in (_COLUMNS, ("start", *_COLUMNS)):
        raise UnknownFormError("prints a profile with unknown columns", heads)
    rows = []
    for line in lines[1:]:
        if not line.text.strip():
            break
        rows.append(_row(line.text, before_shares))
    return tuple(rows)


def _row(text: str, before_shares: int) -> OperatorRow:
    """Read a row, in which `before_shares` numbers come before the two shares in percent.

    Those tell where the numbers are: the type before them and the name after may hold anything.
    """
    words = list(_WORD.finditer(text))
    for place in range(before_shares + 1, len(words) - 3):
        numbers = [*words[place - before_shares : place], words[place + 2]]
        times_called = words[place + 3]
        if (
            all(_SHARE.fullmatch(share[0]) for share in words[place : place + 2])
            and all(_MEASURED.fullmatch(number[0]) for number in numbers)
            and _CALLS.fullmatch(times_called[0])
        ):
            return _operator(
                kind=text[words[0].start() : words[place - before_shares - 1].end()],
                mean_ms=float(words[place - 1][0]),
                calls=int(times_called[0]),
                name=text[times_called.end() :].strip(),
            )
    raise UnknownFormError("prints a row of the profile in an unknown form", text)


def _operator(*, kind: str, mean_ms: float, calls: int, name: str) -> OperatorRow:
    whole = _WHOLE_DELEGATE.fullmatch(kind) is not None
    return OperatorRow(
        kernel=kind.removeprefix(DELEGATE),
        delegated=whole or name.startswith(DELEGATE) or kind.startswith(DELEGATE),
        mean_us=mean_ms * 1000,
        calls=calls,
        name=name,
    )
