"""The results as a table, and each figure as a plot over the number of sets."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.scale.once import AtOnce
from bench.scale.rest import AtRest

COLOUR = "#bf3989"


@dataclass(frozen=True)
class Report:
    """Everything measured in one run."""

    machine: str
    rest: Sequence[AtRest]
    once: AtOnce | None = None

    def markdown(self) -> str:
        """A column for each number of sets."""
        lines = [
            "# Many sets",
            "",
            f"Written by `make bench-scale`: {self.machine}",
            "API server, etcd and operator are real, on one machine. Each set has two tracks, is Applied,",
            "and has a ConfigMap of its own.",
            "",
            "![Growth with the number of sets](scale.svg)",
            "",
            "| sets | " + " | ".join(f"{one.sets:,}" for one in self.rest) + " |",
            "| --- |" + " ---: |" * len(self.rest),
        ]
        for title, values in self._rows():
            lines.append(f"| {title} | " + " | ".join(values) + " |")
        if self.once:
            lines += ["", f"{self.once}."]
        return "\n".join([*lines, ""])

    def _rows(self) -> list[tuple[str, list[str]]]:
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

    def write(self, directory: Path) -> None:
        """Raw figures, table and plot."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "scale.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "scale.md").write_text(self.markdown())
        self.plot(directory / "scale.svg")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """What `write` left."""
        raw = json.loads(path.read_text())
        once = AtOnce(**raw["once"]) if raw["once"] else None
        return cls(raw["machine"], [AtRest(**one) for one in raw["rest"]], once)

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
