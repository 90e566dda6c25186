"""What another program wrote, made fit for one line of a message."""

LONGEST = 200


def shown(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line: blanks as one space, the unprintable escaped, the rest cut."""
    line = "".join(_visible(character) for character in " ".join(text[: 4 * longest].split()))
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[: longest - 1]}…"


def last_line(text: str) -> str:
    """Return the last line that says something, fit to be shown; empty where none does."""
    lines = [line for line in text.splitlines() if line.strip()]
    return shown(lines[-1]) if lines else ""


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
