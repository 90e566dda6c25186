"""A result as one self-contained HTML page, readable on a phone and on paper."""

import base64
import importlib.util
from dataclasses import dataclass
from importlib import resources

from edgefer import __version__
from edgefer.errors import MissingExtraError


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """An SVG or <img> element that edgefer made itself, and what it shows."""

    drawing: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table under a heading, with rows of figures below it; without columns, a list of facts."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...] = ()
    figures: tuple[tuple[Drawing, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that a report shows, as text and drawings."""

    title: str
    verdict: str
    passed: bool
    warnings: tuple[str, ...]
    tables: tuple[Section, ...]


def require_packages() -> None:
    """Raise MissingExtraError where a page with charts could not be made, before long work."""
    if any(importlib.util.find_spec(package) is None for package in ("jinja2", "matplotlib")):
        raise MissingExtraError("a report", "convert")


def render(page: Page) -> str:
    """Return the page as HTML; all text is escaped, drawings are taken as they are."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as exc:
        raise MissingExtraError("a report", "convert") from exc
    template = resources.files(__package__).joinpath("page.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(page=page, version=__version__)


def png_element(content: bytes, alternative: str) -> str:
    """Return an <img> that holds a PNG; `alternative` is plain text without quotes or brackets."""
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{alternative}" src="data:image/png;base64,{data}">'
