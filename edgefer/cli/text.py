"""Text that is safe to put on a terminal, and help that click leaves as it is."""


def one_line(text: str) -> str:
    r"""Return `text` as one printable line.

    Newlines, control characters, text-direction marks and undecodable bytes, which a file name
    may well hold, become escapes such as `\n` and `\x1b`.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def examples(*lines: str) -> str:
    r"""Return an epilog for a command that shows `lines` under Examples, each on a line of its own.

    `\b` is click's mark for a paragraph that it must not rewrap.
    """
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
