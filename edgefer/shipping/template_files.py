"""A target's files: copied as they are, except `.jinja` ones, which are filled in."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgefer.errors import UsageError
from edgefer.shipping.targets import Target

SUFFIX = ".jinja"
_LEFT_OUT = "__pycache__"
_MARKUP = (".html", ".svg", ".xml")


def target_files(target: Target, values: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a target's files by their path in the bundle, relative with slashes.

    `values` are what `.jinja` files may name. Raises UsageError where this edgefer has nothing for
    the target.
    """
    if not target.templates.is_dir():
        raise UsageError(f"this edgefer has nothing to ship to {target.name}; install a newer one")
    files = {}
    for path in _files(target.templates):
        name = path.relative_to(target.templates).as_posix()
        content = path.read_bytes()
        if name.endswith(SUFFIX):
            name = name.removesuffix(SUFFIX)
            content = fill_in(content.decode(), values, markup=name.endswith(_MARKUP)).encode()
        files[name] = content
    return files


def fill_in(template: str, values: Mapping[str, Any], *, markup: bool = False) -> str:
    """Return a jinja2 template with its values; in `markup`, HTML or XML, they are escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=markup,  # noqa: S701 - Kotlin, Swift and Markdown have no use for &lt;
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(template).render(values)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _LEFT_OUT not in path.parts:
            yield path
