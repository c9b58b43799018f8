"""The sources in tests/cases, as they are, as down files, and within a file that runs in groups."""

from pathlib import Path

CASES = Path(__file__).parents[1] / "cases"


def files(case: str) -> dict[str, str]:
    """Name → content of a case's files."""
    return {path.name: path.read_text() for path in sorted((CASES / case).glob("*.sql"))}


def only(case: str) -> str:
    """The content of a case that has one file."""
    (content,) = files(case).values()
    return content


def as_down(content: str) -> dict[str, str]:
    """A source whose first file is undone by ``content``."""
    return {"1_file.up.sql": "SELECT 1", "1_file.down.sql": content}


def in_groups(content: str) -> str:
    """``content`` in a file that cannot run in one transaction."""
    return f"CREATE TABLE before_it (i int);\nVACUUM before_it;\n{content}"
