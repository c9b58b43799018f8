"""golang-migrate's version table: one row, ``(version, dirty)``."""

import shlex
from typing import Final

from psycopg import errors

from fluxbase_migrations.core.errors import ForeignTable, MigrationError, ServerRefused
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY, TableName
from fluxbase_migrations.runner.history import other_tools
from fluxbase_migrations.runner.history.entry import Row
from fluxbase_migrations.runner.history.other_tools import Tool
from fluxbase_migrations.runner.sql import composing as sql

_VERSION_TYPES: Final = frozenset(("bigint", "integer"))
_TYPE_EXISTS: Final = "42710"
_EXISTS_ALREADY: Final = frozenset(("23505", "42P06", "42P07", _TYPE_EXISTS))
"""Another session created it between our check and our CREATE; the error may be about its row type."""


def columns(session: Session, table: TableName) -> dict[str, str] | None:
    """Column names and types; None if there is no such relation. Needs no privilege on it.

    Raises:
        ServerRefused: row level security would hide its rows from this role.
    """
    rows = session.query(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),"
        " pg_catalog.row_security_active(c.oid)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE n.nspname = %s AND c.relname = %s ORDER BY a.attnum",
        (table.schema, table.name),
    )
    if not rows:
        return None
    if rows[0][2]:
        raise ServerRefused(
            f"row level security of {table} applies to this role, so it may not see every row",
            hint=f"ALTER TABLE {table.identifier.as_string(session.pgconn)} DISABLE ROW LEVEL SECURITY; "
            "or run the migrations as the owner of the table, or as a role with BYPASSRLS",
        )
    return {name: kind for name, kind, _ in rows if name is not None}


def exists(session: Session, table: TableName) -> bool:
    """Whether the version table is there.

    Raises:
        ServerRefused: a table of that name is there and is not a version table.
        ForeignTable: it is that of another tool.
    """
    if table == HISTORY:
        raise ServerRefused(
            f"{table} is the history of the migrations and cannot be a tracking table",
            hint="use another tracking table (--table, or x-migrations-table in the URL)",
        )
    types = columns(session, table)
    if types is None:
        return False
    if types.get("version") not in _VERSION_TYPES or types.get("dirty") != "boolean":
        tool = other_tools.recognised(table.name, types)
        raise _not_ours(table, types) if tool is None else _of_another_tool(session, table, tool)
    return True


def _not_ours(table: TableName, types: dict[str, str]) -> MigrationError:
    listed = ", ".join(f"{name} {kind}" for name, kind in types.items()) or "none"
    return ServerRefused(
        f"{table} is not a golang-migrate version table: it has the columns {listed}, and (version "
        "bigint, dirty boolean) is needed",
        hint="another program keeps a table under that name; rename it, or use another tracking table",
    )


def _of_another_tool(session: Session, table: TableName, tool: Tool) -> MigrationError:
    """The error for another tool's table: it stays as it is, and the hint names another table for us."""
    try:
        recorded = other_tools.newest(session, table, tool)
    except errors.InsufficientPrivilege as error:
        return missing_privilege(session, table, f"{table} is the table of {tool.name}", error)
    new_table = TableName(table.schema, f"{table.name}_versions")
    state = f"records version {recorded.text}" if recorded else "records nothing applied"
    number = recorded.number if recorded is not None and not recorded.failed else None
    option, field = f"--table {shlex.quote(new_table.argument)}", f"table: {new_table.argument}"
    if number is not None:
        option = f"fluxbase-migrate baseline --from {shlex.quote(table.argument)} {option}"
        field += f" and baseline: {number}"
    hint = f"keep our version in another table: {option}; in the set, {field} of the track"
    return ForeignTable(f"{table} is the table of {tool.name}, and {state}", hint=hint)


def read(session: Session, table: TableName) -> Row:
    """The recorded version; nil where there is no row, or a negative version that is not dirty.

    Raises:
        ServerRefused: more than one row, or no right to read it.
    """
    try:
        rows = session.query(
            sql.SQL("SELECT version, dirty, xmin::pg_catalog.text FROM {} LIMIT 2").format(table.identifier)
        )
    except errors.InsufficientPrivilege as error:
        raise missing_privilege(session, table, f"the role may not read {table}", error) from None
    if len(rows) > 1:
        raise ServerRefused(
            f"{table} has more than one row, so the recorded version is not known",
            hint="delete all rows except the actual version",
        )
    if not rows:
        return Row()
    version, dirty, xmin = rows[0]
    if version < 0:
        return Row(NIL, bool(dirty), int(xmin))
    return Row(version, bool(dirty), int(xmin))


