"""The contract for people: contract.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.data.preprocessing import normalise
from edgefer.evaluation.metrics import are_probabilities
from edgefer.models.spec import ModelSpec
from edgefer.shipping.contract import Contract
from edgefer.shipping.golden_format import Golden
from edgefer.shipping.template_files import fill_in
from edgefer.tensor import FLOAT_TYPES, Tensor

TEMPLATE = Path(__file__).parent / "contract.md.jinja"


def contract_text(
    contract: Contract,
    spec: ModelSpec,
    tensor: Tensor,
    golden: Golden,
    *,
    model_bytes: int,
    model_sha256: str,
    golden_terms: str,
) -> str:
    """Return contract.md; `tensor` is the model's input, `golden_terms` whose pictures they are."""
    scores = np.array([face.probabilities for face in golden.faces], np.float32)
    values: Mapping[str, Any] = {
        "name": plain(contract.name),
        "version": plain(contract.version),
        "model_bytes": f"{model_bytes:,}",
        "model_sha256": model_sha256,
        "input": contract.input,
        "is_float": tensor.dtype in FLOAT_TYPES,
        "offset": byte_offset(spec, tensor),
        "output": contract.output,
        "tolerance": golden.tolerance,
        "probabilities": are_probabilities(scores),
        "labels": [plain(label) for label in contract.labels],
        "author": plain(spec.author),
        "licence": plain(spec.licence),
        "training_data": plain(spec.training_data),
        "golden_terms": golden_terms,
    }
    return fill_in(TEMPLATE.read_text(encoding="utf-8"), values)


def byte_offset(spec: ModelSpec, tensor: Tensor) -> int | None:
    """Return k where the model is fed pixel + k for every pixel and channel, otherwise None."""
    if tensor.dtype in FLOAT_TYPES:
        return None
    pixels = np.arange(256, dtype=np.uint8)[:, np.newaxis].repeat(spec.channels, axis=1)
    offsets = np.unique(tensor.quantize(normalise(pixels, spec)).astype(int) - pixels)
    return int(offsets[0]) if len(offsets) == 1 else None


def plain(text: str) -> str:
    """Return text from a model's metadata so that it stays text in a Markdown table."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    escaped = printable.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")
    return " ".join(escaped.replace("`", "\\`").split())
