"""Measure the runner: ``python3 -m bench.runner [--rounds N] [--postgres VERSION] [--only WORKLOAD …]``."""

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from bench import process
from bench.runner import workloads
from bench.runner.contenders import CONTENDERS, OURS, PGX5, PSQL
from bench.runner.measure import Cost, cost
from bench.runner.report import Measured, Report
from bench.runner.workloads import Workload
from dev.postgres_server import Server, start_server
from tests.support.databases import Database, fresh_database

RESULTS = Path(__file__).parents[1] / "results"


class Bench:
    """One server and the costs measured on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.costs: dict[tuple[str, str, str], list[Cost]] = {}

    def race(self, workload: Workload, contenders: Iterable[str], *, again: bool = False) -> None:
        """One round: each contender on a fresh database; ``again``: and once more, with nothing to do."""
        order = list(contenders)
        random.shuffle(order)  # so that no contender always follows the same other
        for name in order:
            with fresh_database(self.server.endpoint) as database:
                self._prepare(database, workload)
                self._measure(workload.name, workload.title, name, database, workload)
                if again and name != PSQL:
                    title = f"{workload.title}: once more, no change"
                    self._measure(f"{workload.name} again", title, name, database, workload)

    def report(self) -> Report:
        """All that was measured, contenders in their usual order."""
        order = list(CONTENDERS)
        keys = sorted(self.costs, key=lambda key: order.index(key[2]))
        names = list(dict.fromkeys(name for name, _, _ in self.costs))
        measured = [Measured(*key, self.costs[key]) for name in names for key in keys if key[0] == name]
        return Report(self.machine(), measured)

    def machine(self) -> str:
        """What the figures depend on, in a sentence."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return (
            f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()},"
            f" PostgreSQL {self.server.version} on the same machine with fsync on."
        )

    def _prepare(self, database: Database, workload: Workload) -> None:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA migrations")  # golang-migrate does not make it
            connection.execute(workload.prepare)
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute("CHECKPOINT")  # so that the run before has no effect on this one

    def _wait_for_backends(self, database: Database) -> None:
        """The kernel counts what a process has used when it has ended."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            there = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            while admin.execute(there, [database.name]).fetchone() != (0,):
                time.sleep(0.01)

    def _measure(self, name: str, title: str, contender: str, database: Database, workload: Workload) -> None:
        before = process.cpu_with_children(self.server.pid)
        spent = cost(CONTENDERS[contender](database.dsn, workload))
        self._wait_for_backends(database)
        spent = replace(spent, server_cpu=process.cpu_with_children(self.server.pid) - before)
        self.costs.setdefault((name, title, contender), []).append(spent)
        print(f"{title}: {contender} {spent.seconds:.2f} s, {spent.megabytes:.0f} MB", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/runner.*``."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.runner", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="of the workloads of one INSERT or CREATE TABLE a file"
    )
    parser.add_argument("--files", type=int, default=workloads.COUNT, help="of these (default: 1000)")
    parser.add_argument("--postgres", type=int, default=15, metavar="VERSION", help="default: 15")
    parser.add_argument("--only", nargs="*", default=[], choices=["inserts", "tables", "large", "many"])
    parser.add_argument(
        "--replot", action="store_true", help="only write table and plot from runner.json again"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    options = parser.parse_args(arguments)
    if options.replot:
        Report.read(options.results / "runner.json").write(options.results)
        return 0
    chosen = set(options.only or ["inserts", "tables", "large", "many"])
    with tempfile.TemporaryDirectory() as name, start_server(options.postgres, fsync=True) as server:
        parent = Path(name)
        bench = Bench(server)
        repeated = [
            make(parent, options.files)
            for key, make in (("inserts", workloads.inserts), ("tables", workloads.tables))
            if key in chosen
        ]
        for _ in range(options.rounds):
            for workload in repeated:
                bench.race(workload, CONTENDERS, again=workload.name.startswith("inserts"))
        if "many" in chosen:
            bench.race(workloads.inserts(parent, workloads.MANY), [OURS, PGX5], again=True)
        if "large" in chosen:
            bench.race(workloads.large(parent), [OURS, PGX5, PSQL])
        report = bench.report()
    report.write(options.results)
    print(f"\n{report.markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
