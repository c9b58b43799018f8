"""The programs that are measured, and their command lines."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.runner.workloads import Workload
from dev.peers import GolangMigrate, Ours

Contender = Callable[[str, Workload], list[str]]
"""From a connection string and a workload to a command line."""


def ours(dsn: str, workload: Workload) -> list[str]:
    """With every rule on: locks, resets, version row and history for each file."""
    return Ours(dsn, workload.directory).argv("up")


def golang_pgx5(dsn: str, workload: Workload) -> list[str]:
    return GolangMigrate(dsn, workload.directory, driver="pgx5").argv("up")


def golang_postgres(dsn: str, workload: Workload) -> list[str]:
    return GolangMigrate(dsn, workload.directory, driver="postgres").argv("up")


def psql(dsn: str, workload: Workload) -> list[str]:
    """No versions, no locks, one transaction for everything: what the server itself needs."""
    program = shutil.which("psql")
    if program is None:
        raise RuntimeError("psql is not installed: apt-get install postgresql-client")
    return [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d", dsn, "-f", str(_concatenated(workload))]


def _concatenated(workload: Workload) -> Path:
    """The workload as one script, written at the first call."""
    script = workload.directory.with_suffix(".sql")
    if not script.exists():
        with script.open("wb") as out:
            for path in workload.files:
                out.write(path.read_bytes())
    return script


OURS = "fluxbase-migrate"
PGX5 = "golang-migrate (pgx5)"
POSTGRES = "golang-migrate (postgres)"
PSQL = "psql, one transaction"

CONTENDERS: Mapping[str, Contender] = {OURS: ours, PGX5: golang_pgx5, POSTGRES: golang_postgres, PSQL: psql}
