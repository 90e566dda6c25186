"""Print the command that follows `<!-- ci:NAME -->` in README.md, so that CI runs what it says.

Usage: readme_command.py NAME
"""

import re
import sys
from pathlib import Path


def main() -> None:
    """Print the sh block after the marker, or fail."""
    (name,) = sys.argv[1:]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = re.search(rf"<!-- ci:{re.escape(name)} -->\s*```sh\n(.*?)```", readme, re.DOTALL)
    if block is None:
        sys.exit(f"README.md has no sh block after <!-- ci:{name} -->")
    print(block[1], end="")


main()
