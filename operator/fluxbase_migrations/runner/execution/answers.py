"""What the server's answers say about a transaction that a file's statements run in."""

from collections.abc import Sequence

from psycopg import errors

from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply


def transaction_id(replies: Sequence[Reply]) -> str:
    """The transaction's id, from what the server answered to its opening."""
    row = replies[1].row or ()
    return (row[-1] or b"").decode()


def misread(context: MigrationSession, prepared: Prepared, message: Sequence[QueryPart]) -> str | None:
    """How the server would read the strings that follow, if that is not how the file was split."""
    last = next((part for part in reversed(message) if part.origin is not None), None)
    following = last.first + last.results if last else len(prepared.statements)
    if following >= len(prepared.statements):
        return None
    if context.session.standard_conforming_strings == prepared.statements.conforming_at(following):
        return None
    return f"after statement {following} standard_conforming_strings has another value"


def rolled_back(context: MigrationSession, xid: str) -> bool:
    """Whether the server says that a transaction was rolled back; False where it does not say."""
    try:
        return context.session.transaction_status(xid) == "aborted"
    except errors.Error:
        return False
