"""The docs' terminals: ``python -m tests.terminal.page`` puts what was recorded into pages and pictures.

What a session shows stands between ``<!-- session: NAME -->`` and ``<!-- /session -->`` in a page of `docs/`.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.terminal import plain
from tests.terminal import pictures
from tests.terminal.recording import ROOT, Step, take_over

DOCS: Final = ROOT / "docs"
IMAGES: Final = DOCS / "images"
_PLACE: Final = re.compile(r"(<!-- session: ([\w-]+) -->\n).*?(<!-- /session -->)", re.DOTALL)


def named(text: str) -> list[str]:
    """The sessions that a page shows."""
    return [name for _, name, _ in _PLACE.findall(text)]


def filled(text: str, recorded: Mapping[str, Sequence[Step]]) -> str:
    """A page with its sessions.

    Raises:
        KeyError: one was never recorded.
    """
    return _PLACE.sub(lambda found: f"{found[1]}\n{_block(recorded[found[2]])}\n{found[3]}", text)


def _block(steps: Sequence[Step]) -> str:
    return "\n".join(["```console", *(line for step in steps for line in _lines(step)), "```", ""])


def _lines(step: Step) -> Iterator[str]:
    yield f"$ {step.typed}"
    yield from (plain(line).rstrip() for line in step.shown)


def drawn(recorded: Mapping[str, Sequence[Step]]) -> dict[Path, str]:
    """The pictures, by where they are."""
    steps = (step for steps in recorded.values() for step in steps if step.picture)
    return {IMAGES / f"{step.picture}.svg": pictures.svg(step) for step in steps}


def main() -> None:
    """Take over what was recorded afresh, and make pages and pictures."""
    recorded = take_over()
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(filled(page.read_text(), recorded))
    made = drawn(recorded)
    IMAGES.mkdir(exist_ok=True)
    for path in {*IMAGES.glob("*.svg")} - made.keys():
        path.unlink()
    for path, text in made.items():
        path.write_text(text)
    sys.stdout.write(f"{len(recorded)} sessions, {len(made)} pictures\n")


if __name__ == "__main__":
    main()
