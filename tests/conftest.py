"""What several test modules need."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgefer.data.faces import LabelledFaces
from edgefer.models.spec import ModelSpec

# A shell's background job ignores Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest-xdist sets it, and what a command prints would be broken into lines of that width.
os.environ.pop("COLUMNS", None)

pytest_plugins = ("boards",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `pytest -n 2` run a file's tests in one process, and all of the emulated board in one.

    It has to come before pytest-xdist's own hook, which reads the groups.
    """
    for item in items:
        is_board = item.get_closest_marker("emulated_board") is not None
        item.add_marker(pytest.mark.xdist_group("board" if is_board else item.path.name))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their size: a test's name is in the environment of what it starts."""
    if isinstance(val, (str, bytes)) and len(val) > 200:
        return f"{argname} of {len(val)}"
    return None


QUADRANT_LABELS = ("anger", "happiness", "neutral", "surprise")


@pytest.fixture(scope="session")
def ferplus_path() -> Path:
    """FER+'s arrays; tests that take it are marked `shared_data`."""
    beside = Path(__file__).parents[2] / "shared/data/ferplus.npz"
    path = Path(os.environ.get("EDGEFER_FERPLUS", beside))
    if not path.is_file():
        pytest.skip(f"needs FER+'s arrays: set EDGEFER_FERPLUS, there is no {path}")
    return path


@pytest.fixture(scope="session")
def quadrant_spec() -> ModelSpec:
    """Describe the quadrant models: which quarter of a 16x16 image is the brightest."""
    return ModelSpec(name="quadrant", labels=QUADRANT_LABELS, input_size=16)


@pytest.fixture(scope="session")
def quadrant_tflites() -> Mapping[str, Path]:
    """Return the small .tflite files by name; golden/tflite/README.md tells them apart."""
    folder = Path(__file__).parent / "golden" / "tflite"
    return {path.stem: path for path in sorted(folder.glob("*.tflite"))}


@pytest.fixture(scope="session")
def quadrant_faces() -> LabelledFaces:
    """160 noisy 16x16 and 24x24 images, gray and RGB, of which a tenth is labelled wrongly."""
    random = np.random.default_rng(11)
    class_names = ("surprise", "anger", "neutral", "happiness")
    images, labels = [], []
    for _ in range(160):
        label = int(random.integers(4))
        side = int(random.choice([16, 24]))
        image = random.integers(0, 200, (side, side, 3)).astype(np.uint8)
        row, column = divmod(QUADRANT_LABELS.index(class_names[label]), 2)
        half = side // 2
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 40
        images.append(image if random.random() < 0.5 else image[:, :, 0])
        labels.append(label if random.random() < 0.9 else int(random.integers(4)))
    return LabelledFaces(
        source="quadrants",
        images=images,
        labels=np.array(labels, np.int64),
        class_names=class_names,
        names=[f"face {number}" for number in range(len(images))],
    )
