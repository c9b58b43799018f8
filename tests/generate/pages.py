"""Parts of pages that are made from data elsewhere: ``python -m tests.generate.pages`` writes them.

Each stands between ``<!-- NAME: … -->`` and ``<!-- /NAME -->``.
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dev.localcluster import parts
from fluxbase_migrations.api.reference import item

ROOT: Final = Path(__file__).parents[2]


def contracts() -> str:
    """import-linter's contracts; of layers with their order, the highest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return "\n".join(map(_contract, project["tool"]["importlinter"]["contracts"]))


def _contract(contract: dict[str, Any]) -> str:
    name, order = contract["name"], " > ".join(contract.get("layers", ()))
    sentence = name if name.startswith("kubectl") else f"{name[0].upper()}{name[1:]}"
    return item(f"{sentence}: `{order}`" if order and order not in name else sentence)


PAGES: Final[dict[str, tuple[Path, Callable[[], str]]]] = {
    "contracts": (ROOT / "CONTRIBUTING.md", contracts),
    "parts": (ROOT / "docs/local-cluster.md", parts.markdown),
}


def filled(text: str, name: str, made: str) -> str:
    """``text`` with ``made`` in the place of that name.

    Raises:
        ValueError: there is no such place.
    """
    place = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, count = place.subn(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"no place for {name}")
    return text


def main() -> None:
    """Write every part."""
    for name, (page, made) in PAGES.items():
        page.write_text(filled(page.read_text(), name, made()))


if __name__ == "__main__":
    main()
