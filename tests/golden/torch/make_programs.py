"""Write the .pt2 files beside this script with torch: python make_programs.py (torch 2.13)."""

import sys
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from pytorch_models import SIDE, Tiny, export, seeded  # noqa: E402 - its folder is added above


class Two(nn.Module):  # type: ignore[misc]
    """Takes two images."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tiny()

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Classify."""
        scores: torch.Tensor = self.inner(left) + self.inner(right)
        return scores


class Pair(nn.Module):  # type: ignore[misc]
    """Answers twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tiny()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classify."""
        scores = self.inner(image)
        return scores, scores.softmax(-1)


class ChannelsLast(nn.Module):  # type: ignore[misc]
    """Takes an image with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tiny()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify."""
        scores: torch.Tensor = self.inner(image.permute(0, 3, 1, 2))
        return scores


def images(batch: int = 1, channels: int = 3) -> torch.Tensor:
    """Return images without content."""
    return torch.zeros(batch, channels, SIDE, SIDE)


def main() -> None:
    """Write every program."""
    export(seeded(Tiny), HERE / "tiny.pt2", images())
    export(seeded(ChannelsLast), HERE / "channels-last.pt2", images().permute(0, 2, 3, 1))
    export(seeded(Two), HERE / "two-inputs.pt2", images(), images())
    export(seeded(Pair), HERE / "two-outputs.pt2", images())
    export(seeded(Tiny, channels=4), HERE / "four-channels.pt2", images(channels=4))
    export(seeded(Tiny), HERE / "batch-of-2.pt2", images(2))
    free = ({0: torch.export.Dim("batch")},)
    export(seeded(Tiny), HERE / "free-batch.pt2", images(2), free_sizes=free)
    export(seeded(Tiny).train(), HERE / "training.pt2", images())
    dropping = seeded(Tiny)
    dropping.drop.train()
    export(dropping, HERE / "dropout.pt2", images())
    export(seeded(Tiny).half(), HERE / "half.pt2", images().half())
    export(nn.Flatten(0, -1), HERE / "no-classifier.pt2", images())


if __name__ == "__main__":
    main()
