"""One file: in one transaction, or in groups where PostgreSQL refuses that."""

from collections.abc import Callable

from fluxbase_migrations.runner.execution.atomic import NeedsGroups, run_atomic
from fluxbase_migrations.runner.execution.groups import GroupRun
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession
from fluxbase_migrations.runner.sql.statements import statement_label


def run_file(
    context: MigrationSession,
    attempt: Attempt,
    *,
    durable: bool,
    done: int = 0,
    on_sent: Callable[[], object] | None = None,
) -> None:
    """Run a file, or what is left of it after ``done`` statements; ``on_sent`` as in :func:`run_atomic`.

    Raises:
        MigrationError: it failed; what the database is left with is in its ``effect``.
        ConnectionLost: what took effect is to be read from the history.
    """
    prepared = attempt.prepared
    # A statement in doubt keeps its mark in the history, which an atomic file lacks.
    if prepared.atomic and not done and attempt.in_doubt_checksum is None:
        try:
            return run_atomic(context, attempt, durable=durable, on_sent=on_sent)
        except NeedsGroups as error:
            (prepared.cuts if error.sqlstate == "55P04" else prepared.alone).add(error.index)
            prepared.regroup()
            attempt.marker = None  # it was rolled back
            context.log.info(
                "file cannot run in one transaction, running it in groups",
                file=prepared.step.label,
                statement=statement_label(prepared.statements, error.index),
                sqlstate=error.sqlstate,
            )
    GroupRun(context, attempt, done).run()
    return None
