"""int8 by TensorFlow's converter, by litert-quantizer and by edgefer, on the same faces.

    python benchmarks/peers/quantizers.py FERPLUS.npz [CHECKPOINT]

Each tool is used as its own guide says, calibrated on edgefer's bundled faces, and measured on
FER+'s test split against the float model: accuracy, drop, agreement, change of probabilities,
size, latency here in turns with the others, and the wall time of the conversion.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import calibration_data
from edgefer.converters import conversion, float_model, recipes
from edgefer.converters.search.latencies import CHOOSING, on_device
from edgefer.data.faces import LabelledFaces
from edgefer.data.reading import read_faces
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.runner import evaluate
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models import bundled, checkpoints
from edgefer.models.checkpoints import Checkpoint
from edgefer.quiet import quiet
from edgefer.report import evaluation as report

Inputs = npt.NDArray[np.float32]


def tensorflow_int8(checkpoint: Checkpoint, calibration: Inputs) -> bytes:
    """Post-training integer quantization as ai.google.dev/edge/litert/models describes it."""
    import keras
    import tensorflow as tf

    def representative_dataset():  # type: ignore[no-untyped-def]
        for face in calibration:
            yield [face[None]]

    model = checkpoint.build(batch_size=1)
    signature = [keras.InputSpec(shape=(1, *model.inputs[0].shape[1:]), dtype="float32")]
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False, input_signature=signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def litert_int8(checkpoint: Checkpoint, calibration: Inputs) -> bytes:
    """Quantize weights and activations statically as litert-quantizer's README has it."""
    from litert_quantizer import Quantizer, recipe

    tflite = float_model.from_keras(checkpoint.build(batch_size=1))
    quantizer = Quantizer(tflite)
    quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
    name = checkpoint.build(batch_size=1).inputs[0].name
    result = quantizer.calibrate({"serving_default": [{name: face[None]} for face in calibration]})
    return bytes(quantizer.quantize(result).quantized_model)


EVERYTHING = dataclasses.replace(
    recipes.INT8, equalization=True, adaptive_rounding=True, empirical_bias_correction=True
)
"""What a search tries last before operators go back to float."""


def edgefer_int8(
    checkpoint: Checkpoint,
    faces: LabelledFaces,
    recipe: recipes.QuantizationRecipe = recipes.INT8,
) -> bytes:
    """`edgefer convert --int8`."""
    return conversion.convert_checkpoint(checkpoint, recipe, faces).tflite


def main(data: Path, source: Path) -> None:
    """Convert, evaluate, print."""
    checkpoint = checkpoints.read(source)
    calibration = calibration_data.calibration_faces()
    inputs = inputs_of(calibration.images, checkpoint.spec)
    tools: dict[str, Callable[[], bytes]] = {
        "float32": lambda: float_model.from_keras(checkpoint.build(batch_size=1)),
        "TensorFlow int8": lambda: tensorflow_int8(checkpoint, inputs),
        "litert-quantizer int8": lambda: litert_int8(checkpoint, inputs),
        "edgefer int8": lambda: edgefer_int8(checkpoint, calibration),
        "edgefer int8, every method": lambda: edgefer_int8(checkpoint, calibration, EVERYTHING),
    }
    with tempfile.TemporaryDirectory() as folder:
        models, seconds, contents = [], [], {}
        for index, (name, convert) in enumerate(tools.items()):
            path = Path(folder) / f"{index}.tflite"
            started = time.perf_counter()
            with quiet():
                contents[name] = convert()
            path.write_bytes(contents[name])
            seconds.append(time.perf_counter() - started)
            models.append(EvaluatedModel(name=name, spec=checkpoint.spec, source=path))
        sizes = [model.source.stat().st_size for model in models if isinstance(model.source, Path)]
        result = evaluate(models, read_faces(data))
    latency_ms = on_device("local", CHOOSING)(contents, None)
    drops = {row[0]: row[1:] for row in report.drop_rows(result)}
    print("model | accuracy | drop, points | 95% interval | agreement | mean |Δp| | MB | ms | s")
    for model, size, taken in zip(result.models, sizes, seconds, strict=True):
        drop, interval, _, agreement, change = drops.get(model.name, ("–",) * 5)
        accuracy = report.percent(model.metrics.accuracy.value)
        print(
            f"{model.name} | {accuracy} | {drop} | {interval} | {agreement} | {change} | "
            f"{size / 1e6:.2f} | {latency_ms[model.name]:.3f} | {taken:.0f}"
        )


if __name__ == "__main__":
    default = bundled.models()[bundled.DEFAULT]
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else default)
