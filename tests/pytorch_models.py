"""Small PyTorch classifiers of 32x32 images, and how they become exported programs."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

CLASSES = 8
SIDE = 32


class Tiny(nn.Module):  # type: ignore[misc]
    """A convolution, a batch norm and a dense layer, which answers with logits."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify."""
        features = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        logits: torch.Tensor = self.head(self.drop(features))
        return logits


class MobileNetLike(nn.Module):  # type: ignore[misc]
    """Depthwise and pointwise convolutions with batch norm and ReLU6; answers with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_layer(3, 16, 3, 2),
            *(
                layer
                for sizes in ((16, 24, 1), (24, 32, 2), (32, 48, 2))
                for layer in _pair(*sizes)
            ),
        )
        self.head = nn.Linear(48, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify."""
        logits: torch.Tensor = self.head(self.features(image).mean((2, 3)))
        return logits


def _layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    ]


def _pair(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [*_layer(inputs, inputs, 3, stride, inputs), *_layer(inputs, outputs, 1, 1)]


class PosterLike(nn.Module):  # type: ignore[misc]
    """Two branches whose tokens attend to each other, a transformer's block, a class token."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.image, self.landmarks = self._branch(width), self._branch(width)
        self.norm = nn.LayerNorm(width)
        self.query, self.keys_values = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) / 10)
        self.positions = nn.Parameter(torch.randn(1, 17, width) / 10)
        self.block = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(width, CLASSES)

    @staticmethod
    def _branch(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, 2, 1),
        )

    def _tokens(self, features: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.norm(features.flatten(2).transpose(1, 2))
        return tokens

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        """Classify."""
        face = nn.functional.interpolate(face, size=(16, 16))
        image, landmarks = self._tokens(self.image(face)), self._tokens(self.landmarks(face))
        keys, values = self.keys_values(image).chunk(2, dim=-1)
        scores = self.query(landmarks) @ keys.transpose(1, 2) * keys.shape[-1] ** -0.5
        image = image + torch.softmax(scores, -1) @ values
        tokens = torch.cat([self.class_token.expand(image.shape[0], -1, -1), image], dim=1)
        return torch.softmax(self.head(self.block(tokens + self.positions)[:, 0]), dim=-1)


def seeded(kind: type[nn.Module], **options: Any) -> nn.Module:
    """Return a module with the same random weights at every call, ready for inference."""
    torch.manual_seed(3)
    model = kind(**options).eval()
    for name, value in model.named_parameters():
        if value.ndim > 1 and not name.endswith(("class_token", "positions")):
            nn.init.kaiming_normal_(value)
    for name, value in model.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        if name.endswith("running_mean"):
            value.normal_(0, 0.2)
    return model


def export(
    model: nn.Module, path: Path, *inputs: torch.Tensor, free_sizes: Any = None
) -> torch.export.ExportedProgram:
    """Save a module as an exported program, without paths of this machine in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, inputs, dynamic_shapes=free_sizes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        torch.export.save(program, path)
    return program
