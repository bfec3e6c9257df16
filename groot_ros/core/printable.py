# SPDX-License-Identifier: Apache-2.0
"""Text from files and messages in a form that can be logged and printed."""

#: Characters of a text, at most; that of a whole message of an error.
MAX_TEXT, MAX_MESSAGE = 200, 1000


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text as one line: control characters are escaped, and a long text is cut.

    Control characters would move the cursor of a terminal, or forge a line of a log.
    """
    # Escaped text is longer: no more than the limit of it is needed.
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made printable."""
    return "\n".join(printable(line, MAX_MESSAGE) for line in text.split("\n"))
