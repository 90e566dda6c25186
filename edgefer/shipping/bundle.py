"""A bundle: all that an app needs of a model, as files in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import edgefer
from edgefer import metadata, runtime
from edgefer.errors import ModelError, UsageError
from edgefer.models.contract import StatedContract, complete
from edgefer.models.spec import ModelSpec
from edgefer.prediction import detector
from edgefer.records import to_dict, to_json
from edgefer.runtime import TfliteModel
from edgefer.shipping.contract import Contract
from edgefer.shipping.contract_text import contract_text
from edgefer.shipping.golden import GoldenMaker
from edgefer.shipping.golden_format import Golden
from edgefer.shipping.golden_pictures import Pictures
from edgefer.shipping.manifest import FORMAT, MANIFEST, Manifest, sha256
from edgefer.shipping.targets import Target
from edgefer.shipping.template_files import target_files

MODEL = "model/model.tflite"
CONTRACT = "model/contract.json"
LABELS = "model/labels.txt"
DETECTOR = "model/face-detector.tflite"
DETECTOR_LICENCE = "model/face-detector-LICENSE.txt"
CONTRACT_TEXT = "contract.md"
GOLDEN = "golden"

_LICENCE_FILE = detector.MODEL.with_name("LICENSE.Apache-2.0")


@dataclass(frozen=True, kw_only=True, eq=False)
class ShippedModel:
    """A .tflite that can be shipped: open, and with a contract that fits it."""

    path: Path
    content: bytes
    model: TfliteModel
    spec: ModelSpec
    contract: Contract


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """Every file by its path in the bundle, relative with slashes."""

    target: Target
    contract: Contract
    golden: Golden
    files: Mapping[str, bytes]


def open_shipped(path: Path, stated: StatedContract) -> ShippedModel:
    """Open a .tflite and complete what it says of itself with what the user says.

    Raises UsageError for a checkpoint or where the contract stays incomplete, ModelError where
    the file is unusable.
    """
    if path.suffix.lower() != ".tflite":
        raise UsageError(f"{path} is not a .tflite file: edgefer convert makes one of a checkpoint")
    model = runtime.open_model(path)
    described = metadata.read(path)
    spec = complete(
        path, described.spec, stated, input_shape=model.input.shape, classes=model.classes
    )
    _require_one_line_labels(path, spec)
    return ShippedModel(
        path=path,
        content=path.read_bytes(),
        model=model,
        spec=spec,
        contract=Contract.of(spec, model, version=described.version),
    )


def make_bundle(
    shipped: ShippedModel,
    target: Target,
    pictures: Pictures,
    libraries: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Run the model on `pictures` and return the bundle, with the `libraries` that its code needs.

    Raises ModelError where the model fails on one.
    """
    contract = shipped.contract
    golden = GoldenMaker(shipped.model, shipped.spec, contract.output).make(pictures)
    text = contract_text(
        contract,
        shipped.spec,
        shipped.model.input,
        golden.record,
        model_bytes=len(shipped.content),
        model_sha256=sha256(shipped.content),
        golden_terms=pictures.terms,
    )
    values = {
        "contract": to_dict(contract),
        "edgefer_version": edgefer.__version__,
        "target": target,
    }
    files = {
        **target_files(target, values),
        **(libraries or {}),
        CONTRACT_TEXT: text.encode(),
        MODEL: shipped.content,
        CONTRACT: _text_file(to_json(contract)),
        LABELS: labels_file(contract),
        DETECTOR: detector.MODEL.read_bytes(),
        DETECTOR_LICENCE: _LICENCE_FILE.read_bytes(),
        **{f"{GOLDEN}/{name}": content for name, content in golden.files.items()},
    }
    manifest = Manifest(
        format=FORMAT,
        target=target.name,
        edgefer=edgefer.__version__,
        files={name: sha256(files[name]) for name in sorted(files)},
    )
    return Bundle(
        target=target,
        contract=contract,
        golden=golden.record,
        files={**files, MANIFEST: _text_file(to_json(manifest))},
    )


def labels_file(contract: Contract) -> bytes:
    """Return labels.txt: a label a line, without an empty one at the end."""
    return "\n".join(contract.labels).encode()


def _text_file(text: str) -> bytes:
    return f"{text}\n".encode()


def _require_one_line_labels(path: Path, spec: ModelSpec) -> None:
    """Raise ModelError where a label would break labels.txt, which has one a line."""
    for label in spec.labels:
        if not label.isprintable():
            raise ModelError(path, f"its label {label!r} is not printable; give other --labels")
