"""What a bundle can be made for."""

from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place where models run; `next_steps` is told once its bundle is written."""

    name: str
    title: str
    next_steps: tuple[str, ...]

    @property
    def templates(self) -> Path:
        """The folder of its files: copied as they are, `.jinja` ones rendered."""
        return TEMPLATES / self.name


ANDROID = Target(
    name="android",
    title="Android, in Kotlin",
    next_steps=("gradle test",),
)
IOS = Target(
    name="ios",
    title="iOS, in Swift",
    next_steps=("swift test",),
)
WEB = Target(
    name="web",
    title="the web, in a page that needs no server",
    next_steps=("python3 -m http.server", "open http://localhost:8000 in a browser"),
)
LINUX = Target(
    name="linux",
    title="Linux boards, in one Python file",
    next_steps=(
        "pip install -r requirements.txt",
        "python recognise.py --check",
        "python recognise.py photo.jpg",
    ),
)

TARGETS = {target.name: target for target in (ANDROID, IOS, WEB, LINUX)}
