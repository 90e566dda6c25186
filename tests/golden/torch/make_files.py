"""Write the files beside this script with torch itself: python make_files.py (torch 2.13)."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


class Small(nn.Module):  # type: ignore[misc]
    """A layer of each kind that keeps something else than a weight and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)
        self.tied = nn.Linear(2, 3)
        self.tied.weight = self.head.weight


class Attack:
    """What unpickles as a call of os.system."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


def counted(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return 0, 0.25, 0.5, … in a shape: exact in every floating type."""
    return (torch.arange(torch.Size(shape).numel()) / 4).reshape(shape).to(dtype)


def filled() -> Small:
    """Return the module with weights that anyone can make again."""
    model = Small()
    for number, (_, value) in enumerate(sorted(model.state_dict(keep_vars=True).items())):
        value.data = (counted(*value.shape) + number).to(value.dtype)
    return model


def everything() -> dict[str, object]:
    """Return tensors of every type and layout that a state dict may hold."""
    base = counted(4, 6)
    types = (
        torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
        torch.int8, torch.uint8, torch.bool,
    )  # fmt: skip
    return {
        "types": OrderedDict((str(kind)[6:], counted(2, 3, dtype=kind)) for kind in types),
        "views": {
            "transposed": base.t(),
            "columns": base[1:, 2::2],
            "expanded": counted(3, 1).expand(3, 4),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 3),
        },
        "parameter": nn.Parameter(counted(3)),
        "buffer": nn.Buffer(counted(2)),
        "list": [counted(2), counted(1)],
        "not finite": torch.tensor([float("nan"), float("inf"), -float("inf")]),
    }


def training() -> dict[str, object]:
    """Return a checkpoint as training scripts write them, after a step of an optimizer."""
    model = filled()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    model.head(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    return {
        "epoch": 3,
        "state_dict": {f"module.{name}": value for name, value in weights.items()},
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "best": torch.tensor(0.5).numpy()[()],
        "shape": weights["conv.weight"].shape,
        "device": torch.device("cpu"),
    }


def main() -> None:
    """Write every file in both formats where torch has both."""
    contents = {
        "state_dict": filled().state_dict(),
        "everything": everything(),
        "training": training(),
        "tensor": counted(2, 2),
    }
    for name, content in contents.items():
        torch.save(content, HERE / f"{name}.pth")
        torch.save(content, HERE / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(filled(), HERE / "module.pth")
    torch.save({"weight": counted(2), "note": Attack()}, HERE / "code.pth")
    torch.save({"epoch": 3}, HERE / "no-tensors.pth")
    torch.save({"weight": counted(2, 2).to_sparse()}, HERE / "sparse.pth")
    torch.save({"weight": counted(2).to(torch.complex64)}, HERE / "complex.pth")
    (HERE / "plain-pickle.pth").write_bytes(pickle.dumps({"weight": [1.0, 2.0]}))
    torch.jit.save(torch.jit.script(nn.ReLU()), HERE / "script.pth")
    program = torch.export.export(nn.ReLU(), (torch.ones(1, 2),))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    torch.export.save(program, HERE / "exported.pt2")
    (HERE / "exported.pt2").rename(HERE / "exported.pth")


if __name__ == "__main__":
    main()
