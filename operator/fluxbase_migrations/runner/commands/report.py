"""The last log line of a track's run, as Fluxbase prints it; it needs no database driver."""

from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.runner.log import Log


def report(track: Track, result: Result, log: Log) -> None:
    """The run's last log line, as Fluxbase prints it."""
    version = NIL if result.version is None else result.version
    match result.outcome:
        case Outcome.APPLIED:
            log.info("Migrations applied successfully", source=track.value, version=version)
        case Outcome.ROLLED_BACK:
            log.info("Migrations rolled back successfully", source=track.value, version=version)
        case Outcome.NO_CHANGE:
            log.info("No new migrations to apply", source=track.value)
        case Outcome.AWAITING_APPROVAL:
            files = result.plan.count if result.plan else 0
            log.info("Nothing was changed: the plan waits for approval", source=track.value, files=files)
        case Outcome.SOURCE_EMPTY:
            log.info("No migration files", source=track.value)
        case _:
            log.error(
                f"failed to run {track.value} migrations: {describe(result.error or ErrorInfo('unknown'))}"
            )
