"""import-linter's contracts, in CONTRIBUTING: ``python -m tests.static.contracts`` writes them there."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.api.reference import item

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "CONTRIBUTING.md"
_PLACE: Final = re.compile(r"(<!-- contracts: [^\n]*-->\n).*?(<!-- /contracts -->)", re.DOTALL)


def contracts() -> list[dict[str, Any]]:
    """As pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def lines() -> Iterator[str]:
    """One item for each contract; of layers with their order, the highest first."""
    for contract in contracts():
        order = " > ".join(contract.get("layers", ()))
        name = contract["name"]
        yield item(f"{name[0].upper()}{name[1:]}" + (f": `{order}`" if order and order not in name else ""))


def filled(text: str) -> str:
    """``text`` with the contracts in their place.

    Raises:
        ValueError: there is no place for them.
    """
    made = "\n".join(lines())
    text, count = _PLACE.subn(lambda place: f"{place[1]}\n{made}\n\n{place[2]}", text)
    if count != 1:
        raise ValueError("no place for the contracts")
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
