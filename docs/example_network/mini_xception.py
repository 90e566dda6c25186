"""mini-Xception: a network of 58,000 parameters, here as an example of how one is added.

Arriaga et al., "Real-time Convolutional Neural Networks for Emotion and Gender Classification",
2017 (arXiv 1710.07557).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgefer.data.labels import ALPHABETICAL_8
from edgefer.models.configured import Configured
from edgefer.models.network import Kind
from edgefer.models.spec import ColourOrder, ModelSpec
from edgefer.quiet import load_keras
from edgefer.training.recipes import Augmentation, Recipe, Schedule, Stage

if TYPE_CHECKING:
    import keras

WIDTHS = (16, 32, 64, 128)
"""Channels of the four residual modules' outputs."""

MOMENTUM = 0.9
"""Of the running statistics, which a short training on few faces would else not reach."""


@dataclass(frozen=True, kw_only=True)
class MiniXception(Configured):
    """One mini-Xception: the classes it tells apart, and what it looks at."""

    title = "mini-Xception"

    labels: tuple[str, ...] = ALPHABETICAL_8
    input_size: int = field(default=64, metadata={"help": "In pixels."})

    def __post_init__(self) -> None:
        if not 48 <= self.input_size <= 512:
            raise ValueError(f"input_size {self.input_size} is outside 48…512")

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract: gray of -1…1."""
        return ModelSpec(
            name=self.title,
            labels=self.labels,
            input_size=self.input_size,
            channels=1,
            colour_order=ColourOrder.GRAY,
            mean=(127.5,),
            std=(127.5,),
            description="Facial expression of one cropped face (arXiv 1710.07557)",
            training_data=training_data,
            licence=licence,
        )

    def training_graph(self, stage: Stage) -> keras.Model:  # noqa: ARG002 - it has no dropout
        """Build the graph that is trained, which is the same with a free batch."""
        return self.build(batch_size=None)

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the network: float32 (batch, size, size, 1) of -1…1 to class probabilities."""
        load_keras("building a network")
        from keras import Input, Model, layers

        side = self.input_size
        image = Input((side, side, 1), batch_size=batch_size, name="image")
        x = image
        for name in ("entry1", "entry2"):
            x = layers.Conv2D(8, 3, use_bias=False, name=name)(x)
            x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)
            x = layers.ReLU()(x)
        for number, width in enumerate(WIDTHS, start=1):
            x = _residual_module(x, width, f"module{number}")
        x = layers.Conv2D(len(self.labels), 3, padding="same", name="classifier")(x)
        x = layers.GlobalAveragePooling2D()(x)
        return Model(image, layers.Softmax(dtype="float32")(x), name="mini_xception")


def _residual_module(x: Any, width: int, name: str) -> Any:
    """Two separable convolutions and a pooling, beside a strided convolution."""
    from keras import layers

    shortcut = layers.Conv2D(
        width, 1, strides=2, padding="same", use_bias=False, name=f"{name}_shortcut"
    )(x)
    shortcut = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_shortcut_bn")(shortcut)
    for step in (1, 2):
        x = layers.SeparableConv2D(
            width, 3, padding="same", use_bias=False, name=f"{name}_separable{step}"
        )(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn{step}")(x)
        x = layers.ReLU()(x) if step == 1 else x
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.Add(name=name)([x, shortcut])


KIND = Kind(
    network=MiniXception,
    recipes=(
        Recipe(
            name="soft",
            stages=(Stage(name="all", epochs=60, learning_rate=2e-3, schedule=Schedule.COSINE),),
            augmentations=(Augmentation(rotation_degrees=10, zoom=0.1, shift=0.1),),
            batch_size=32,
            soft_labels=True,
            class_weights=False,
        ),
    ),
)
