"""The entry point of the Job's pod: one run of one track, reported as one JSON document."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fluxbase_migrations.core.errors import InternalError, MigrationError, SourceChanged, with_advice
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.job import JobSpec
from fluxbase_migrations.core.names import ENV_FILE, ENV_JOB, ENV_LOG_FORMAT, Track
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.log import Log, LogFormat

TERMINATION_LOG: Final = "/dev/termination-log"
_NO_FAILURES: Final = (Outcome.SOURCE_EMPTY, Outcome.AWAITING_APPROVAL)
ENV_TERMINATION_LOG: Final = "FLUXBASE_TERMINATION_LOG"


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run what ``FLUXBASE_JOB`` describes; the exit code is 0 if the track is where it should be, else 1."""
    stop = Stop()
    stop.install()  # first: until then Python, as PID 1, ignores SIGTERM
    log = Log(log_format(environment))
    try:
        spec = JobSpec.from_json(environment.get(ENV_JOB, ""))
    except ValueError as error:
        return _finish(_broken(InternalError(f"{ENV_JOB}: {error}")), None, log, environment)
    stop.grace_period = spec.grace_period
    result = run(spec, environment, log, stop)
    if result.error is not None:
        result = replace(result, error=with_advice(result.error, retried=True))
    return _finish(result, spec.track, log, environment)


def log_format(environment: Mapping[str, str]) -> LogFormat:
    """``LOG_FORMAT``, in any case; text where it is absent or unknown."""
    try:
        return LogFormat(environment.get(ENV_LOG_FORMAT, "").lower() or "text")
    except ValueError:
        return LogFormat.TEXT


def run(spec: JobSpec, environment: Mapping[str, str], log: Log, stop: Stop) -> Result:
    """One run; every failure becomes a result."""
    try:
        source = read_source(spec, environment, log)
        if spec.expected_digest is not None and source.digest != spec.expected_digest:
            changed = SourceChanged(
                "the files changed after the operator looked at them; nothing was changed",
                detail=f"expected {spec.expected_digest}, read {source.digest}",
            )
            return Result(
                changed.outcome, latest=source.latest, source_digest=source.digest, error=changed.info
            )
        # psycopg is loaded only now: a run that ends before it needs no database.
        from fluxbase_migrations.runner.commands.job_run import run_job

        return run_job(spec, source, environment, log, stop)
    except MigrationError as error:
        return _broken(error)
    except Exception as error:  # the operator gets a result whatever fails
        return _broken(InternalError.of(error))


def read_source(spec: JobSpec, environment: Mapping[str, str], log: Log) -> MigrationFiles:
    """Read every file before anything else is touched; nothing is read from the volume afterwards.

    Raises:
        InvalidSource: what is there cannot be used.
    """
    if spec.paths:
        from fluxbase_migrations.runner.commands.source import read_directories, scan

        path = spec.paths[0] if len(spec.paths) == 1 else ",".join(spec.paths)
        log.info(f"Running {spec.track} migrations...", path=path)
        if spec.files:
            return scan(files_of(spec.files, environment), spec.unknown_files, log)
        files = read_directories(spec.paths, log, missing_ok=spec.volume)
        return scan(files, spec.unknown_files, log)
    from fluxbase_migrations import system

    log.info(f"Running {spec.track} migrations...")
    return MigrationFiles.scan(system.files())


def files_of(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, bytes]:
    """The files that the kubelet put into the environment; one that is missing changes the digest."""
    texts = ((name, environment.get(f"{ENV_FILE}{number}")) for number, name in enumerate(names))
    return {name: os.fsencode(text) for name, text in texts if text is not None}


def _broken(error: MigrationError) -> Result:
    return Result(error.outcome, error=error.info)


def _finish(result: Result, track: Track | None, log: Log, environment: Mapping[str, str]) -> int:
    """Log the outcome, write the result where the kubelet reads it, and give the exit code."""
    if track is None or result.outcome is Outcome.INTERNAL:
        log.error(f"failed to run migrations: {result.error.message if result.error else 'unknown'}")
    else:
        from fluxbase_migrations.runner.commands.report import report

        report(track, result, log)
    target = environment.get(ENV_TERMINATION_LOG, TERMINATION_LOG)
    try:
        Path(target).write_text(result.to_json(), encoding="utf-8")
    except OSError as error:
        log.warn("the result cannot be written", path=target, error=error.strerror or "unknown")
    # An empty volume is the first step of the documented installation, and a plan is no failure: the pod
    # must not show an error.
    return 0 if result.outcome.succeeded or result.outcome in _NO_FAILURES else 1


if __name__ == "__main__":
    sys.exit(main())
