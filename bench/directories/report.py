"""The results as a table and as a plot."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.directories.compare import OURS, PEER, Compared

MEDIAN_GOAL, MOST_GOAL = 0.55, 1.0


@dataclass(frozen=True)
class Report:
    """Everything measured in one run."""

    machine: str
    compared: Sequence[Compared]

    def ratios(self) -> list[float]:
        """Of the directories that both can apply."""
        return [compared.ratio for compared in self.compared if compared.ratio is not None]

    def markdown(self) -> str:
        """A row for each directory."""
        lines = [
            "# Directories as applications have them",
            "",
            f"Written by `make bench-directories`: {self.machine}",
            "`up` on fresh databases, in turn; medians of the rounds. The outcome is the row, pg_dump's",
            "schema and the number of rows of every table. Those called generated are made up like an",
            "application's history.",
            "",
            "![Ratio by number of files](directories.svg)",
            "",
        ]
        ratios = self.ratios()
        if ratios:
            lines += [
                f"Ratio to golang-migrate's wall time: median {statistics.median(ratios):.2f} (goal:"
                f" {MEDIAN_GOAL:g}), at most {max(ratios):.2f} (goal: {MOST_GOAL:g}).",
                "",
            ]
        lines += [
            "| directory | files | golang-migrate, s | fluxbase-migrate, s | ratio | outcome | digest |",
            "| --- | ---: | ---: | ---: | ---: | --- | --- |",
        ]
        return "\n".join([*lines, *(_row(compared) for compared in self.compared), ""])

    def write(self, directory: Path) -> None:
        """Raw figures, table and plot."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "directories.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "directories.md").write_text(self.markdown())
        self.plot(directory / "directories.svg")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read the raw figures that `write` wrote."""
        raw = json.loads(path.read_text())
        return cls(raw["machine"], [Compared(**fields) for fields in raw["compared"]])

    def plot(self, path: Path) -> None:
        """The ratio over the number of files."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["svg.hashsalt"] = "directories"  # the same figures give the same file
        points = [
            (compared.files, compared.ratio) for compared in self.compared if compared.ratio is not None
        ]
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        axes.scatter([files for files, _ in points], [ratio for _, ratio in points], color="#1f6feb")
        axes.axhline(MOST_GOAL, color="#8c959f", linewidth=1)
        axes.set_xlabel("files")
        axes.set_ylabel("wall time, of golang-migrate's")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def _row(compared: Compared) -> str:
    seconds = ["-" if not compared.seconds[who] else f"{compared.median(who):.2f}" for who in (PEER, OURS)]
    ratio = "-" if compared.ratio is None else f"{compared.ratio:.2f}"
    digest = compared.digest.removeprefix("sha256:")[:12]
    cells = [
        compared.name,
        f"{compared.files:,}",
        *seconds,
        ratio,
        compared.outcome.replace("|", "\\|"),
        f"`{digest}`",
    ]
    return f"| {' | '.join(cells)} |"
