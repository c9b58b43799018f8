"""What is imported is declared, and what is declared is imported and explained."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator/fluxbase_migrations"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PROGRAMS = {"squawk-cli"}
"""Declared for a program that it brings, which is run and not imported."""


def declared() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    every = [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]
    return {normal(re.split(r"[\[<>=~! ]", one)[0]) for one in every}


def imported() -> set[str]:
    """Distributions whose modules our package imports itself, wherever in a module."""
    modules = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    others = modules - sys.stdlib_module_names - {"fluxbase_migrations"}
    return {normal(packages_distributions()[name][0]) for name in others}


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    assert imported() == declared() - PROGRAMS


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    explained = {normal(name) for name in re.findall(r"\*\*([\w-]+)\*\* \(", page)}
    assert explained == declared()


def test_what_benchmarks_share_needs_no_tests() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "dev").rglob("*.py")}
    assert [
        name for name, text in sources.items() if re.search(r"^\s*(from|import) tests\b", text, re.MULTILINE)
    ] == []
