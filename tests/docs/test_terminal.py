"""docs/terminal.md and the pictures show what was recorded, of every command."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbase_migrations.cli.help_texts import GROUPS
from fluxbase_migrations.cli.kubectl.program import COMMANDS
from tests.terminal import page, pictures
from tests.terminal.recording import COLUMNS, ROOT, Step, orphans, read

RECORDED = read()
PICTURES = page.drawn(RECORDED)
PAGES = sorted(page.DOCS.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_shows_what_is_recorded(path: Path) -> None:
    text = path.read_text()
    assert text == page.filled(text, RECORDED), "run python -m tests.terminal.page"


def test_every_session_has_a_test_and_is_shown() -> None:
    assert orphans(RECORDED) == set()
    assert RECORDED.keys() == {name for path in PAGES for name in page.named(path.read_text())}


def typed(program: str) -> Iterator[str]:
    """The commands of a program that sessions have."""
    for steps in RECORDED.values():
        for step in steps:
            for found in re.findall(rf"(?:^|\s|\(){program} ((?:--?\S+ )*[\w-]+)", step.typed):
                yield shlex.split(found)[-1]


@pytest.mark.parametrize(
    ("program", "commands"),
    [
        ("fluxbase-migrate", {name for group in GROUPS.values() for name in group}),
        ("kubectl fluxbase", set(COMMANDS)),
    ],
)
def test_every_command_is_typed(program: str, commands: set[str]) -> None:
    assert commands - set(typed(program)) == set()


def test_the_pictures_are_those_of_what_is_recorded() -> None:
    assert {path: path.read_text() for path in page.IMAGES.glob("*.svg")} == PICTURES, (
        "run python -m tests.terminal.page"
    )


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_shown_and_fetches_nothing(path: Path) -> None:
    shown = "".join(one.read_text() for one in (*PAGES, ROOT / "README.md"))
    assert f"images/{path.name})" in shown
    text = PICTURES[path].replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert re.findall(r"https?:|@import|@font-face|href|url\((?!#)", text) == []


def test_a_line_is_broken_in_a_picture_where_the_terminal_is_full() -> None:
    drawn = pictures.svg(Step("x", ["a" * COLUMNS + "b", "\x1b[31mred\x1b[0m"], "name"))
    texts = re.findall(r"<text[^>]*clip-path[^>]*>([^<]*)</text>", drawn)
    assert [text for text in texts if text.strip()] == ["$&#160;", "x", "a" * COLUMNS, "b", "red"]
    assert drawn == pictures.svg(Step("x", ["a" * COLUMNS + "b", "\x1b[31mred\x1b[0m"], "name"))
