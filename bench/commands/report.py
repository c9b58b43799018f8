"""The results as a table."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.runner.measure import Cost


@dataclass(frozen=True)
class Measured:
    """A command of ours beside golang-migrate's, a cost each in every round."""

    ours: str
    golang: str
    our_costs: Sequence[Cost]
    golang_costs: Sequence[Cost]

    @property
    def ratio(self) -> float:
        """Of the medians of their wall times."""
        return _median(self.our_costs) / _median(self.golang_costs)


@dataclass(frozen=True)
class Report:
    """Everything measured in one run."""

    machine: str
    measured: Sequence[Measured]

    def markdown(self) -> str:
        """A line for each command."""
        lines = [
            "# Commands that run no file",
            "",
            f"Written by `make bench-commands`: {self.machine}",
            "All in one run, in random order: medians of wall time, the range, and the median of the",
            "process's own CPU time.",
            "",
            "| fluxbase-migrate | ms | CPU | golang-migrate | ms | CPU | ratio |",
            "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
        ]
        lines += [
            f"| `{one.ours}` | {_shown(one.our_costs)} | `{one.golang}` | {_shown(one.golang_costs)} |"
            f" {one.ratio:.1f} |"
            for one in self.measured
        ]
        return "\n".join([*lines, ""])

    def write(self, directory: Path) -> None:
        """Raw figures and table."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "commands.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "commands.md").write_text(self.markdown())


def _median(costs: Sequence[Cost]) -> float:
    return statistics.median(one.seconds for one in costs)


def _shown(costs: Sequence[Cost]) -> str:
    seconds = [one.seconds * 1000 for one in costs]
    cpu = statistics.median(one.cpu * 1000 for one in costs)
    return f"{statistics.median(seconds):.0f} ({min(seconds):.0f}-{max(seconds):.0f}) | {cpu:.0f}"
