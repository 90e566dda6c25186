"""From PyTorch to a float .tflite, by litert-torch in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer import child, runtime
from edgefer.converters import float_model, graph
from edgefer.converters.exported_program import ExportedProgram
from edgefer.errors import MissingExtraError, ModelError

SUFFIX = ".pt2"
TIMEOUT_S = 1800.0
"""A network of 45 million parameters and 700 operators takes about a minute on two cores."""

TOLERANCE = 1e-4
"""How far a probability of the float .tflite may be from torch's; rounding alone gives 1e-6."""


@dataclass(frozen=True, kw_only=True)
class ConvertedProgram:
    """A float .tflite; with `added_softmax` the program's own scores were no probabilities."""

    tflite: bytes
    added_softmax: bool


def from_exported_program(
    program: ExportedProgram, *, source: Path, timeout_s: float = TIMEOUT_S
) -> ConvertedProgram:
    """Convert a checked program to a float .tflite that takes (1, height, width, channels).

    Scores that are no probabilities get a softmax, so that the .tflite's are: that is measured,
    on noise. Raises ModelError about `source` where weights or answers are not finite, where
    litert-torch cannot convert it, or where the .tflite answers the same noise differently from
    torch; MissingExtraError where litert-torch is not installed.
    """
    for package in ("torch", "litert_torch"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("converting a PyTorch model", "torch")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program.pt2").write_bytes(program.archive)
        _run(program, folder, source, timeout_s)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if answer["problem"]:
            raise ModelError(source, answer["problem"])
        tflite = (folder / "model.tflite").read_bytes()
        tflite = float_model.from_tflite(_with_torchs_resizing(tflite, source), source=source)
        _require_same_answers(tflite, folder, source)
    return ConvertedProgram(tflite=tflite, added_softmax=bool(answer["added_softmax"]))


def _run(program: ExportedProgram, folder: Path, source: Path, timeout_s: float) -> None:
    """Convert program.pt2 in `folder` to model.tflite and answer.json beside it."""
    shape = ",".join(str(size) for size in program.input_shape)
    arguments = (str(folder), program.layout.value, shape)
    try:
        ended = child.run("edgefer.converters.pytorch_child", *arguments, timeout_s=timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise ModelError(source, f"was not converted by litert-torch in {timeout_s:g} s") from exc
    if ended.returncode != 0:
        how = child.death(ended.returncode)
        raise ModelError(source, f"makes litert-torch fail ({how}); is there enough memory?")


def _with_torchs_resizing(tflite: bytes, source: Path) -> bytes:
    """Let nearest-neighbour resizing pick the pixels that torch picks: ⌊i · old / new⌋.

    litert-torch 0.10 writes such operators with half-pixel centres, which is what torch's
    `nearest-exact` means; that one it writes in other operators.
    """
    model = graph.unpack(tflite, source=source)
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            if graph.operator_kind(model, operator) == "RESIZE_NEAREST_NEIGHBOR":
                operator.builtinOptions.halfPixelCenters = False
    return graph.pack(model)


def _require_same_answers(tflite: bytes, folder: Path, source: Path) -> None:
    """Compare the .tflite with torch on the noise that torch was run on."""
    path = folder / "checked.tflite"
    path.write_bytes(tflite)
    probes = np.load(folder / "probes.npy", allow_pickle=False)
    expected = np.load(folder / "scores.npy", allow_pickle=False)
    try:
        found = runtime.open_model(path).probabilities(probes)
    except ModelError as exc:
        reason = str(exc).removeprefix(f"{path}: ")
        raise ModelError(source, f"was converted to a .tflite that fails: {reason}") from exc
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            source,
            f"is converted wrongly by litert-torch: a probability differs by {difference:.2g} "
            "from torch's; write its unusual operations in other terms",
        )
