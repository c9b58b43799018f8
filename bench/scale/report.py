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
"""What can be measured alone."""


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
            *_table("sets", [f"{one.sets:,}" for one in self.rest], self._rest_rows()),
        ]

    def _rest_rows(self) -> list[tuple[str, list[str]]]:
        return [
            ("restart until each was looked at, s", [f"{one.restart_seconds:.1f}" for one in self.rest]),
            ("the operator's CPU for that, s", [f"{one.restart_cpu:.1f}" for one in self.rest]),
            ("lists for that", [str(one.restarted("list")) for one in self.rest]),
            ("ConfigMaps read for that", [str(one.restarted("get configmaps")) for one in self.rest]),
            ("memory, MB", [f"{one.memory:.0f}" for one in self.rest]),
            ("the most memory ever, MB", [f"{one.peak:.0f}" for one in self.rest]),
            ("requests a minute at rest, the Lease's left out", [f"{one.a_minute:.0f}" for one in self.rest]),
            (
                "CPU at rest, ms a second",
                [f"{one.rest_cpu / one.rest_seconds * 1000:.1f}" for one in self.rest],
            ),
            ("ConfigMap changed to Job created, median, s", [f"{one.change(0.5):.2f}" for one in self.rest]),
            ("the same, p95, s", [f"{one.change(0.95):.2f}" for one in self.rest]),
        ]

    def _once(self) -> list[str]:
        if self.once is None:
            return []
        shown = {"sets": "the sets", "slots": "Jobs, 20 at once", "all": "Jobs, all at once"}
        cpu = self.once.cpu
        rows = [(who, [f"{cpu[one][who]:.1f}" for one in shown]) for who in cpu["sets"]]
        return [
            "## At once",
            "",
            f"{self.once.machine}.",
            "",
            f"{self.once}.",
            "",
            *_table("CPU, s", list(shown.values()), rows),
        ]

    def _namespaces(self) -> list[str]:
        found = self.namespaces
        if not found:
            return []
        rows = [
            ("start until each was looked at, s", [_seconds(one.steady_seconds) for one in found]),
            ("restarts", [str(one.restarts) for one in found]),
            ("the operator's CPU for that, s", [f"{one.steady_cpu:.1f}" for one in found]),
            ("requests for that", [f"{one.begun_with:,}" for one in found]),
            ("memory, MB", [f"{one.memory:.0f}" for one in found]),
            ("threads", [str(one.threads) for one in found]),
            ("requests a minute at rest, the Lease's left out", [f"{one.a_minute:.0f}" for one in found]),
            ("CPU at rest, ms a second", [f"{one.rest_cpu / one.rest_seconds * 1000:.1f}" for one in found]),
        ]
        return [
            "## Watched namespaces, as a list",
            "",
            f"{found[0].machine}. A set at rest in each.",
            "",
            *_table("namespaces", [f"{one.namespaces:,}" for one in found], rows),
        ]

    def _full(self) -> list[str]:
        if self.full is None:
            return []
        return ["## A server that is full", "", f"{self.full.machine}.", "", f"{self.full}."]

    def _long(self) -> list[str]:
        found = self.long
        if found is None:
            return []
        rows = [
            ("requests a minute, the Lease's left out", [f"{found.a_minute(one):.0f}" for one in WINDOWS]),
            ("of these, watches begun", [f"{found.a_minute(one, 'watch'):.0f}" for one in WINDOWS]),
            ("of these, logs", [f"{found.a_minute(one, 'get pods/log'):.0f}" for one in WINDOWS]),
            ("the progress shown then", [found.progress.get(one) or "-" for one in WINDOWS]),
        ]
        times = (
            "exactly once" if found.once else f"{dict(found.executed)}, by the history {dict(found.recorded)}"
        )
        return [
            "## A long statement",
            "",
            f"{found.machine}. A statement of {found.seconds:g} s, two replicas. The other one led"
            f" {found.new_leader_seconds:.1f} s after the leader's end; replicas that ended by themselves:"
            f" {found.restarts}. Each file took effect {times}, in {found.runs} run(s). When the next file"
            f" ran, the progress shown was that of {found.progress.get(NEXT_FILE) or 'none'}.",
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
        """What `write` left."""
        raw = json.loads(path.read_text())
        return cls(
            [AtRest(**one) for one in raw["rest"]],
            AtOnce(**raw["once"]) if raw["once"] else None,
            [Listed(**one) for one in raw["namespaces"]],
            Full(**raw["full"]) if raw["full"] else None,
            Long(**raw["long"]) if raw["long"] else None,
        )

    def plot(self, path: Path) -> None:
        """One small plot for each figure that grows."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["svg.hashsalt"] = "scale"  # the same figures give the same file
        figure = Figure(figsize=(9, 3), layout="constrained")
        sizes = [one.sets for one in self.rest]
        shown = {
            "restart, s": [one.restart_seconds for one in self.rest],
            "memory, MB": [one.memory for one in self.rest],
            "change to Job, p95, s": [one.change(0.95) for one in self.rest],
        }
        for axes, (title, values) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
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
