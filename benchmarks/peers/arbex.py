"""ARBEx as edgefer and as litert-torch convert it, float32 and int8, of the same weights.

    git clone https://github.com/takihasan/ARBEx
    python benchmarks/peers/arbex.py ARBEx [FACES]

Needs `edgefer[convert,torch]` and this repository around it: the weights are the tests' seeded
ones, put into the authors' own modules for litert-torch. Its int8 is litert-quantizer's, by the
plain recipe of its README, after edgefer has given the dense layers' biases one axis: without that
no interpreter loads what it makes. Both are calibrated on FACES of the bundled faces (100). All
four run in one process, one thread, in turns, so that whatever else the machine does falls on all
of them; a ratio is of the shortest runs. Nearest interpolation comes out of litert-torch 0.10 half
a pixel off, which moves its answers and not its latency.
"""

import dataclasses
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import calibration_data, runtime
from edgefer.benchmarks import profiler
from edgefer.converters import conversion, float_model, graph, recipes
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.evaluation.inference import inputs_of
from edgefer.models import checkpoints
from edgefer.models.arbex import importing
from edgefer.models.arbex.network import Arbex
from edgefer.quiet import quiet
from edgefer.runtime import TfliteModel

Float32Array = npt.NDArray[np.float32]

TESTS = Path(__file__).parents[2] / "tests"
PARTS = ("vit", "classifier", "anchors", "attention")
ROUNDS = 30
COMPARED_FACES = 60


def edgefer_float() -> bytes:
    """Convert the authors' state dicts as `edgefer convert` does before it quantizes."""
    states = importlib.import_module("arbex_states")
    found = {name: value for part in PARTS for name, value in states.state(part).items()}
    source = Path("seeded")
    network = importing.network(source, found, labels=ALPHABETICAL_8, input_size=None)
    shapes = checkpoints.expected_shapes(network.build())
    deployed, folded = network.deployable(importing.weights(source, found, shapes))
    model = deployed.build(batch_size=1)
    checkpoints.set_weights(model, folded, source="seeded")
    return float_model.from_keras(model)


def edgefer_int8(tflite: bytes, faces: LabelledFaces) -> bytes:
    """`edgefer convert --int8 --input-type float32 --output-type float32`."""
    recipe = dataclasses.replace(
        recipes.INT8, input_type=recipes.IoType.FLOAT32, output_type=recipes.IoType.FLOAT32
    )
    return conversion.convert(tflite, Arbex().spec(), recipe, faces).tflite


def litert_torch_float(checkout: Path) -> bytes:
    """Convert the authors' modules at batch 1 as litert-torch's README has it."""
    sys.path.insert(0, str(checkout / "arbex"))
    torch: Any = importlib.import_module("torch")
    litert_torch: Any = importlib.import_module("litert_torch")
    theirs: Any = importlib.import_module("make_arbex_golden")
    theirs.stand_in_for_timm()
    parts = theirs.modules()
    theirs.fill(parts)

    class Whole(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleDict(parts)

        def forward(self, image: Any) -> Any:
            embedding = self.parts["vit"](image.permute(0, 3, 1, 2))
            return theirs.answers(self.parts, embedding, "first", 1.0, 1.0, 1.0)["balanced"]

    converted = litert_torch.convert(Whole().eval(), (torch.zeros((1, 224, 224, 3)),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.tflite"
        converted.export(str(path))
        return float_model.from_tflite(path.read_bytes(), source="litert-torch's")


def litert_quantizer_int8(tflite: bytes, inputs: Float32Array) -> bytes:
    """Quantize weights and activations statically as litert-quantizer's README has it."""
    from litert_quantizer import Quantizer, recipe

    signature = graph.unpack(tflite, source="peer").signatureDefs[0]
    key, name = signature.signatureKey.decode(), signature.inputs[0].name.decode()
    quantizer = Quantizer(tflite)
    quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
    result = quantizer.calibrate({key: [{name: face[None]} for face in inputs]})
    return bytes(quantizer.quantize(result).quantized_model)


def latencies_ms(models: list[TfliteModel], face: Float32Array) -> list[list[float]]:
    """Run the models in turns, so that what else the machine does falls on all of them."""
    values = [model.input.quantize(face[None]) for model in models]
    found: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, image, times in zip(models, values, found, strict=True):
            started = time.perf_counter()
            model.scores(image)
            times.append((time.perf_counter() - started) * 1e3)
    return found


def main(checkout: Path, faces: int) -> None:
    """Convert, run in turns, print."""
    sys.path[:0] = [str(TESTS), str(TESTS / "golden" / "arbex")]
    calibration = calibration_data.calibration_faces().spread(faces)
    spec = Arbex().spec()
    with quiet():
        ours, theirs = edgefer_float(), litert_torch_float(checkout)
        contents = {
            "edgefer float32": ours,
            "litert-torch float32": theirs,
            "edgefer int8": edgefer_int8(ours, calibration),
            "litert-torch int8": litert_quantizer_int8(theirs, inputs_of(calibration.images, spec)),
        }
    shown = calibration_data.evaluation_faces().spread(COMPARED_FACES)
    compared = inputs_of(shown.images, spec)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.tflite" for number in range(len(contents))]
        for path, content in zip(paths, contents.values(), strict=True):
            path.write_bytes(content)
        with quiet():
            models = [runtime.open_model(path, checked=True) for path in paths]
            answers = [model.probabilities(compared).argmax(axis=1) for model in models]
            shortest = [min(times) for times in latencies_ms(models, compared[0])]
            profiles = [profiler.profile(str(path), 1, 1, _noise) for path in paths]
    print("model | operators | partitions | MB | ms | edgefer's ms / its ms | agreement, float32")
    for index, (name, content) in enumerate(contents.items()):
        own = index % 2
        agreement = float((answers[index] == answers[own]).mean())
        print(
            f"{name} | {len(graph.read(content).operators)} | {profiles[index]['partitions']} | "
            f"{len(content) / 1e6:.1f} | {shortest[index]:.1f} | "
            f"{shortest[index - own] / shortest[index]:.2f} | {agreement:.1%}"
        )


def _noise(shape: Any, dtype: str) -> npt.NDArray[Any]:
    return np.asarray(np.random.default_rng(0).normal(0, 1, shape).astype(dtype))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
