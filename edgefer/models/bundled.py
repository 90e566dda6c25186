"""The trained models that edgefer brings, by the names of their networks."""

from collections.abc import Mapping
from pathlib import Path

from edgefer.models import weights

DEFAULT = "patt-lite"

INT8 = Path(weights.__file__).parent / f"{DEFAULT}-int8.tflite"
"""What `edgefer convert --int8` makes of the default one, for installs without TensorFlow."""


def models() -> Mapping[str, Path]:
    """Return the checkpoints by name, the default one first."""
    paths = Path(weights.__file__).parent.glob("*.safetensors")
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem != DEFAULT)}


def calibrations() -> Mapping[str, Path]:
    """Return what the bundled faces showed of these models, files for `--calibration`, by name."""
    suffix = ".calibration.json.gz"
    paths = Path(weights.__file__).parent.glob(f"*{suffix}")
    return {path.name.removesuffix(suffix): path for path in sorted(paths)}
