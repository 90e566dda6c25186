"""Where a training stands, and what it leaves behind."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the training log."""

    stage: str
    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a training stands; `remaining_s` is an estimate."""

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    best_validation_accuracy: float
    remaining_s: float


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The best weights by validation accuracy, and how training got there."""

    checkpoint: Path
    records: tuple[EpochRecord, ...]
    best_validation_accuracy: float


@dataclass(kw_only=True)
class Position:
    """What the state file holds beside the variables."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    rate_scale: float = 1.0
    watched_best: float = -math.inf
    watched_epoch: int = 0
    plateau_best: float = -math.inf
    plateau_epoch: int = 0
    best: float = -math.inf
    updates: int = 0
    finished: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)

    def next_stage(self) -> None:
        """Stand at the first step of the next stage, its counters fresh."""
        self.stage, self.epoch, self.step, self.updates = self.stage + 1, 0, 0, 0
        self.rate_scale, self.watched_best, self.watched_epoch = 1.0, -math.inf, 0
        self.plateau_best, self.plateau_epoch = -math.inf, 0
