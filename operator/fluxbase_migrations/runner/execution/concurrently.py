"""What is done around a CONCURRENTLY statement: locks that it must not wait for, and indexes in its way."""

from contextlib import AbstractContextManager

from fluxbase_migrations.core.errors import Unproven
from fluxbase_migrations.runner.connection import lock
from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.recovery import index_cleanup
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.statements import statement_label


def golang_released(context: MigrationSession) -> AbstractContextManager[None]:
    """Release golang-migrate's locks for a while; see :func:`lock.golang_released`."""
    return lock.golang_released(context.session, context.ids, max(context.lock_timeout, 60.0))


def log_without_lock_timeout(context: MigrationSession, prepared: Prepared, index: int) -> None:
    """Log that a lock_timeout of the file's own does not apply to statement ``index``."""
    if index_cleanup.own_lock_timeout(context.session) in (None, "0"):
        return
    context.log.info(
        "the file's lock_timeout does not apply to CONCURRENTLY, which waits for old transactions",
        file=prepared.step.label,
        statement=statement_label(prepared.statements, index),
    )


def drop_blocking_indexes(
    context: MigrationSession, label: str, target: index_cleanup.Target, *, recovering: bool
) -> None:
    """Drop an invalid index that has the name of the index to be created.

    Raises:
        Interrupted: a signal ended the wait for others' transactions.
        Unproven: it stays; IF NOT EXISTS would take it for the index to be built.
    """
    session = context.session
    if not index_cleanup.blocking(session, target, always=recovering):
        return
    with index_cleanup.without_lock_timeout(session), golang_released(context):
        for name in index_cleanup.drop_blocking(session, target, always=recovering):
            context.log.info("dropped an invalid index of the same name", index=name)
    for _, schema, name in index_cleanup.blocking(session, target, always=recovering):
        raise Unproven(
            f"the invalid index {schema}.{name} blocks the new one and could not be dropped",
            file=label,
            hint="drop it by hand, or see what holds a lock on its table",
        )
