"""A Job's run on its database, as the job specification describes it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.job import JobSpec
from fluxbase_migrations.core.result import Result
from fluxbase_migrations.core.text import decoded
from fluxbase_migrations.runner.commands.ownership import Owner
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track
from fluxbase_migrations.runner.connection import connect, dsn
from fluxbase_migrations.runner.connection.dsn import Dsn
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.execution.engine import Options
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery.case import Policy

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.approval import Terms


def run_job(
    spec: JobSpec, source: MigrationFiles, environment: Mapping[str, str], log: Log, stop: Stop
) -> Result:
    """Bring the track to the target of ``spec``.

    Raises:
        MigrationError: the database is not named in a way that can be used.
    """
    database = dsn.read({name: decoded(value) for name, value in environment.items()})
    limits = spec.statement_timeout or None, spec.ddl_lock_timeout
    settings = database.settings(*limits, connect_patience=spec.connect_patience)

    def open_session() -> Session:
        return connect.connect(database.parameters, settings, database.hidden, stop, log)

    return run_track(_request(spec, database, log), source, open_session, log, stop)


def _request(spec: JobSpec, database: Dsn, log: Log) -> RunRequest:
    policy = Policy(spec.recovery, spec.requested, spec.requested, spec.requested_at, can_be_requested=True)
    built_in = not spec.paths
    foreign = (*map(TableName.parse, spec.foreign_tables), *database.foreign(spec.track))
    table = None if spec.table is None else TableName.parse(spec.table)
    return RunRequest(
        spec.track,
        Options(policy, spec.out_of_order, memory_limit=memory.limit()),
        spec.lock_timeout,
        database.table(spec.track, table, log),
        guard=None if built_in else Guard.of(spec.track, foreign, spec.baseline),
        built_in=built_in,
        exposure=spec.exposure,
        baseline=spec.baseline,
        target=spec.target,
        rollback=spec.rollback,
        force=spec.force,
        owner=Owner(spec.set, spec.take_over_from, spec.take_over),
        command_database=spec.command_database,
        expected_database=spec.expected_database,
        terms=_terms(spec),
    )


def _terms(spec: JobSpec) -> "Terms | None":
    """None: files run without being approved."""
    if not spec.manual:
        return None
    from fluxbase_migrations.runner.commands.approval import Terms

    return Terms(spec.approved, spec.plan_only)
