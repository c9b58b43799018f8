"""SQL as people and PostgreSQL itself write it: statements of every kind, and files that are there."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

from fluxbase_migrations import system

ROOT: Final = Path(__file__).parents[2]
STATEMENTS: Final = tuple(
    (Path(__file__).parent / "statements.sql").read_text().rstrip("\n").split("\n----\n")
)
"""Between the lines ``----``, each exactly one statement."""
ENDS: Final = (";", ";\n", " ; ", ";\r\n\r\n", ";;\n", "; -- done;\n", ";/* ; */", "\n;\n")
TOGETHER: Final = 5
# Of Debian's packages and of those that Maven fetches.
SHIPPED: Final = ("/usr/share/postgresql/*/", "/var/cache/fluxbase-migrations/postgres/*/share/postgresql/")


def variants(statement: str) -> list[str]:
    """One statement in the forms that it could be written in."""
    return [
        statement,
        statement.replace("\n", "\r\n"),
        f"-- é ; '\n{statement}",
        f"/* /* ' */ $$ */{statement}/* end; */",
        statement.replace(" ", "  \t", 3),
    ]


def files() -> Iterator[str]:
    """Every statement in every form, a few to a file, in changing order and with changing ends."""
    ends = cycle(ENDS)
    count = len(STATEMENTS)
    for step in (1, 7, 11, 13):
        order = [STATEMENTS[number * step % count] for number in range(count)]
        for first in range(0, count, TOGETHER):
            group = order[first : first + TOGETHER]
            for number in range(len(variants(group[0]))):
                yield "".join(variants(one)[number] + next(ends) for one in group)


def written() -> dict[str, str]:
    """The repository's own files: the system track and the examples."""
    own = {name: content.decode() for name, content in system.files().items()}
    return own | {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob("examples/**/*.sql")}


def shipped() -> dict[str, str]:
    """What the PostgreSQL packages of this machine bring, without psql's lines and extensions' marks."""
    found = {}
    for pattern in SHIPPED:
        for path in sorted(Path("/").glob(f"{pattern[1:]}**/*.sql")):
            lines = path.read_text().splitlines(keepends=True)
            text = "".join(line for line in lines if not line.startswith("\\"))
            found[str(path)] = text.replace("@extschema@", "public").replace("@extowner@", "owner")
    return found
