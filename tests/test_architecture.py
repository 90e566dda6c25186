"""What the design promises of the source as a whole: who may import what, print, or exit."""

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_FOLDERS = ("edgefer", "converters", "benchmarks", "calibration_data")

SHIPPED = "edgefer/shipping/templates/"
"""Code that edgefer writes into bundles and never imports: programs of their own."""

# Scripts that run in a process of their own, on a device or in a child: stdout is their answer.
AGENTS = {"benchmarks/agent.py", "benchmarks/profiler.py", "edgefer/runtime_check.py"}

INTERPRETER_USERS = {*AGENTS, "edgefer/runtime.py"}

OPTIONAL_PACKAGES = {
    "h5py",
    "jinja2",
    "keras",
    "litert_quantizer",
    "litert_torch",
    "matplotlib",
    "safetensors",
    "tensorflow",
    "torch",
}

Import = tuple[str, int]
"""A module's full name and the line that imports it."""


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return [path for path in found if not relative(path).startswith(SHIPPED)]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[Import]:
    """Yield every import under `tree`; `from a import b` counts as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imports_at_load(body: list[ast.stmt]) -> Iterator[Import]:
    """Yield the imports that run when the module is loaded: not in functions or TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports_at_load(node.orelse)
            continue
        yield from imports(ast.Module([node], [])) if not hasattr(node, "body") else ()
        for part in ("body", "orelse", "finalbody"):
            yield from imports_at_load(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from imports_at_load(handler.body)


def top_level(module: str) -> str:
    return module.partition(".")[0]


def prints_or_exits(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield what prints, writes to a standard stream, or ends the process."""
    streams_and_exits = {
        "print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write",
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in streams_and_exits:
            yield ast.unparse(node.func), node.lineno
        elif isinstance(node, ast.Raise) and node.exc and "SystemExit" in ast.unparse(node.exc):
            yield "raise SystemExit", node.lineno


def outside_cli() -> list[Path]:
    """Return the library's modules: benchmarks/peers holds scripts, which are not installed."""
    apart = ("edgefer/cli/", "benchmarks/peers/")
    return [path for path in sources(*SOURCE_FOLDERS) if not relative(path).startswith(apart)]


def test_only_the_command_line_imports_click_and_rich() -> None:
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in outside_cli()
        for module, line in imports(parsed(path))
        if top_level(module) in ("click", "rich")
    ]
    assert found == []


def test_only_the_command_line_prints_or_exits() -> None:
    found = [
        f"{relative(path)}:{line}: {what}"
        for path in outside_cli()
        if relative(path) not in AGENTS
        for what, line in prints_or_exits(parsed(path))
    ]
    assert found == []


def test_what_is_shipped_to_apps_needs_no_edgefer() -> None:
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sorted((ROOT / SHIPPED).rglob("*.py"))
        for module, line in imports(parsed(path))
        if top_level(module) == "edgefer"
    ]
    assert found == []


def test_folders_that_the_wheel_renames_are_never_imported_by_their_checkout_name() -> None:
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sources(*SOURCE_FOLDERS, "tests")
        for module, line in imports(parsed(path))
        if top_level(module) in ("converters", "benchmarks", "calibration_data")
    ]
    assert found == []


def test_optional_packages_are_imported_inside_functions_only() -> None:
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sources(*SOURCE_FOLDERS)
        for module, line in imports_at_load(parsed(path).body)
        if top_level(module) in OPTIONAL_PACKAGES
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import keras", ["keras"]),
        ("try:\n    import keras\nexcept ImportError:\n    import torch", ["keras", "torch"]),
        ("class A:\n    import h5py", ["h5py"]),
        ("with quiet():\n    from tensorflow import lite", ["tensorflow.lite"]),
        ("if TYPE_CHECKING:\n    import keras\nelse:\n    import torch", ["torch"]),
        ("def f():\n    import keras", []),
        ("class A:\n    def f(self):\n        import keras", []),
    ],
)
def test_the_search_sees_what_runs_at_load(source: str, modules: list[str]) -> None:
    """The tests above are worth what this search finds."""
    assert [module for module, _ in imports_at_load(ast.parse(source).body)] == modules


def test_only_the_runtime_imports_an_interpreter() -> None:
    found = [
        f"{relative(path)}:{line}: {module}"
        for path in sources(*SOURCE_FOLDERS)
        if relative(path) not in INTERPRETER_USERS
        for module, line in imports(parsed(path))
        if module.startswith(("ai_edge_litert.interpreter", "tflite_runtime", "tensorflow.lite"))
    ]
    assert found == []


def test_setup_cfg_lists_every_package() -> None:
    """The list is kept by hand, because `find:` cannot map folders to other names."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    present = {
        relative(path.parent).replace("/", ".")
        for folder in SOURCE_FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    installed = {
        package if top_level(package) == "edgefer" else f"edgefer.{package}" for package in present
    }
    assert sorted(listed) == sorted(installed)


def test_every_folder_with_modules_is_a_package() -> None:
    """A module in a folder without __init__.py would be missing from the wheel."""
    packages = {path.parent for path in sources(*SOURCE_FOLDERS) if path.name == "__init__.py"}
    scripts = {ROOT / "benchmarks" / "peers"}  # not installed
    assert {path.parent for path in sources(*SOURCE_FOLDERS)} <= packages | scripts


def test_no_text_file_holds_a_path_of_one_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout, to know which files belong to it")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    machine_path = re.compile(rb"(?<![\w.])/(work|root)/\w")
    found = [
        f"{name}: {match.group().decode()}"
        for name in listing.stdout.split("\0")
        if name and (ROOT / name).is_file()
        for content in [(ROOT / name).read_bytes()]
        if b"\0" not in content
        for match in [machine_path.search(content)]
        if match
    ]
    assert found == []