def written_by(session: Session, table: TableName) -> list[int]:
    """The transactions that wrote the rows of ``table``."""
    rows = session.query(sql.SQL("SELECT xmin::pg_catalog.text FROM {}").format(table.identifier))
    return [int(xmin) for (xmin,) in rows]


def peek(session: Session, table: TableName) -> Row:
    """Like :func:`read`, where the table may be missing; creates nothing."""
    return read(session, table) if exists(session, table) else Row()


def ensure(session: Session, table: TableName) -> None:
    """Create the schema and the table, each only if it is missing.

    Raises:
        ServerRefused: missing privileges, or another kind of table.
    """
    if exists(session, table):
        return
    ensure_schema(session, table.schema)
    statement = sql.SQL("CREATE TABLE {} (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
    create(session, statement.format(table.identifier), table)
    _close_to_requests(session, table)
    exists(session, table)


def _close_to_requests(session: Session, table: TableName) -> None:
    """Revoke what default privileges gave the platform's roles: in public they could write versions."""
    grantees = session.query(
        "SELECT DISTINCT r.rolname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace, pg_catalog.aclexplode(c.relacl) a"
        " JOIN pg_catalog.pg_roles r ON r.oid = a.grantee"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relowner <> a.grantee"
        " AND r.rolname IN ('anon', 'authenticated', 'service_role')",
        (table.schema, table.name),
    )
    for (role,) in grantees:
        revoke = sql.SQL("REVOKE ALL ON {} FROM {}")
        session.query(revoke.format(table.identifier, sql.Identifier(role)))


def ensure_schema(session: Session, schema: str) -> None:
    """Create ``schema`` if it is missing."""
    if not session.query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (schema,)):
        create(session, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)), TableName(schema, ""))


def create(session: Session, statement: sql.Composed, relation: TableName) -> None:
    """Run a CREATE; a concurrent run may create it first.

    Raises:
        ServerRefused: missing privileges.
    """
    try:
        session.query(statement)
    except errors.InsufficientPrivilege as error:
        name = str(relation) if relation.name else f"schema {relation.schema}"
        problem = f"{name} does not exist, and the role may not create it"
        raise missing_privilege(session, relation, problem, error) from None
    except errors.Error as error:
        if error.sqlstate not in _EXISTS_ALREADY:
            raise
        if error.sqlstate == _TYPE_EXISTS and not _is_relation(session, relation):
            raise


def _is_relation(session: Session, table: TableName) -> bool:
    name = table.identifier.as_string(session.pgconn)
    return bool(session.query("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (name,))[0][0])


def require(session: Session, table: TableName, *privileges: str) -> None:
    """Check, before a file runs, that the run can be recorded.

    Raises:
        ServerRefused: the role lacks some of ``privileges`` on ``table``.
    """
    try:
        missing = session.query(
            "SELECT p FROM pg_catalog.unnest(%s::text[]) p"
            " WHERE NOT pg_catalog.has_table_privilege(%s::text, p)",
            (list(privileges), table.identifier.as_string(session.pgconn)),
        )
    except errors.InsufficientPrivilege as error:
        raise missing_privilege(session, table, f"the role may not use {table}", error) from None
    if missing:
        lacking = ", ".join(name for (name,) in missing)
        raise missing_privilege(session, table, f"the role lacks {lacking} on {table}")


def missing_privilege(
    session: Session, table: TableName, problem: str, error: errors.Error | None = None
) -> ServerRefused:
    """The problem, and what the role needs in statements that an administrator can run."""
    user = sql.Identifier(session.pgconn.user.decode()).as_string(session.pgconn)
    schema = sql.Identifier(table.schema).as_string(session.pgconn)
    database = sql.Identifier(session.database).as_string(session.pgconn)
    return ServerRefused(
        problem,
        sql_state=error.sqlstate if error else None,
        detail=error.diag.message_primary if error else None,
        hint=f"as an administrator: GRANT CREATE ON DATABASE {database} TO {user}; or, if schema {schema} "
        f"exists: GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}; and, if its tables exist: "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user};",
    )
