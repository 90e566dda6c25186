"""Make the quadrant models of this folder: `python make_tflites.py`, with tensorflow 2.21.

The class is the quarter of a 16x16 image that is the brightest: average pooling to 2x2, one
matrix, softmax.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

GAIN = 12.0
INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


def main() -> None:
    """Write every file."""
    one, free, flat = (1, 16, 16, 3), (None, 16, 16, 3), (1, 12)
    contents = {
        "float32": converter(quadrant, one).convert(),
        "free_batch": converter(quadrant, free).convert(),
        "int8": quantized(tf.int8, "TFLITE_BUILTINS_INT8"),
        "uint8": quantized(tf.uint8, "TFLITE_BUILTINS_INT8"),
        "int16": quantized(tf.int16, INT16),
        "flat_input": converter(tf.nn.softmax, flat).convert(),
        "two_inputs": converter(tf.math.add, one, one).convert(),
        "not_a_number": converter(lambda image: tf.math.log(-quadrant(image)), one).convert(),
    }
    for name, content in contents.items():
        Path(__file__).with_name(f"{name}.tflite").write_bytes(content)


def quadrant(image: Any) -> Any:
    """Return the probability of each quarter being the brightest."""
    weights = np.zeros((12, 4), np.float32)
    weights[np.arange(12), np.arange(12) // 3] = GAIN / 3
    means = tf.nn.avg_pool2d(image, 8, 8, "VALID")
    return tf.nn.softmax(tf.linalg.matmul(tf.reshape(means, (-1, 12)), weights))


def converter(function: Callable[..., Any], *shapes: tuple[int | None, ...]) -> Any:
    """Return a converter of a function of float32 arguments."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = tf.function(function).get_concrete_function(*specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete])


def quantized(dtype: Any, operators: str) -> bytes:
    """Return the quadrant model quantized, its input covering exactly -1…1."""
    one = converter(quadrant, (1, 16, 16, 3))
    one.optimizations = [tf.lite.Optimize.DEFAULT]
    one.representative_dataset = representative_images
    one.target_spec.supported_ops = [getattr(tf.lite.OpsSet, operators)]
    one.inference_input_type = one.inference_output_type = dtype
    return bytes(one.convert())


def representative_images() -> Any:
    """Yield images with quarters of any brightness that cover the range of -1…1 exactly."""
    random = np.random.default_rng(3)
    for _ in range(50):
        levels = random.uniform(-0.5, 0.5, (1, 2, 2, 1)).repeat(8, axis=1).repeat(8, axis=2)
        image = (levels + random.uniform(-0.5, 0.5, (1, 16, 16, 3))).astype(np.float32)
        image[0, 0, 0, :2] = -1, 1
        yield [image]


if __name__ == "__main__":
    main()
