"""Batch normalization by TensorFlow's fused kernel, which Keras 3 leaves unused.

A training of ARBEx is a quarter faster with it.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def by_batch(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalize a map (batch, height, width, channels) by its own statistics.

    Returns the map, and the mean and the variance of each channel, of the population as Keras
    keeps it: in float32, whatever the map is.
    """
    import tensorflow as tf

    normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    # TensorFlow's fused variance is the sample's.
    return normalized, mean, variance * (count - 1) / count


def follow(layer: Any, mean: Any, variance: Any, momentum: float) -> None:
    """Move a layer's statistics on; what they were made with, a variance of 1, is forgotten.

    Keras keeps a share of that 1 for hundreds of steps, which drowns the small variances behind
    separable convolutions: a short training then answers at random.
    """
    import tensorflow as tf

    is_new = tf.reduce_all(tf.equal(layer.moving_variance, 1.0))
    kept = tf.where(is_new, 0.0, momentum)
    for average, seen in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * kept + seen * (1 - kept))


def add_variables(layer: Any, channels: int) -> None:
    """Give a layer what a batch normalization learns and keeps, always in float32."""

    def add(name: str, value: str, *, trainable: bool) -> Any:
        return layer.add_weight(
            shape=(channels,), initializer=value, name=name, trainable=trainable, autocast=False
        )

    layer.gamma = add("gamma", "ones", trainable=True)
    layer.beta = add("beta", "zeros", trainable=True)
    layer.moving_mean = add("moving_mean", "zeros", trainable=False)
    layer.moving_variance = add("moving_variance", "ones", trainable=False)


@cache
def batch_normalization() -> Any:
    """Define the layer; Keras is imported here because it is an optional package."""
    from keras import layers, ops

    class BatchNormalization(layers.Layer):  # type: ignore[misc, unused-ignore]
        """Batch normalization of a map, or of features (batch, channels)."""

        def __init__(self, *, momentum: float, epsilon: float, **options: Any) -> None:
            super().__init__(**options)
            self.momentum = momentum
            self.epsilon = epsilon

        def build(self, input_shape: tuple[int, ...]) -> None:
            add_variables(self, input_shape[-1])

        def call(self, x: Any, *, training: bool = False) -> Any:
            if not training:
                return ops.batch_normalization(
                    x,
                    ops.cast(self.moving_mean, x.dtype),
                    ops.cast(self.moving_variance, x.dtype),
                    axis=-1,
                    offset=ops.cast(self.beta, x.dtype),
                    scale=ops.cast(self.gamma, x.dtype),
                    epsilon=self.epsilon,
                )
            is_map = len(x.shape) == 4
            y, mean, variance = by_batch(
                x if is_map else x[:, None, None], self.gamma, self.beta, self.epsilon
            )
            follow(self, mean, variance, self.momentum)
            return y if is_map else y[:, 0, 0]

    return BatchNormalization
