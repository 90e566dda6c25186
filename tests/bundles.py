"""Bundles made of a small model, and ways to spoil them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgefer.models.contract import StatedContract
from edgefer.shipping.bundle import Bundle
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.manifest import MANIFEST, sha256
from edgefer.shipping.targets import LINUX, Target

QUADRANT = Path(__file__).parent / "golden" / "tflite" / "int8.tflite"
STATED = StatedContract(
    labels=("anger", "happiness", "neutral", "surprise"), mean=(127.5,), std=(127.5,)
)


def ship_quadrant(
    folder: Path, *, target: Target = LINUX, model: Path = QUADRANT, force: bool = False
) -> Bundle:
    """Write a bundle of a model that sees which quarter of a 16x16 picture is the brightest."""
    return ship(ShippingJob(model=model, target=target, folder=folder, stated=STATED, force=force))


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def seal(folder: Path) -> None:
    """Bring a bundle's hashes up to date, as someone with bad intentions would."""

    def change(manifest: Any) -> None:
        manifest["files"] = {
            path.relative_to(folder).as_posix(): sha256(path.read_bytes())
            for path in folder.rglob("*")
            if path.is_file() and path.name != MANIFEST
        }

    rewrite(folder / MANIFEST, change)
