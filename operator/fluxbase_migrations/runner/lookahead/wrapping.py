"""Lines that fit a terminal, and a log."""

import textwrap
from typing import Final

from fluxbase_migrations.core.text import visible

WIDTH: Final = 100


def wrapped(text: str, indent: int) -> list[str]:
    """``text`` in lines of at most :data:`WIDTH` characters, unless one word is longer."""
    first = " " * indent
    text = visible(text)
    if len(first) + len(text) <= WIDTH and text and text == text.strip():
        return [first + text]  # most lines; a plan has thousands
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
