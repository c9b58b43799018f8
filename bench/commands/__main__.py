"""Measure commands that run no file: ``python3 -m bench.commands [--rounds N] [--files N]``."""

import argparse
import os
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.commands.report import Measured, Report
from bench.runner import workloads
from bench.runner.measure import Cost, cost
from bench.runner.workloads import Workload
from dev.peers import GolangMigrate, Ours
from dev.postgres_server import Server, start_server
from tests.support.databases import Database, fresh_database

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Pair:
    """A command of ours and golang-migrate's nearest, as they are shown and as they are called."""

    ours: str
    golang: str
    our_argv: Sequence[str]
    golang_argv: Sequence[str]


def pairs(applied: Database, pending: Database, workload: Workload) -> list[Pair]:
    """``applied`` has every file of the workload, ``pending`` none."""
    ours, golang = Ours(applied.dsn, workload.directory), GolangMigrate(applied.dsn, workload.directory)
    plan = Ours(pending.dsn, workload.directory).argv("plan", "--track", "user")
    program, other = ours.argv()[0], golang.argv()[0]
    count = f"{len(workload.files):,} files"
    return [
        Pair("--help", "-help", [program, "--help"], [other, "-help"]),
        Pair("--version", "-version", [program, "--version"], [other, "-version"]),
        Pair("version", "version", ours.argv("version"), golang.argv("version")),
        Pair(f"up, {count}, no change", f"up, {count}, no change", ours.argv("up"), golang.argv("up")),
        Pair(f"plan, {count} pending", f"up, {count}, no change", plan, golang.argv("up")),
    ]


def measure(server: Server, workload: Workload, rounds: int) -> list[Measured]:
    """All pairs in turn; a round before them, in which files get into memory, does not count."""
    with fresh_database(server.endpoint) as applied, fresh_database(server.endpoint) as pending:
        for database in (applied, pending):
            with psycopg.connect(database.dsn, autocommit=True) as connection:
                connection.execute("CREATE SCHEMA migrations")  # golang-migrate does not make it
                connection.execute(workload.prepare)
        cost(Ours(applied.dsn, workload.directory).argv("up"))
        found = [(pair, [], []) for pair in pairs(applied, pending, workload)]  # type: ignore[var-annotated]
        for number in range(rounds + 1):
            for pair, ours, golang in random.sample(found, len(found)):
                sides = [(pair.our_argv, ours), (pair.golang_argv, golang)]
                for argv, costs in random.sample(sides, len(sides)):
                    spent: Cost = cost(argv)
                    if number:
                        costs.append(spent)
                    print(f"{pair.ours}: {Path(argv[0]).name} {spent.seconds * 1000:.0f} ms", flush=True)
    return [Measured(pair.ours, pair.golang, ours, golang) for pair, ours, golang in found]


def machine(server: Server) -> str:
    """What the figures depend on, in a sentence."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()},"
        f" PostgreSQL {server.version} on the same machine."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/commands.*``."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=int, default=workloads.COUNT, help="default: 1000")
    parser.add_argument("--postgres", type=int, default=15, metavar="VERSION", help="default: 15")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, start_server(wanted.postgres, fsync=True) as server:
        measured = measure(server, workloads.inserts(Path(name), wanted.files), wanted.rounds)
        report = Report(machine(server), measured)
    report.write(wanted.results)
    print(f"\n{report.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
