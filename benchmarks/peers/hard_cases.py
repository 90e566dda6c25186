"""Float .tflite models that plain int8 ruins, made from good ones that answer the same.

    python benchmarks/peers/hard_cases.py

For each case, the accuracy and agreement of the bundled PAtt-Lite on edgefer's evaluation faces:
int8 by litert-quantizer alone, with analytic bias correction, with equalization, and with both.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import calibration_data, runtime
from edgefer.converters import float_model, graph
from edgefer.converters.activations import channel_statistics
from edgefer.converters.constants import BIAS, WEIGHTS, write_constant
from edgefer.converters.conversion import Conversion
from edgefer.converters.equalization.channel_scaling import scaled
from edgefer.converters.equalization.layer_pairs import LayerPair, activation_functions, layer_pairs
from edgefer.converters.recipes import INT8, QuantizationRecipe
from edgefer.evaluation.inference import inputs_of
from edgefer.models import bundled, checkpoints

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

SPREAD_BITS = 6
OUTLIER = 1000.0
UNUSED = 100.0

PLAIN = dataclasses.replace(INT8, bias_correction=False)
WAYS: Mapping[str, QuantizationRecipe] = {
    "plain": PLAIN,
    "bias correction": INT8,
    "equalization": dataclasses.replace(PLAIN, equalization=True),
    "equalization, bias correction": dataclasses.replace(INT8, equalization=True),
}

_NEAR = 0.3
_UNHEARD = 1e-9


def rescaled(float_tflite: bytes, seed: int = 0) -> bytes:
    """Multiply channels between layers by powers of two from 2^-6 to 2^6, and divide them again.

    float32 keeps its precision under powers of two, so that the answers are the same to the bit.
    Layers with RELU6 between them are left alone.
    """
    random = np.random.default_rng(seed)
    pairs = [pair for pair in layer_pairs(graph.read(float_tflite)) if not _is_capped(pair)]
    bits = [random.integers(-SPREAD_BITS, SPREAD_BITS + 1, pair.channels) for pair in pairs]
    return scaled(float_tflite, pairs, [np.exp2(one) for one in bits])


def with_outliers(float_tflite: bytes, faces: Float32Array) -> bytes:
    """Add a channel that rarely wakes, and is then 1000 times as large as all the others.

    It wakes at the peaks of the channel whose peaks are the rarest, and is read with
    weights so small that no probability moves by 1e-5. Min-max ranges leave its neighbours no
    step of 256 to themselves.
    """
    pair = last_pointwise_pair(float_tflite)
    seen = channel_statistics(float_tflite, faces, [pair.tensor])[pair.tensor]
    channel = int(np.argmax(np.where(seen.std > 0, seen.high / seen.std.clip(min=1e-9), 0)))
    threshold = _NEAR * seen.high[channel]
    gain = OUTLIER * seen.high.max() / (seen.high[channel] - threshold)
    weights, biases = np.asarray(pair.first.weights.data), pair.first.bias_values()
    bias = gain * (biases[channel] - threshold)
    column = np.full(pair.second.weights.shape[0], _UNHEARD)
    return _with_channel(float_tflite, pair, gain * weights[channel], bias, column)


def with_unused_channels(float_tflite: bytes, faces: Float32Array) -> bytes:
    """Add a channel of zeros that large weights read, and one that nobody reads.

    The weights are 100 times those of their rows, and the other channel's values 100 times those
    of the largest.
    """
    pair = last_pointwise_pair(float_tflite)
    seen = channel_statistics(float_tflite, faces, [pair.tensor])[pair.tensor]
    channel = int(np.argmax(seen.high))
    row = UNUSED * np.asarray(pair.first.weights.data)[channel]
    bias = UNUSED * pair.first.bias_values()[channel]
    column = UNUSED * pair.second.channel_ranges().ravel().astype(np.float64)
    silent = _with_channel(float_tflite, pair, 0 * row, 0.0, column)
    return _with_channel(silent, last_pointwise_pair(silent), row, bias, 0 * column)


def _is_capped(pair: LayerPair) -> bool:
    operators = (pair.first.operator, *pair.between)
    return any("RELU6" in activation_functions(operator) for operator in operators)


def last_pointwise_pair(float_tflite: bytes) -> LayerPair:
    """Return the last two 1x1 convolutions in a row that a channel can be added between."""
    pairs = [
        pair
        for pair in layer_pairs(graph.read(float_tflite))
        if not pair.between
        and all(layer.operator.kind == "CONV_2D" for layer in (pair.first, pair.second))
        and activation_functions(pair.first.operator) == {"NONE", "RELU"}
    ]
    return pairs[-1]


def _with_channel(
    float_tflite: bytes, pair: LayerPair, row: Float64Array, bias: float, column: Float64Array
) -> bytes:
    """Add one channel between two 1x1 convolutions, with the weights that write and read it."""
    first, second = pair.first, pair.second
    rows = np.concatenate([np.asarray(first.weights.data), row[None]])
    columns = np.concatenate([np.asarray(second.weights.data), column[:, None, None, None]], axis=3)
    model = graph.unpack(float_tflite, source="model")
    write_constant(model, first.operator.index, WEIGHTS, rows)
    write_constant(model, first.operator.index, BIAS, np.append(first.bias_values(), bias))
    write_constant(model, second.operator.index, WEIGHTS, columns)
    model.subgraphs[0].tensors[pair.tensor].shape[-1] += 1
    return graph.pack(model)


def main() -> None:
    """Convert each case in each way, and print what is left of it."""
    checkpoint = checkpoints.read(bundled.models()[bundled.DEFAULT])
    spec = checkpoint.spec
    original = float_model.from_keras(checkpoint.build(batch_size=1))
    calibration = calibration_data.calibration_faces()
    evaluation = calibration_data.evaluation_faces()
    images = inputs_of(evaluation.images, spec)
    names = [evaluation.class_names[label] for label in evaluation.labels]
    labels = np.array([spec.labels.index(name) for name in names])
    expected = _probabilities(original, images).argmax(axis=1)
    print("case | way | accuracy | agreement")
    for case, tflite in cases(original, inputs_of(calibration.images, spec)).items():
        conversion = Conversion(tflite, spec, calibration, source=case)
        for way, recipe in WAYS.items():
            answers = _probabilities(conversion.to(recipe).tflite, images).argmax(axis=1)
            right, same = np.mean(answers == labels), np.mean(answers == expected)
            print(f"{case} | {way} | {right:.2%} | {same:.2%}")


def cases(float_tflite: bytes, faces: Float32Array) -> Mapping[str, bytes]:
    """Return the model itself and all hard cases of it, by name."""
    return {
        "as it is": float_tflite,
        "rescaled channels": rescaled(float_tflite),
        "outliers": with_outliers(float_tflite, faces),
        "unused channels": with_unused_channels(float_tflite, faces),
    }


def _probabilities(tflite: bytes, images: Float32Array) -> Float32Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        return runtime.open_model(path, checked=True).probabilities(images)


if __name__ == "__main__":
    main()
