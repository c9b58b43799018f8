"""The platform's own migrations: the system track, as plain .sql beside this file.

They are data, run by the same runner as the application's files and readable by golang-migrate's CLI. What
they need of the login and what they leave behind is in docs/system-migrations.md.
"""

from importlib.resources import files as _resources
from typing import Final

_LOGIN_SQL: Final = """
-- The application's login: it takes on one of the roles for each request (SET LOCAL ROLE), and has none
-- of their rights before.
DO $$
DECLARE
    login CONSTANT text := {login};
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE format('GRANT anon, authenticated, service_role TO %I WITH INHERIT FALSE, SET TRUE', login);
    ELSE
        EXECUTE format('ALTER ROLE %I NOINHERIT', login);
        EXECUTE format('GRANT anon, authenticated, service_role TO %I', login);
    END IF;
END
$$;
"""


def files() -> dict[str, bytes]:
    """The content of each built-in migration file by its name, in the order of the names."""
    # A file whose name does not begin with a version is no migration.
    entries = (entry for entry in _resources(__name__).iterdir() if entry.name[:1].isdigit())
    return {entry.name: entry.read_bytes() for entry in sorted(entries, key=lambda entry: entry.name)}


def contents() -> list[tuple[int, str]]:
    """What each version makes, a line each: tables, functions, policies, privileges and so on."""
    lines = _resources(__name__).joinpath("contents.txt").read_text("utf-8").splitlines()
    return [(int(version), fact) for version, _, fact in (line.partition(" ") for line in lines)]


def roles_sql(login: str | None = None) -> str:
    """What an administrator runs once on a server so that migrating needs no CREATEROLE.

    Args:
        login: the application's login, which exists already, to be made a member of the roles.
    """
    sql = _resources(__name__).joinpath("roles.sql").read_text("utf-8")
    if login is None:
        return sql
    return sql + _LOGIN_SQL.format(login=_literal(login))


def _literal(text: str) -> str:
    """An SQL string that no content ends early, neither the string nor the dollar quotes around it."""
    inner = text.replace("'", "''").replace("\\", "\\\\").replace("$", r"\044")
    return f"E'{inner}'"
