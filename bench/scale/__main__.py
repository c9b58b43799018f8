"""Measure many sets: ``python3 -m bench.scale [--sizes 1000,5000]``."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.scale import once, rest
from bench.scale.report import Report
from bench.scale.stage import stage

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"


async def measure(
    sizes: Sequence[int], seconds: float, changes: int, code: Path, at_once: int
) -> tuple[list[rest.AtRest], once.AtOnce | None]:
    """Sets at rest in each of these numbers, and so many at once."""
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as scratch:
        if sizes:
            async with stage(Path(scratch), code) as here:
                for size in sizes:
                    found.append(await rest.measure(here, size, seconds, changes))
                    print(f"{size} sets: looked at after {found[-1].restart_seconds:.1f} s", flush=True)
        batch = None
        if at_once:
            chaos = Path(scratch) / "at-once"
            chaos.mkdir()
            batch = await once.measure(chaos, at_once)
            print(batch, flush=True)
    return found, batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/scale.*``."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.scale", description=__doc__)
    parser.add_argument("--sizes", default="1000,2000,5000,10000", help="numbers of sets at rest, rising")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds for which they are left alone")
    parser.add_argument("--changes", type=int, default=100, help="ConfigMaps that are changed")
    parser.add_argument("--once", type=int, default=100, help="sets that are made at once; 0: none")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout whose operator is measured at rest")
    parser.add_argument(
        "--replot", action="store_true", help="only write table and plot from scale.json again"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    wanted = parser.parse_args(arguments)
    if wanted.replot:
        Report.read(wanted.results / "scale.json").write(wanted.results)
        return 0
    sizes = [int(size) for size in wanted.sizes.split(",") if size]
    machine = _machine()
    found, batch = asyncio.run(measure(sizes, wanted.rest, wanted.changes, wanted.code, wanted.once))
    report = Report(machine, found, batch)
    report.write(wanted.results)
    print(f"\n{report.markdown()}")
    return 0


def _machine() -> str:
    """What the figures depend on, in a sentence."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}. The load average was"
        f" {os.getloadavg()[0]:.1f} when it began.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
