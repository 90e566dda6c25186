"""Keras layers that take the linear maps around them into their kernels.

A selection, a permutation or a mix of channels is a matrix, and the convolution of mixed channels
is the convolution of the channels as they are by a kernel multiplied with that matrix: exactly,
zero padding included. A channel shuffle, gray from RGB and a mean over channels then cost nothing,
and a map can have more channels than the network knows of, all zeros, where a processor is
faster with a multiple of sixteen. The stored weights are always those of the plain layers; the
converter folds the products, whose factors are constants by then.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgefer.models import batch_normalization

Matrix = npt.NDArray[np.float32]

MOMENTUM = 0.99
EPSILON = 1e-3
"""Of batch normalization, as Keras has them by default."""


class FoldedLayers(NamedTuple):
    """The layers, with "same" padding.

    Each takes `source`, (channels present, channels known), and `target`, (channels known,
    channels put out); None stands for the identity. One without an activation is for a
    normalization to follow.
    """

    convolution: Any
    separable: Any
    linear: Any
    normalization: Any


@cache
def folded_layers() -> FoldedLayers:
    """Define the layers; Keras is imported here because it is an optional package."""
    import tensorflow as tf
    from keras import layers, ops

    def folded(kernel: Any, source: Matrix | None, target: Matrix | None) -> Any:
        """Multiply the maps into a kernel (…, inputs, outputs)."""
        kernel = ops.convert_to_tensor(kernel)
        if source is not None:
            kernel = ops.matmul(ops.cast(source, kernel.dtype), kernel)
        return placed(kernel, target)

    def placed(values: Any, target: Matrix | None) -> Any:
        """Bring values (…, outputs) to the channels put out."""
        values = ops.convert_to_tensor(values)
        return values if target is None else ops.matmul(values, ops.cast(target, values.dtype))

    class Folded(layers.Layer):  # type: ignore[misc, unused-ignore]
        """What the layers have in common: the maps around them, a bias, and an activation."""

        def __init__(
            self,
            filters: int,
            *,
            source: Matrix | None = None,
            target: Matrix | None = None,
            activation: str | None = None,
            **options: Any,
        ) -> None:
            super().__init__(**options)
            self.filters = filters
            self.source = source
            self.target = target
            self.activation = getattr(ops, activation) if activation else None

        def known(self, input_shape: tuple[int, ...]) -> int:
            return input_shape[-1] if self.source is None else self.source.shape[1]

        def add_bias(self) -> None:
            """Add a bias, which is not trained where a batch norm takes it away again.

            Its gradient is zero then, but Adam makes whole steps of what rounding leaves of that.
            """
            self.bias = self.add_weight(
                shape=(self.filters,),
                initializer="zeros",
                name="bias",
                trainable=self.activation is not None,
            )

        def finish(self, x: Any) -> Any:
            x = tf.nn.bias_add(x, placed(self.bias, self.target))
            return self.activation(x) if self.activation else x

    class Convolution(Folded):
        """A 2-D convolution with "same" padding."""

        def __init__(
            self, filters: int, size: int, *, stride: int = 1, dilation: int = 1, **options: Any
        ) -> None:
            super().__init__(filters, **options)
            self.size, self.stride, self.dilation = size, stride, dilation

        def build(self, input_shape: tuple[int, ...]) -> None:
            shape = (self.size, self.size, self.known(input_shape), self.filters)
            self.kernel = self.add_weight(shape=shape, initializer="he_uniform", name="kernel")
            self.add_bias()

        def call(self, x: Any) -> Any:
            kernel = folded(self.kernel, self.source, self.target)
            return self.finish(
                ops.conv(x, kernel, self.stride, "same", dilation_rate=self.dilation)
            )

    class Separable(Folded):
        """A 3x3 depthwise convolution and a pointwise one, both of the channels known."""

        def __init__(self, filters: int, *, dilation: int = 1, **options: Any) -> None:
            super().__init__(filters, **options)
            self.dilation = dilation

        def build(self, input_shape: tuple[int, ...]) -> None:
            inputs = self.known(input_shape)
            self.depthwise_kernel = self.add_weight(
                shape=(3, 3, inputs, 1), initializer="he_uniform", name="depthwise_kernel"
            )
            self.pointwise_kernel = self.add_weight(
                shape=(1, 1, inputs, self.filters),
                initializer="he_uniform",
                name="pointwise_kernel",
            )
            self.add_bias()

        def call(self, x: Any) -> Any:
            depthwise = folded(self.depthwise_kernel, self.source, None)
            pointwise = folded(self.pointwise_kernel, self.source, self.target)
            return self.finish(
                ops.separable_conv(x, depthwise, pointwise, 1, "same", dilation_rate=self.dilation)
            )

    class Linear(Folded):
        """A fully-connected layer: of features (batch, n), or of a map at each position."""

        def build(self, input_shape: tuple[int, ...]) -> None:
            shape = (self.known(input_shape), self.filters)
            self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
            self.add_bias()

        def call(self, x: Any) -> Any:
            kernel = folded(self.kernel, self.source, self.target)
            is_map = len(x.shape) == 4
            return self.finish(
                ops.conv(x, kernel[None, None], 1, "same") if is_map else ops.matmul(x, kernel)
            )

    class Normalization(layers.Layer):  # type: ignore[misc, unused-ignore]
        """Batch normalization and ReLU of several maps, which are concatenated on the way.

        For inference each map is normalized before they meet, so that its convolution takes the
        normalization and the ReLU in. In training they are concatenated first, since one
        normalization of a whole number of vectors is several times faster.
        """

        def __init__(self, channels: int, *, target: Matrix | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.channels = channels
            self.target = target

        def build(self, input_shape: Any) -> None:  # noqa: ARG002 - Keras gives it
            batch_normalization.add_variables(self, self.channels)

        def call(self, maps: list[Any], *, training: bool = False) -> Any:
            return self.by_batch(maps) if training else self.by_statistics(maps)

        def by_statistics(self, maps: list[Any]) -> Any:
            scale = self.gamma * ops.rsqrt(self.moving_variance + EPSILON)
            offset = self.beta - self.moving_mean * scale
            scale, offset = (
                ops.cast(placed(values, self.target), maps[0].dtype) for values in (scale, offset)
            )
            ends = np.cumsum([x.shape[-1] for x in maps]).tolist()
            starts = [0, *ends[:-1]]
            normalized = [
                ops.relu(x * scale[start:end] + offset[start:end])
                for x, start, end in zip(maps, starts, ends, strict=True)
            ]
            return normalized[0] if len(maps) == 1 else ops.concatenate(normalized, axis=-1)

        def by_batch(self, maps: list[Any]) -> Any:
            x = maps[0] if len(maps) == 1 else ops.concatenate(maps, axis=-1)
            gamma, beta = (placed(values, self.target) for values in (self.gamma, self.beta))
            normalized, mean, variance = batch_normalization.by_batch(x, gamma, beta, EPSILON)
            if self.target is not None:
                mean, variance = (ops.matmul(self.target, values) for values in (mean, variance))
            batch_normalization.follow(self, mean, variance, MOMENTUM)
            return tf.nn.relu(normalized)

    return FoldedLayers(Convolution, Separable, Linear, Normalization)
