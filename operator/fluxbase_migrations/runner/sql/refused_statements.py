"""Files that can never work: refused before anything of them runs, with the line and with what to do."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.sql import lexer
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.statements import Special, StatementKind

_COMMAND: Final = re.compile(rb"\\(?:[A-Za-z]+|[^\sA-Za-z])?")
_INSERTS: Final = "write the rows as INSERT statements (pg_dump --inserts does)"
_HINTS: Final = {
    "\\restrict": "pg_dump writes \\restrict and \\unrestrict for psql: remove both lines",
    "\\unrestrict": "pg_dump writes \\restrict and \\unrestrict for psql: remove both lines",
    "\\connect": "remove it: the database is the one that the migration is run on",
    "\\c": "remove it: the database is the one that the migration is run on",
    "\\i": "put the SQL of the included file in its place",
    "\\ir": "put the SQL of the included file in its place",
    "\\include": "put the SQL of the included file in its place",
    "\\copy": _INSERTS,
    "\\.": _INSERTS,
    "\\gexec": "generate the statements in a DO block with EXECUTE",
}


def refuse_unusable(statements: Statements, specials: Mapping[int, Special], name: str) -> None:
    """Refuse a file that is not plain SQL; of several such places, name the first.

    Raises:
        InvalidSource: COPY … FROM STDIN, psql's own commands, or something that is opened and never closed.
    """
    first = min(_unusable(statements, specials), default=None, key=lambda place: place.at)
    if first is None:
        return
    line, column = lexer.line_column(statements.sql, first.at)
    raise InvalidSource(
        first.problem, file=name, line=line, column=column, statement=first.statement, hint=first.hint
    )


@dataclass(frozen=True, slots=True)
class _Unusable:
    """A place of a file that can never work."""

    at: int
    problem: str
    hint: str
    statement: str | None = None


def _unusable(statements: Statements, specials: Mapping[int, Special]) -> Iterator[_Unusable]:
    copies = (index for index, special in specials.items() if special.kind is StatementKind.COPY_STDIN)
    copy = next(copies, None)
    if copy is not None:
        yield _Unusable(
            statements.starts[copy],
            "COPY … FROM STDIN reads from psql, and a migration has no such input",
            _INSERTS,
            f"{copy + 1} of {len(statements)}, COPY",
        )
    if statements.backslash is not None:
        match = _COMMAND.match(statements.sql, statements.backslash)
        command = match[0].decode("ascii", "backslashreplace") if match else "\\"
        yield _Unusable(
            statements.backslash,
            f"{command} is a command of psql, and a migration is plain SQL",
            _HINTS.get(command, "remove it, or write it in SQL"),
        )
    if statements.unfinished is not None:
        what = statements.unfinished.what
        nesting = " (its comments nest: each /* needs a */ of its own)" if what == "comment" else ""
        yield _Unusable(
            statements.unfinished.at,
            f"the {what} that opens here never ends",
            f"close it: PostgreSQL would take the rest of the file for a part of it{nesting}",
        )


def refuse_left_out(statements: Statements, name: str) -> None:
    """Refuse a file of which a part that is neither white space nor comment is in no statement.

    Raises:
        InvalidSource: there is such a part; the splitter is wrong about it.
    """
    sql, position = statements.sql, 0
    for start, end in zip((*statements.starts, len(sql)), (*statements.ends, len(sql)), strict=True):
        gap = sql[position:start]
        if gap.strip(b" \t\r\n\f\v;") and not lexer.is_blank(gap):
            line, column = lexer.line_column(sql, position)
            raise InvalidSource(
                "a part of the file behind this place would not be run",
                file=name,
                line=line,
                column=column,
                hint="this is a bug; please report it with the file",
            )
        position = end
