"""The results as tables, and each figure as a plot over the number of sets."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.scale.full_server import Full
from bench.scale.long_statement import NEXT_FILE, WINDOWS, Long
from bench.scale.namespaces import Listed
from bench.scale.once import AtOnce
from bench.scale.rest import AtRest

COLOUR = "#bf3989"
PARTS = ("rest", "once", "namespaces", "full", "long")
"""The parts that can be measured separately."""


@dataclass(frozen=True)
class Report:
    """Everything measured; a part of it may be older than the others."""

    rest: Sequence[AtRest] = ()
    once: AtOnce | None = None
    namespaces: Sequence[Listed] = ()
    full: Full | None = None
    long: Long | None = None

    def markdown(self) -> str:
        """A section for each part."""
        lines = [
            "# Many sets",
            "",
            "Written by `make bench-scale`. API server, etcd, the controllers of Jobs, PostgreSQL and",
            "operator are real, on one machine; pods are processes.",
        ]
        for part in (self._rest(), self._once(), self._namespaces(), self._full(), self._long()):
            lines += ["", *part] if part else []
        return "\n".join([*lines, ""])

    def _rest(self) -> list[str]:
        if not self.rest:
            return []
        return [
            "## At rest",
            "",
            f"{self.rest[0].machine}. Each set has two tracks, is Applied, and has a ConfigMap of its own.",
            "",
            "![Growth with the number of sets](scale.svg)",
            "",
            *_table("sets", [f"{result.sets:,}" for result in self.rest], self._rest_rows()),
        ]

    def _rest_rows(self) -> list[tuple[str, list[str]]]:
        return [
            (
                "restart until each was looked at, s",
                [f"{result.restart_seconds:.1f}" for result in self.rest],
            ),
            ("the operator's CPU for that, s", [f"{result.restart_cpu:.1f}" for result in self.rest]),
            ("lists for that", [str(result.restarted("list")) for result in self.rest]),
            ("ConfigMaps read for that", [str(result.restarted("get configmaps")) for result in self.rest]),
            ("memory, MB", [f"{result.memory:.0f}" for result in self.rest]),
            ("the most memory ever, MB", [f"{result.peak:.0f}" for result in self.rest]),
            (
                "requests a minute at rest, the Lease's left out",
                [f"{result.a_minute:.0f}" for result in self.rest],
            ),
            (
                "CPU at rest, ms a second",
                [f"{result.rest_cpu / result.rest_seconds * 1000:.1f}" for result in self.rest],
            ),
            (
                "ConfigMap changed to Job created, median, s",
                [f"{result.change(0.5):.2f}" for result in self.rest],
            ),
            ("the same, p95, s", [f"{result.change(0.95):.2f}" for result in self.rest]),
        ]

    def _once(self) -> list[str]:
        if self.once is None:
            return []
        titles = {"sets": "the sets", "slots": "Jobs, 20 at once", "all": "Jobs, all at once"}
        cpu = self.once.cpu
        rows = [(who, [f"{cpu[batch][who]:.1f}" for batch in titles]) for who in cpu["sets"]]
        return [
            "## At once",
            "",
            f"{self.once.machine}.",
            "",
            f"{self.once}.",
            "",
            *_table("CPU, s", list(titles.values()), rows),
        ]

    def _namespaces(self) -> list[str]:
        results = self.namespaces
        if not results:
            return []
        rows = [
            ("start until each was looked at, s", [_seconds(result.steady_seconds) for result in results]),
            ("restarts", [str(result.restarts) for result in results]),
            ("the operator's CPU for that, s", [f"{result.steady_cpu:.1f}" for result in results]),
            ("requests for that", [f"{result.begun_with:,}" for result in results]),
            ("memory, MB", [f"{result.memory:.0f}" for result in results]),
            ("threads", [str(result.threads) for result in results]),
            (
                "requests a minute at rest, the Lease's left out",
                [f"{result.a_minute:.0f}" for result in results],
            ),
            (
                "CPU at rest, ms a second",
                [f"{result.rest_cpu / result.rest_seconds * 1000:.1f}" for result in results],
            ),
        ]
        return [
            "## Watched namespaces, as a list",
            "",
            f"{results[0].machine}. A set at rest in each.",
            "",
            *_table("namespaces", [f"{result.namespaces:,}" for result in results], rows),
        ]

    def _full(self) -> list[str]:
        if self.full is None:
            return []
        return ["## A server that is full", "", f"{self.full.machine}.", "", f"{self.full}."]

    def _long(self) -> list[str]:
        long = self.long
        if long is None:
            return []
        rows = [
            (
                "requests a minute, the Lease's left out",
                [f"{long.a_minute(window):.0f}" for window in WINDOWS],
            ),
            ("of these, watches begun", [f"{long.a_minute(window, 'watch'):.0f}" for window in WINDOWS]),
            ("of these, logs", [f"{long.a_minute(window, 'get pods/log'):.0f}" for window in WINDOWS]),
            ("the progress shown then", [long.progress.get(window) or "-" for window in WINDOWS]),
        ]
        times = (
            "exactly once" if long.once else f"{dict(long.executed)}, by the history {dict(long.recorded)}"
        )
        return [
            "## A long statement",
            "",
            f"{long.machine}. A statement of {long.seconds:g} s, two replicas. The other one led"
            f" {long.new_leader_seconds:.1f} s after the leader's end; replicas that ended by themselves:"
            f" {long.restarts}. Each file took effect {times}, in {long.runs} run(s). When the next file"
            f" ran, the progress shown was that of {long.progress.get(NEXT_FILE) or 'none'}.",
            "",
            *_table("in each third", list(WINDOWS), rows),
        ]

    def write(self, directory: Path) -> None:
        """Raw figures, tables and plot."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "scale.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "scale.md").write_text(self.markdown())
        self.plot(directory / "scale.svg")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read the raw figures that `write` wrote."""
        raw = json.loads(path.read_text())
        return cls(
            [AtRest(**fields) for fields in raw["rest"]],
            AtOnce(**raw["once"]) if raw["once"] else None,
            [Listed(**fields) for fields in raw["namespaces"]],
            Full(**raw["full"]) if raw["full"] else None,
            Long(**raw["long"]) if raw["long"] else None,
        )

    def plot(self, path: Path) -> None:
        """One small plot for each figure that grows."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["svg.hashsalt"] = "scale"  # the same figures give the same file
        figure = Figure(figsize=(9, 3), layout="constrained")
        sizes = [result.sets for result in self.rest]
        curves = {
            "restart, s": [result.restart_seconds for result in self.rest],
            "memory, MB": [result.memory for result in self.rest],
            "change to Job, p95, s": [result.change(0.95) for result in self.rest],
        }
        for axes, (title, values) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
            axes.plot(sizes, values, marker="o", color=COLOUR)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("sets")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def _seconds(taken: float | None) -> str:
    return "never" if taken is None else f"{taken:.1f}"


def _table(what: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    lines = [f"| {what} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    return lines + [f"| {title} | " + " | ".join(values) + " |" for title, values in rows]
