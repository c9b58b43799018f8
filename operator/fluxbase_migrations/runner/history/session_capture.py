"""What a file has made of its session: recorded with each position, and restored before a resume.

The state is read from the server; from the text of the file, and of the functions that it may call, come only
the names of custom settings, which PostgreSQL lists nowhere. Session-level advisory locks are no part of
it: the lock is taken again after every group, which releases all others.
"""

import json
from collections.abc import Sequence
from typing import Final

from psycopg.pq import abc

from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.sql.simple_query import SqlFailure

KEPT: Final = b"pg_catalog.current_setting('fluxbase.session')::pg_catalog.jsonb"
"""What :func:`keep` has kept, for the rest of the transaction."""

_SETTINGS: Final = b"""\
COALESCE((SELECT pg_catalog.jsonb_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings s
 WHERE (s.source OPERATOR(pg_catalog.=) 'session' OR s.name OPERATOR(pg_catalog.=) 'search_path')
 AND s.name OPERATOR(pg_catalog.<>) ALL (ARRAY['transaction_isolation', 'transaction_read_only',
 'transaction_deferrable'])), '{}'::pg_catalog.jsonb)"""
"""``search_path`` always: ALTER DATABASE and ALTER ROLE change what a new session begins with."""
_TEMPORARY: Final = b"""\
EXISTS (SELECT FROM pg_catalog.pg_depend d
 WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
 AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())"""
_CUSTOM: Final = b"""\
COALESCE((SELECT pg_catalog.jsonb_object_agg(c.name, pg_catalog.current_setting(c.name, true))
 FROM pg_catalog.unnest(ARRAY[%b]::pg_catalog.text[]) c (name)), '{}'::pg_catalog.jsonb)"""
_NAMES_IN_FUNCTIONS: Final = b"""
SELECT DISTINCT f.matched[1] FROM pg_catalog.pg_proc p
 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 CROSS JOIN LATERAL pg_catalog.regexp_matches(COALESCE(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc),
 '(?:set_config[[:space:]]*[(][[:space:]]*''|set[[:space:]]+(?:session[[:space:]]+)?)'
 '([a-z_][[:alnum:]_$]*(?:[.][a-z_][[:alnum:]_$]*)+)', 'gi') f (matched)
 WHERE n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema']::pg_catalog.name[])"""


def names_in_functions(session: Session) -> set[str]:
    """Custom settings that the database's functions set: a file may call them.

    Raises:
        SqlFailure: the server does not say.
    """
    rows = session.run_own(_NAMES_IN_FUNCTIONS)[-1]
    return {(rows.get_value(row, 0) or b"").decode("utf-8", "replace") for row in range(rows.ntuples)}


def expression(session: Session, names: Sequence[str]) -> bytes:
    """SQL that gives the session's present state, as jsonb."""
    listed_names = b", ".join(session.literal(name) for name in names)
    parts = {
        b"role": b"pg_catalog.current_setting('role')",
        b"session_user": b"session_user",
        b"current_user": b"current_user",
        b"settings": _SETTINGS,
        b"custom": _CUSTOM % listed_names,
        b"temporary": _TEMPORARY,
        b"prepared": b"EXISTS (SELECT FROM pg_catalog.pg_prepared_statements)",
        # The unnamed portal is the one that runs this.
        b"cursors": b"EXISTS (SELECT FROM pg_catalog.pg_cursors c WHERE c.name OPERATOR(pg_catalog.<>) '')",
        b"listening": b"EXISTS (SELECT FROM pg_catalog.pg_listening_channels())",
    }
    listed = b", ".join(b"'%b', %b" % pair for pair in parts.items())
    return b"pg_catalog.jsonb_build_object(" + listed + b")"


def keep(session: Session, names: Sequence[str]) -> bytes:
    """SQL that keeps the present state for the rest of the transaction, before our own role is set."""
    state = expression(session, names)
    return b"SELECT pg_catalog.set_config('fluxbase.session', (%b)::pg_catalog.text, true);" % state


def take(session: Session, names: Sequence[str]) -> SessionState:
    """Read the session's present state.

    Raises:
        SqlFailure: the server does not say.
    """
    result = session.run_own(b"SELECT " + expression(session, names))[-1]
    return _parsed(result)


def _parsed(result: abc.PGresult) -> SessionState:
    state = SessionState.from_json(json.loads(result.get_value(0, 0) or b"null"))
    if state is None:
        raise AssertionError("the server answers with the keys that it was asked for")
    return state


def restore(session: Session, recorded: SessionState) -> str | None:
    """Make the session what it was; returns what could not be restored, None if everything was."""
    try:
        return _restore(session, recorded, tuple(recorded.custom))
    except SqlFailure as failure:
        return f"what it is now cannot be seen: {session.scrub(failure.message)}"


def _restore(session: Session, recorded: SessionState, names: Sequence[str]) -> str | None:
    current = take(session, names)
    differing = [
        (name, value) for name, value in recorded.settings.items() if current.settings.get(name) != value
    ]
    differing += [
        (name, value)
        for name, value in recorded.custom.items()
        if value is not None and current.custom.get(name) != value
    ]
    for name, value in differing:
        # PostgreSQL checks what a name means (a schema, a text search configuration) where it can.
        text = b"SELECT pg_catalog.set_config(%b, %b, false)" % (
            session.literal(name),
            session.literal(value),
        )
        if (why := _refused(session, text)) is not None:
            return f"setting {name} ({why})"
    if current.session_user != recorded.session_user:
        text = b"SET SESSION AUTHORIZATION " + session.identifier(recorded.session_user)
        if (why := _refused(session, text)) is not None:
            return f"session authorization {recorded.session_user} ({why})"
    if current.role != recorded.role:
        role = b"NONE" if recorded.role == "none" else session.identifier(recorded.role)
        if (why := _refused(session, b"SET ROLE " + role)) is not None:
            return f"role {recorded.role} ({why})"
    return _difference(take(session, names), recorded)


def _refused(session: Session, text: bytes) -> str | None:
    try:
        session.run_own(text)
    except SqlFailure as failure:
        return session.scrub(failure.message)
    return None


def _difference(current: SessionState, recorded: SessionState) -> str | None:
    if (current.role, current.session_user, current.current_user) != (
        recorded.role,
        recorded.session_user,
        recorded.current_user,
    ):
        return f"role {recorded.current_user}"
    for name, value in recorded.settings.items():
        if current.settings.get(name) != value:
            return f"setting {name}"
    for name, custom in recorded.custom.items():
        if custom is not None and current.custom.get(name) != custom:
            return f"setting {name}"
    return None
