"""ARBEx: two pretrained face backbones, cross-attention at three scales, and label balancing.

Wasi et al., "ARBEx: Attentive Feature Extraction with Reliability Balancing for Robust Facial
Expression Learning", 2023 (arXiv 2305.01486), on Mao et al., "POSTER++", 2023 (arXiv 2301.12149).
Where the paper and the authors' code (repository takihasan/ARBEx) differ, this follows the code.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edgefer.data.labels import ALPHABETICAL_8
from edgefer.models.arbex.plan import CELL
from edgefer.models.configured import Configured
from edgefer.models.spec import ModelSpec

if TYPE_CHECKING:
    import keras

    from edgefer.models.network import Weights
    from edgefer.training.recipes import Stage

SEEN = 112
"""Side in pixels of what the authors' backbones see: every other pixel of their 224."""

SMALLEST = 48

EMBEDDING = 768

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""ImageNet's, for pixels of 0…255."""


class Balancing(StrEnum):
    """What corrects the classifier's distribution where the classifier is not sure.

    `batch` is what the authors train: distances to anchors, and an attention that PyTorch runs
    over the batch, since it reads their (batch, features) tensor as one sequence. `single` is
    what that is for a batch of one, exactly. `anchors` is their evaluation code's, which leaves
    the attention out; its distributions do not sum to 1. `none` takes the classifier alone, which
    is that code's default.
    """

    BATCH = "batch"
    SINGLE = "single"
    ANCHORS = "anchors"
    NONE = "none"

    @property
    def has_anchors(self) -> bool:
        """Whether distances to anchors take part."""
        return self is not Balancing.NONE

    @property
    def has_attention(self) -> bool:
        """Whether an attention takes part."""
        return self in (Balancing.BATCH, Balancing.SINGLE)


@dataclass(frozen=True, kw_only=True)
class Arbex(Configured):
    """One ARBEx: how its answer is balanced, and the shape of its head.

    `anchors` counts those of a class. `temperature` divides the logits, `delta` the distances.
    With `hidden_norm` the classifier normalizes behind each hidden layer, as the authors' training
    script makes it. `folded` is the same network with everything merged that follows another
    linear step, as `deployable` makes it: it cannot be trained.
    """

    title = "ARBEx"

    labels: tuple[str, ...] = ALPHABETICAL_8
    input_size: int = field(
        default=224,
        metadata={
            "help": "In pixels: 224, of which every other one is seen, 112 for the same network, "
            "or another multiple of 16 from 48 on for a smaller one."
        },
    )
    balancing: Balancing = field(
        default=Balancing.SINGLE,
        metadata={
            "help": "What corrects unsure answers: anchors and an attention over the batch, as its "
            "authors have it, or over each face alone; anchors; nothing."
        },
    )
    anchors: int = field(default=1, metadata={"help": "Anchors of each class."})
    temperature: float = field(default=1.0, metadata={"help": "Divides the logits."})
    delta: float = field(default=1.0, metadata={"help": "Divides the distances to anchors."})
    hidden_norm: bool = True
    folded: bool = False

    def __post_init__(self) -> None:
        if self.input_size != 2 * SEEN and self.input_size not in range(SMALLEST, SEEN + 1, CELL):
            raise ValueError(
                f"input_size {self.input_size} is neither {2 * SEEN} nor a multiple of {CELL} "
                f"from {SMALLEST} to {SEEN}"
            )
        if not 1 <= self.anchors <= 1000:
            raise ValueError(f"{self.anchors} anchors for a class is outside 1…1000")
        for name, value in (("temperature", self.temperature), ("delta", self.delta)):
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} {value} is not positive")
        if self.folded and self.batch_coupled:
            raise ValueError("attention over the batch cannot be folded")

    @property
    def batch_coupled(self) -> bool:
        """Whether an image's answer depends on the other images of its batch."""
        return self.balancing is Balancing.BATCH

    @property
    def step(self) -> int:
        """Every how many pixels of the image the backbones see one."""
        return 2 if self.input_size > SEEN else 1

    @property
    def grid(self) -> int:
        """How many positions, each way, all scales have as tokens."""
        return self.input_size // self.step // CELL

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of the balancing, and what that does to the answer."""
        if self.balancing is Balancing.ANCHORS:
            return (
                "anchors alone correct its answer, without the attention, as in its authors' "
                "evaluation: the probabilities do not sum to 1",
            )
        return () if self.balancing.has_anchors else ("its classifier answers without balancing",)

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract: RGB as ImageNet's mean and deviation normalise it."""
        return ModelSpec(
            name=self.title,
            labels=self.labels,
            input_size=self.input_size,
            mean=MEAN,
            std=STD,
            description="; ".join(
                ["Facial expression of one cropped face (arXiv 2305.01486)", *self.notes]
            ),
            training_data=training_data,
            author="edgefer",
            licence=licence,
        )

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the inference graph: float32 (batch, size, size, 3) to class probabilities."""
        from edgefer.models.arbex import folded, graph

        graph = folded if self.folded else graph
        return graph.build(self, batch_size)

    def training_graph(self, stage: Stage) -> keras.Model:
        """Build the network with a stage's dropouts, its two backbones frozen or not.

        `dropout` is the stochastic depth of the coarsest scale; the middle one has half of it.
        """
        from edgefer.models.arbex import graph

        if self.folded:
            raise ValueError("a folded network cannot be trained")
        model = graph.build(
            self,
            None,
            depth_dropout=stage.dropout,
            classifier_dropout=stage.classifier_dropout,
            parts=stage.parts,
        )
        for layer in model.layers:
            if layer.name.startswith(graph.BACKBONES):
                layer.trainable = stage.train_backbone
        return model

    def loss(
        self, model: keras.Model, inputs: Any, target: Any, weight: Any, trained: Any
    ) -> tuple[Any, Any]:
        """Return the authors' loss: of the corrected distribution, and of the anchors."""
        from edgefer.models.arbex import losses

        return losses.loss(model, inputs, target, weight, trained)

    def deployable(self, weights: Weights) -> tuple[Arbex, Weights]:
        """Return what the network is at batch 1, exactly, with few operators.

        Attention over a batch of one image is a softmax over one element, which is 1: what is
        left of it is linear. `folding` says what else is merged.
        """
        from edgefer.models.arbex import folding

        if self.folded:
            return self, weights
        balancing = Balancing.SINGLE if self.batch_coupled else self.balancing
        single = dataclasses.replace(self, balancing=balancing)
        if self.batch_coupled:
            weights = folding.without_coupling(weights)
        return dataclasses.replace(single, folded=True), folding.fold(single, weights)
