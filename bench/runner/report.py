"""The results as a table and as a plot."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.runner.contenders import OURS, PGX5, POSTGRES, PSQL
from bench.runner.measure import Cost

GOALS: Mapping[str, float] = {"inserts-1000": 0.10, "tables-1000": 0.45}
"""Of golang-migrate's wall time, pgx5 or postgres, whichever is quicker."""


@dataclass(frozen=True)
class Measured:
    """One contender's costs of one workload, a round each."""

    workload: str
    title: str
    contender: str
    costs: Sequence[Cost]

    @property
    def seconds(self) -> float:
        return statistics.median(cost.seconds for cost in self.costs)

    @property
    def megabytes(self) -> float:
        return statistics.median(cost.megabytes for cost in self.costs)

    @property
    def cpu(self) -> float:
        return statistics.median(cost.cpu for cost in self.costs)

    @property
    def server_cpu(self) -> float:
        return statistics.median(cost.server_cpu for cost in self.costs)

    @property
    def spread(self) -> str:
        return (
            f"{min(cost.seconds for cost in self.costs):.2f}-{max(cost.seconds for cost in self.costs):.2f}"
        )


@dataclass(frozen=True)
class Report:
    """Everything measured in one run."""

    machine: str
    measured: Sequence[Measured]

    def workloads(self) -> dict[str, list[Measured]]:
        """By workload, in the order measured."""
        by_workload: dict[str, list[Measured]] = {}
        for measured in self.measured:
            by_workload.setdefault(measured.workload, []).append(measured)
        return by_workload

    def ratios(self) -> dict[str, float]:
        """Our wall time by that of the quicker golang-migrate, where both were measured."""
        ratios = {}
        for workload, group in self.workloads().items():
            seconds = {measured.contender: measured.seconds for measured in group}
            golang = [seconds[name] for name in (PGX5, POSTGRES) if name in seconds]
            if golang and OURS in seconds:
                ratios[workload] = seconds[OURS] / min(golang)
        return ratios

    def markdown(self) -> str:
        """The table, a section for each workload."""
        lines = [
            "# The runner beside golang-migrate and psql",
            "",
            f"Written by `make bench-runner`: {self.machine}",
            "All in one run, in turn, each from a fresh database; medians of the rounds. Ratios are to",
            "`fluxbase-migrate` in the same run; seconds of different runs or machines do not compare.",
            "",
            "![Wall time by workload](runner.svg)",
        ]
        ratios = self.ratios()
        for workload, group in self.workloads().items():
            base = next(measured for measured in group if measured.contender == OURS)
            lines += ["", f"## {group[0].title}", ""]
            if workload in ratios:
                goal = f" (goal: {GOALS[workload]:g})" if workload in GOALS else ""
                words = f"{ratios[workload]:.2f} of the quicker golang-migrate's wall time{goal}."
                lines += [f"`fluxbase-migrate` takes {words}", ""]
            lines += [
                "| | wall time, s | min-max | ratio | its CPU, s | the server's CPU, s | peak memory, MB |",
                "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            ]
            lines += [
                f"| {measured.contender} | {measured.seconds:.2f} | {measured.spread} |"
                f" {measured.seconds / base.seconds:.2f} |"
                f" {_known(measured.cpu)} | {_known(measured.server_cpu)} | {measured.megabytes:.0f} |"
                for measured in group
            ]
        return "\n".join([*lines, ""])

    def write(self, directory: Path) -> None:
        """Raw figures, table and plot."""
        directory.mkdir(parents=True, exist_ok=True)
        raw = json.dumps(asdict(self), indent=1)
        (directory / "runner.json").write_text(raw + "\n")
        (directory / "runner.md").write_text(self.markdown())
        self.plot(directory / "runner.svg")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read the raw figures that `write` wrote."""
        raw = json.loads(path.read_text())
        measured = [
            Measured(
                entry["workload"],
                entry["title"],
                entry["contender"],
                [Cost(**cost) for cost in entry["costs"]],
            )
            for entry in raw["measured"]
        ]
        return cls(raw["machine"], measured)

    def plot(self, path: Path) -> None:
        """Bars of wall time relative to the slowest: of the workloads with goals, or all if there is none."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["svg.hashsalt"] = "runner"  # the same figures give the same file
        colours = {OURS: "#1f6feb", PGX5: "#8c959f", POSTGRES: "#afb8c1", PSQL: "#d0d7de"}
        measured = self.workloads()
        groups = [group for name, group in measured.items() if name in GOALS] or list(measured.values())
        figure = Figure(figsize=(8, 1.2 + 1.5 * len(groups)), layout="constrained")
        for axes, group in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
            names = [entry.contender for entry in group]
            longest = max(entry.seconds for entry in group)
            shares = [entry.seconds / longest for entry in group]
            bars = axes.barh(names, shares, color=[colours[name] for name in names])
            axes.bar_label(bars, labels=[f"{share:.2f}" for share in shares], padding=3)
            axes.invert_yaxis()
            axes.set_xlim(0, 1.1)
            axes.set_title(group[0].title, loc="left", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel("wall time relative to the slowest, same run", fontsize=9)
        figure.savefig(path, metadata={"Date": None})


def _known(seconds: float) -> str:
    """Older results have no CPU."""
    return f"{seconds:.2f}" if seconds else "-"
