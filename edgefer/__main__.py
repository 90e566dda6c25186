"""`python -m edgefer`: the same as the console script."""

from edgefer.cli.main import main

main()
