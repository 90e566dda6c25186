"""The wheel as users get it: everything that is needed, and nothing but `edgefer/`."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgefer import __version__

ROOT = Path(__file__).parents[1]
PACKAGE_FOLDERS = {
    "edgefer": "edgefer",
    "converters": "edgefer/converters",
    "benchmarks": "edgefer/benchmarks",
    "calibration_data": "edgefer/calibration_data",
}
DATA_FOLDERS = ("edgefer/models/weights", "edgefer/prediction", "calibration_data")

pytestmark = pytest.mark.slow


def installed(path: Path, source: Path) -> str:
    """Return the name in the wheel of a file of the source."""
    folder, *rest = path.relative_to(source).parts
    return "/".join((PACKAGE_FOLDERS[folder], *rest))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the wheel is made of to where no earlier build can add to it."""
    copy = tmp_path_factory.mktemp("source")
    for folder in PACKAGE_FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def entries(source: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel and return the names of its files."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(wheels), "."]
    result = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = wheels.iterdir()
    assert wheel.name == f"edgefer-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_everything_is_under_edgefer(entries: set[str]) -> None:
    folders = ("edgefer/", f"edgefer-{__version__}.dist-info/")
    assert sorted(entry for entry in entries if not entry.startswith(folders)) == []


def test_every_module_of_the_packages_is_in_the_wheel(source: Path, entries: set[str]) -> None:
    modules = {
        installed(path, source)
        for folder in PACKAGE_FOLDERS
        for path in (source / folder).rglob("*.py")
        if (path.parent / "__init__.py").exists()
    }
    shipped = "edgefer/shipping/templates/"
    imported = {
        entry for entry in entries if entry.endswith(".py") and not entry.startswith(shipped)
    }
    assert imported == modules


def test_every_file_of_every_bundle_is_in_the_wheel(source: Path, entries: set[str]) -> None:
    templates = source / "edgefer/shipping/templates"
    files = {installed(path, source) for path in templates.rglob("*") if path.is_file()}
    assert len(files) > 4
    assert sorted(files - entries) == []


def test_the_types_weights_faces_and_licence_travel_along(source: Path, entries: set[str]) -> None:
    data = {
        installed(path, source)
        for folder in DATA_FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert sorted(data - entries) == []
    assert "edgefer/py.typed" in entries
    assert f"edgefer-{__version__}.dist-info/licenses/LICENSE" in entries


def test_no_test_is_in_the_wheel(entries: set[str]) -> None:
    assert [entry for entry in entries if "/tests/" in entry or "/test_" in entry] == []
