"""Measure how long a user waits: ``python3 -m bench.latency [--rounds N]``."""

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.latency import many
from bench.latency.many import Many
from bench.latency.observe import Runtime, Watches, connected
from bench.latency.report import Report
from bench.latency.trials import Stage, Trial
from dev.localcluster.cluster import Cluster, external
from dev.localcluster.demo import install_chart
from dev.localcluster.layout import REPOSITORY
from dev.localcluster.lifecycle import up
from tests.e2e.conftest import kube_for

RESULTS = Path(__file__).parents[1] / "results"
NAMESPACE = "bench-latency"


async def measure(
    cluster: Cluster, rounds: int, warm_up: int = 1, at_once: int = 0
) -> tuple[list[Trial], Many | None]:
    """Run ``warm_up`` rounds that do not count, ``rounds`` that do, and then ``at_once`` sets at once."""
    kube = kube_for(cluster, NAMESPACE)
    runtime = Runtime()
    with tempfile.TemporaryDirectory() as scratch:
        async with connected(cluster.kubeconfig) as api, runtime.followed(cluster.ctr()):
            watches = Watches(api, NAMESPACE)
            async with watches.running():
                stage = Stage(cluster, kube, watches, runtime, Path(scratch))
                await stage.set()  # the Jobs that do nothing are modelled on its
                trials: list[Trial] = []
                for number in range(warm_up + rounds):
                    round_trials = await _round(stage)
                    trials += round_trials if number >= warm_up else []
                return trials, await many.measure(stage, at_once) if at_once else None


async def _round(stage: Stage) -> list[Trial]:
    trials: list[Trial] = []
    kinds = ["one", "two", "set"]
    random.shuffle(kinds)
    for kind in kinds:
        await stage.settle()
        match kind:
            case "one":
                trials.append(await stage.nothing(1))
            case "two":
                trials.append(await stage.nothing(2))
            case "set":
                trials += await stage.set()
        stage.watches.forget()
    for trial in trials:
        print(f"{trial.what}: {trial.seconds:.2f} s", flush=True)
    return trials


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``bench/results/latency.*``."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="that count (default: 10)")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before them (default: 1)")
    parser.add_argument("--many", type=int, default=100, help="sets at once (default: 100; 0: none)")
    parser.add_argument(
        "--replot", action="store_true", help="only write tables and plot from latency.json again"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    options = parser.parse_args(arguments)
    if options.replot:
        Report.read(options.results / "latency.json").write(options.results)
        return 0
    if external() is not None:
        parser.error("it needs the local cluster, whose containerd it asks; unset KUBECONFIG and IMAGE")
    cluster = up()
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", timeout=240)
    # Helm never upgrades a CRD, and the cluster may be older than this tree.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    install_chart(cluster, cluster.chart_images(), namespace=NAMESPACE)
    try:
        machine = _machine()
        report = Report(
            machine, *asyncio.run(measure(cluster, options.rounds, options.warm_up, options.many))
        )
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    report.write(options.results)
    print(f"\n{report.markdown()}")
    return 0


def _machine() -> str:
    """What the figures depend on, in a sentence."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, one node."
        f"\nThe load average was {load:.1f} when it began; a busy machine gives ratios that mean little."
    )


if __name__ == "__main__":
    sys.exit(main())
