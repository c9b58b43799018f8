"""Measure many sets: ``python3 -m bench.scale [--only once] [--sizes 1000,5000]``."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.scale import full_server, long_statement, namespaces, once, rest
from bench.scale.control_plane import control_plane
from bench.scale.report import PARTS, Report
from bench.scale.stage import stage

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"


async def measure_rest(scratch: Path, options: argparse.Namespace) -> list[rest.AtRest]:
    """Measure sets at rest, for each of the requested numbers."""
    results = []
    machine = _machine()
    directory = scratch / "rest"
    directory.mkdir()
    async with stage(directory, options.code) as measured_stage:
        for size in _numbers(options.sizes):
            result = await rest.measure(measured_stage, size, options.rest, options.changes)
            results.append(replace(result, machine=machine))
            print(f"{size} sets: looked at after {result.restart_seconds:.1f} s", flush=True)
    return results


async def measure_others(scratch: Path, options: argparse.Namespace, report: Report) -> Report:
    """Measure the parts that run Jobs. Each is written when it is measured: a later one may fail."""
    directory = scratch / "others"
    directory.mkdir()
    async with control_plane(directory) as plane:
        if "once" in options.only:
            machine = _machine()
            batch = await once.measure(plane, options.once)
            report = replace(report, once=replace(batch, machine=machine))
            report.write(options.results)
        if "full" in options.only:
            machine = _machine()
            full = await full_server.measure(plane, options.full_sets, options.connections, options.hold)
            report = replace(report, full=replace(full, machine=machine))
            report.write(options.results)
        if "long" in options.only:
            machine = _machine()
            long = await long_statement.measure(plane, options.long, kill=options.signal == "KILL")
            report = replace(report, long=replace(long, machine=machine))
            report.write(options.results)
        if "namespaces" in options.only:
            machine = _machine()
            sizes = _numbers(options.namespaces)
            results = await namespaces.measure(plane, sizes, options.rest)
            report = replace(report, namespaces=[replace(result, machine=machine) for result in results])
            report.write(options.results)
    return report


async def measure(options: argparse.Namespace, report: Report) -> Report:
    """Measure the requested parts again; the others stay as they are in ``report``."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        scratch = Path(name)
        if "rest" in options.only:
            report = replace(report, rest=await measure_rest(scratch, options))
            report.write(options.results)
        if set(options.only) - {"rest"}:
            report = await measure_others(scratch, options, report)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/scale.*``."""
    options = _parser().parse_args(arguments)
    raw = options.results / "scale.json"
    report = Report.read(raw) if raw.exists() else Report()
    if not options.replot:
        report = asyncio.run(measure(options, report))
    else:
        report.write(options.results)
    print(f"\n{report.markdown()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m bench.scale", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=PARTS, choices=PARTS, help="the others keep their last results"
    )
    parser.add_argument("--sizes", default="1000,2000,5000,10000", help="rest: numbers of sets, rising")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds for which they are left alone")
    parser.add_argument("--changes", type=int, default=100, help="rest: ConfigMaps that are changed")
    parser.add_argument("--code", type=Path, default=ROOT, help="rest: checkout whose operator is measured")
    parser.add_argument("--once", type=int, default=100, help="once: sets that are made at once")
    parser.add_argument("--namespaces", default="1,50,200", help="namespaces: how many, rising")
    parser.add_argument("--full-sets", type=int, default=40, help="full: sets on one server")
    parser.add_argument("--connections", type=int, default=6, help="full: that the server has for them")
    parser.add_argument("--hold", type=float, default=3.0, help="full: seconds for which each keeps one")
    parser.add_argument("--long", type=float, default=120.0, help="long: seconds that the statement takes")
    parser.add_argument(
        "--signal", choices=["KILL", "TERM"], default="KILL", help="long: how the leader is ended"
    )
    parser.add_argument("--replot", action="store_true", help="only write table and plot of scale.json again")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _machine() -> str:
    """What the figures depend on, in a sentence."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}; the load average was"
        f" {os.getloadavg()[0]:.1f} when it began"
    )


if __name__ == "__main__":
    sys.exit(main())
