"""Runs in a child: converts an exported program with litert-torch, whatever that does to a process.

Its arguments are a folder with program.pt2 in it, which has been checked, the program's layout
and the input's shape with the channels last. Leaves model.tflite and answer.json there, and as
probes.npy and scores.npy what torch was asked and answered, for comparison.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.converters.exported_program import Layout

PROBES = 8
_SUM_TOLERANCE = 1e-3
_LONGEST_REASON = 200


def main() -> None:
    """Convert and answer; an exception of torch or litert-torch is an answer too."""
    folder, layout, shape = Path(sys.argv[1]), Layout(sys.argv[2]), sys.argv[3].split(",")
    answer = {"problem": "", "added_softmax": False}
    try:
        answer |= convert(folder, layout, tuple(int(size) for size in shape))
    except Exception as exc:  # noqa: BLE001 - what a foreign converter raises is not documented
        answer["problem"] = f"cannot be converted by litert-torch: {_reason(exc)}"
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def convert(folder: Path, layout: Layout, shape: tuple[int, ...]) -> dict[str, Any]:
    """Convert in this process; returns what the answer says beyond its defaults."""
    import litert_torch
    import torch

    program = torch.export.load(folder / "program.pt2")
    for name, weight in program.state_dict.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            return {"problem": f"has NaN or infinity in its weights ({name})"}
    model = program.module()
    if layout is Layout.NCHW:
        model = litert_torch.to_channel_last_io(model, args=[0])
    probes = np.random.default_rng(0).normal(size=(PROBES, *shape[1:])).astype(np.float32)
    scores = torch.cat([model(torch.from_numpy(probe[None])) for probe in probes]).detach()
    if not torch.isfinite(scores).all():
        return {"problem": "answers with NaN or infinity"}
    added_softmax = not _are_probabilities(scores)
    if added_softmax:
        model = torch.nn.Sequential(model, torch.nn.Softmax(dim=-1))
        scores = scores.softmax(dim=-1)
    np.save(folder / "probes.npy", probes)
    np.save(folder / "scores.npy", scores.numpy())
    converted = litert_torch.convert(model, (torch.zeros(shape),))
    converted.export(str(folder / "model.tflite"))
    return {"added_softmax": added_softmax}


def _are_probabilities(scores: Any) -> bool:
    return bool((scores >= 0).all() and ((scores.sum(dim=1) - 1).abs() < _SUM_TOLERANCE).all())


def _reason(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return f"{type(exc).__name__} {lines[0] if lines else ''}"[:_LONGEST_REASON].rstrip()


if __name__ == "__main__":
    main()
