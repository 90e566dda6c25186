"""PAtt-Lite: MobileNetV1 cut short, patch extraction, and an attention classifier.

Le Ngwe et al., "PAtt-Lite: Lightweight Patch and Attention MobileNet for Challenging Facial
Expression Recognition", IEEE Access 2024 (arXiv 2306.09626).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edgefer.data.labels import ALPHABETICAL_8
from edgefer.models.configured import Configured
from edgefer.models.spec import ModelSpec
from edgefer.quiet import load_keras

if TYPE_CHECKING:
    import keras

    from edgefer.models.network import Weights
    from edgefer.training.recipes import Stage

BACKBONE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1))
"""Filters and stride of MobileNetV1's blocks 1 to 8; block 9 gives only its depthwise half."""

BACKBONE_STRIDE = 16
BACKBONE_PREFIX = "conv"
ATTENTION_SCALE = "attention/scale"


class Attention(StrEnum):
    """What the attention classifier attends to.

    `batch` is what the authors' code computes: Keras reads its (batch, 32) tensor as one
    sequence, so each image attends to the others of its batch. `identity` is what that is for a
    batch of one, exactly. `tokens` is self-attention over the patches of one image, which is
    what the paper describes.
    """

    BATCH = "batch"
    IDENTITY = "identity"
    TOKENS = "tokens"


@dataclass(frozen=True, kw_only=True)
class PattLite(Configured):
    """One member of the PAtt-Lite family: how large its input is and how it attends."""

    title = "PAtt-Lite"

    labels: tuple[str, ...] = ALPHABETICAL_8
    input_size: int = field(default=112, metadata={"help": "In pixels."})
    attention: Attention = field(
        default=Attention.IDENTITY,
        metadata={"help": "Over the batch, as the authors' code has it, none, or over patches."},
    )

    def __post_init__(self) -> None:
        if self.input_size % BACKBONE_STRIDE or not 48 <= self.input_size <= 512:
            raise ValueError(f"input_size {self.input_size} is not a multiple of 16 in 48…512")

    @property
    def patch_strides(self) -> tuple[int, int]:
        """Strides of the two patch convolutions, which always leave 2x2 patches.

        They are the authors' 4 and 2 at 224x224; a smaller input has a smaller feature map, on
        which those strides would leave one patch or none.
        """
        grid = self.input_size // BACKBONE_STRIDE
        first = math.ceil(grid / 4)
        return first, 2 if math.ceil(grid / first) == 4 else 1

    @property
    def batch_coupled(self) -> bool:
        """Whether an image's answer depends on the other images of its batch."""
        return self.attention is Attention.BATCH

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract: RGB of -1…1, as MobileNet's preprocessing gives it."""
        return ModelSpec(
            name=self.title,
            labels=self.labels,
            input_size=self.input_size,
            description="Facial expression of one cropped face (arXiv 2306.09626)",
            training_data=training_data,
            author="edgefer",
            licence=licence,
        )

    def training_graph(self, stage: Stage) -> keras.Model:
        """Build the network with a stage's dropouts, its backbone frozen or not."""
        model = self.build(
            batch_size=None,
            spatial_dropout=stage.spatial_dropout,
            dropout=stage.dropout,
            classifier_dropout=stage.classifier_dropout,
        )
        for layer in model.layers:
            if layer.name.startswith(BACKBONE_PREFIX):
                layer.trainable = stage.train_backbone and not layer.name.endswith("_bn")
        return model

    def deployable(self, weights: Weights) -> tuple[PattLite, Weights]:
        """Return what the network is at batch 1, exactly, without coupling between images.

        Attention over a batch of one image is a softmax over one element, which is 1: the layer
        gives back what it gets, and goes with its scale.
        """
        if self.attention is not Attention.BATCH:
            return self, weights
        kept = {key: values for key, values in weights.items() if key != ATTENTION_SCALE}
        return dataclasses.replace(self, attention=Attention.IDENTITY), kept

    def build(
        self,
        *,
        batch_size: int | None = 1,
        spatial_dropout: float = 0.0,
        dropout: float = 0.0,
        classifier_dropout: float = 0.0,
    ) -> keras.Model:
        """Build the network: float32 (batch, size, size, 3) of -1…1 to class probabilities.

        Without dropouts this is the inference graph. Layers that hold weights are named alike in
        every variant, so that weights move between them by name. The backbone's batch norms
        always use their stored statistics, as in the authors' recipe.
        """
        load_keras("building a network")
        from keras import Input, Model, layers

        side = self.input_size
        image = Input((side, side, 3), batch_size=batch_size, name="image")
        x = _backbone(image)
        first, second = self.patch_strides
        x = layers.SeparableConv2D(
            256, 4, strides=first, padding="same", activation="relu", name="patch_extraction_1"
        )(x)
        x = layers.SeparableConv2D(
            256, 2, strides=second, padding="valid", activation="relu", name="patch_extraction_2"
        )(x)
        x = layers.Conv2D(256, 1, activation="relu", name="patch_extraction_3")(x)
        if spatial_dropout:
            x = layers.SpatialDropout2D(spatial_dropout)(x)
        if self.attention is Attention.TOKENS:
            x = layers.Reshape((4, 256))(x)
        else:
            x = layers.GlobalAveragePooling2D(name="gap")(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
        x = layers.Dense(32, activation="relu", name="pre_classification")(x)
        x = layers.BatchNormalization(name="pre_classification_bn")(x)
        if self.attention is not Attention.IDENTITY:
            x = layers.Attention(use_scale=True, name="attention")([x, x])
        if self.attention is Attention.TOKENS:
            x = layers.GlobalAveragePooling1D(name="token_mean")(x)
        if classifier_dropout:
            x = layers.Dropout(classifier_dropout)(x)
        # In whatever precision the rest computes, probabilities are float32.
        x = layers.Dense(
            len(self.labels), activation="softmax", dtype="float32", name="classification_head"
        )(x)
        return Model(image, x, name="patt_lite")


def _backbone(x: Any) -> Any:
    """MobileNetV1 1.0 up to `conv_dw_9_relu`, with the layer names of keras.applications."""
    from keras import layers

    def finish(y: Any, name: str) -> Any:
        y = layers.BatchNormalization(trainable=False, name=f"{name}_bn")(y)
        return layers.ReLU(6.0, name=f"{name}_relu")(y)

    def depthwise(y: Any, stride: int, block: int) -> Any:
        if stride == 2:
            y = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{block}")(y)
        y = layers.DepthwiseConv2D(
            3,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            use_bias=False,
            name=f"conv_dw_{block}",
        )(y)
        return finish(y, f"conv_dw_{block}")

    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = finish(x, "conv1")
    for block, (filters, stride) in enumerate(BACKBONE, start=1):
        x = depthwise(x, stride, block)
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"conv_pw_{block}")(x)
        x = finish(x, f"conv_pw_{block}")
    return depthwise(x, 1, 9)
