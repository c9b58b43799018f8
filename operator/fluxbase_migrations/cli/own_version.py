"""``fluxbase-migrate --version`` by itself: what asks for it often, as installers do, waits for no parser."""

from typing import Final

from fluxbase_migrations import __version__

PROGRAM: Final = "fluxbase-migrate"
LINE: Final = f"{PROGRAM} {__version__}"
WORDS: Final = ("--version", "-version")


def main() -> int:
    """Print it."""
    print(LINE)
    return 0
