"""Lock files as pip reads them."""

import re
from pathlib import Path


def requirements(text: str) -> dict[str, str]:
    """The entries of a lock file, each with its hashes, by package name."""
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        if named := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", entry):
            found[named[1]] = entry
    return found


def only_in(lock: Path, *, besides: Path) -> str:
    """The entries of a lock file whose packages another one does not have."""
    others = requirements(besides.read_text())
    return "".join(entry for name, entry in requirements(lock.read_text()).items() if name not in others)
