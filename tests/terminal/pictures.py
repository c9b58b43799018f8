"""Pictures of terminals for the docs, drawn by rich from what was recorded: the same bytes each time.

They fetch nothing when they are looked at: rich's own template names a font on the web, this one the fonts
that a machine has.
"""

import io
from collections.abc import Iterator
from typing import Final

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.terminal.recording import COLUMNS, Step

_THEME: Final = TerminalTheme(
    (30, 33, 39),
    (222, 226, 230),
    [
        (72, 79, 88),
        (255, 123, 114),
        (99, 196, 111),
        (227, 179, 65),
        (121, 184, 255),
        (210, 168, 255),
        (118, 227, 234),
        (222, 226, 230),
    ],
)
"""Background, foreground, and the eight colours from black to white: each can be read on the background."""
_ASPECT: Final = 0.6
"""Width to height of a character of the fonts below."""
_FORMAT: Final = """\
<svg class="terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace;
font-size: {char_height}px;
line-height: {line_height}px;
}}
.{unique_id}-title {{
font-size: 16px;
font-family: sans-serif;
}}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def svg(step: Step) -> str:
    """A terminal that shows one command."""
    console = Console(
        width=COLUMNS,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        _environ={},
    )
    prompt = Text.assemble(("$ ", "dim"), step.typed)
    for text in (prompt, *AnsiDecoder().decode("\n".join(step.shown))):
        for row in _rows(text):
            console.print(row, no_wrap=True, overflow="ignore", crop=False, highlight=False)
    made = console.export_svg(
        title=step.typed.partition(" -")[0],
        theme=_THEME,
        code_format=_FORMAT,
        font_aspect_ratio=_ASPECT,
        unique_id=step.picture,
    )
    return "\n".join(line.strip() for line in made.splitlines()) + "\n"


def _rows(text: Text) -> Iterator[Text]:
    """A line as a terminal breaks it: where it is full."""
    places = range(COLUMNS, max(len(text), 1), COLUMNS)
    yield from text.divide(places)
