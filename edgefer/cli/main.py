"""The console script.

Everything is imported inside `main`, so that Ctrl-C is one line from the first moment on.
"""


def main() -> None:
    """Run the command line on the process's own arguments, and exit."""
    import sys

    try:
        import signal

        from edgefer.cli.run import run

        code = run(sys.argv[1:])
        # Ctrl-C from here on would reach the libraries' exit handlers, which print tracebacks.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        sys.stderr.write("edgefer: interrupted\n")
        code = 130
    sys.exit(code)
