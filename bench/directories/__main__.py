"""Measure ``up`` on directories: ``python3 -m bench.directories [CHECKOUT …]``.

Each directory below a checkout that has enough files like ``1_name.up.sql`` is measured. Nothing is fetched:
name checkouts of applications that use golang-migrate with PostgreSQL. Generated ones are measured, too.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.directories.compare import compare
from bench.directories.generated import SIZES, generated
from bench.directories.report import Report
from dev.postgres_server import start_server

RESULTS = Path(__file__).parents[1] / "results"
NAME_PARTS = 3
"""The last parts of a path that name a directory in the report."""


def directories_in(checkout: Path, least: int) -> Iterator[tuple[str, Path]]:
    """Name and path of each directory that has at least so many up files."""
    for directory in sorted({path.parent for path in checkout.resolve().rglob("*.up.sql")}):
        if sum(1 for _ in directory.glob("*.up.sql")) >= least:
            yield "/".join(directory.parts[-NAME_PARTS:]), directory


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/directories.*``; 1: an outcome differs, or we alone fail."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.directories", description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument(
        "--least", type=int, default=30, help="files that a directory must have (default: 30)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each directory (default: 5)")
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), help="files of the generated directories"
    )
    parser.add_argument("--postgres", type=int, default=15, metavar="VERSION", help="default: 15")
    parser.add_argument("--replot", action="store_true", help="only write table and plot again")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    options = parser.parse_args(arguments)
    if options.replot:
        Report.read(options.results / "directories.json").write(options.results)
        return 0
    machine = _machine(options.postgres)
    results = []
    with tempfile.TemporaryDirectory() as scratch, start_server(options.postgres, fsync=True) as server:
        directories = [
            named for checkout in options.checkouts for named in directories_in(checkout, options.least)
        ]
        for size in map(int, filter(None, options.sizes.split(","))):
            directory = generated(Path(scratch), size)
            directories.append((directory.name, directory))
        for name, directory in directories:
            results.append(compare(server, name, directory, options.rounds))
            print(f"{name}: {results[-1].ratio} {results[-1].outcome}", flush=True)
    report = Report(machine, results)
    report.write(options.results)
    print(f"\n{report.markdown()}")
    return int(any(result.outcome.startswith(("differs", "fluxbase-migrate")) for result in results))


def _machine(version: int) -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {version} on the same"
        f" machine with fsync on; the load average was {os.getloadavg()[0]:.1f} when it began."
    )


if __name__ == "__main__":
    sys.exit(main())
