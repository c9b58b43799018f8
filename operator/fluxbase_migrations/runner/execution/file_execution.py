"""One file, in whichever way it can be run; PostgreSQL has the last word on that."""

from collections.abc import Callable

from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.execution.atomic import NeedsGroups, run_atomic
from fluxbase_migrations.runner.execution.groups import GroupRun
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession


def run_file(
    context: MigrationSession,
    attempt: Attempt,
    *,
    durable: bool,
    done: int = 0,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Run a file, or what is left of it after ``done`` statements; ``meanwhile`` as in :func:`run_atomic`.

    Raises:
        MigrationError: it failed; what the database is left with is in its ``effect``.
        ConnectionLost: what took effect is to be read from the ledger.
    """
    prepared = attempt.prepared
    # A statement that may have taken effect in part keeps its mark in the ledger, which an atomic file lacks.
    if prepared.atomic and not done and attempt.doubt is None:
        try:
            return run_atomic(context, attempt, durable=durable, meanwhile=meanwhile)
        except NeedsGroups as needs:
            (prepared.cuts if needs.sqlstate == "55P04" else prepared.alone).add(needs.index)
            prepared.regroup()
            attempt.marker = None  # it was rolled back
            context.log.info(
                "file cannot run in one transaction, running it in groups",
                file=prepared.step.label,
                statement=failures.statement_label(prepared.statements, needs.index),
                sqlstate=needs.sqlstate,
            )
    GroupRun(context, attempt, done).run()
    return None
