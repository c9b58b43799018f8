"""Files that can never work: refused before anything of them runs, with the line and with what to do."""

import re
from collections.abc import Mapping
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
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
    """Refuse what the server could not have been meant to see.

    Raises:
        InvalidSource: COPY … FROM STDIN, psql's own commands, or something that is opened and never closed.
    """
    copy = next((index for index, one in specials.items() if one.kind is StatementKind.COPY_STDIN), None)
    places = [statements.starts[copy] if copy is not None else None, statements.backslash]
    places.append(statements.unfinished.at if statements.unfinished else None)
    first = min((place for place in places if place is not None), default=None)
    if first is None:
        return
    line, column = lexer.line_column(statements.sql, first)
    if copy is not None and first == statements.starts[copy]:
        raise InvalidSource(
            "COPY … FROM STDIN reads from psql, and a migration has no such input",
            file=name,
            line=line,
            column=column,
            statement=f"{copy + 1} of {len(statements)}, COPY",
            hint=_INSERTS,
        )
    if first == statements.backslash:
        command = _COMMAND.match(statements.sql, first)
        text = command[0].decode("ascii", "backslashreplace") if command else "\\"
        raise InvalidSource(
            f"{text} is a command of psql, and a migration is plain SQL",
            file=name,
            line=line,
            column=column,
            hint=_HINTS.get(text, "remove it, or write it in SQL"),
        )
    what = statements.unfinished.what if statements.unfinished else "text"
    raise InvalidSource(
        f"the {what} that opens here never ends",
        file=name,
        line=line,
        column=column,
        hint="close it: PostgreSQL would take the rest of the file for a part of it"
        + (" (its comments nest: each /* needs a */ of its own)" if what == "comment" else ""),
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
