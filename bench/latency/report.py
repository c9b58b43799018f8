"""The results as tables and as a plot."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.latency.many import Many
from bench.latency.steps import STEPS, Lap, Whose
from bench.latency.trials import CHANGE, FRESH, ONE_JOB, TWO_JOBS, Trial

GOALS: Mapping[str, float] = {FRESH: 0.62, CHANGE: 0.40}
"""Of the time that one Job that does nothing takes to be Complete."""
ORDER = (ONE_JOB, TWO_JOBS, FRESH, CHANGE)


@dataclass(frozen=True)
class Report:
    """Everything measured in one run, the warm-up left out."""

    machine: str
    trials: Sequence[Trial]
    many: Many | None = None
    """Of the last run that measured it."""

    def of(self, what: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.what == what]

    def median(self, what: str, of: Callable[[Trial], float]) -> float:
        return statistics.median(of(trial) for trial in self.of(what))

    def markdown(self) -> str:
        """The table of times, and one of steps for each thing measured."""
        lines = [
            "# From `kubectl apply` to Applied",
            "",
            f"Written by `make bench-latency`: {self.machine}",
            f"{len(self.of(ONE_JOB))} rounds in one run, in random order. A set runs the six system",
            "migrations and four of the user's on a fresh database, as two Jobs one after the other. A Job",
            "that does nothing is one of the operator's with `/bin/true` for a command.",
            "",
            "![Where the time goes](latency.svg)",
            "",
            "| | from kubectl's start, s | min-max | ratio | from the object's creation, s | ratio | goal |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        base, base_created = (self.median(ONE_JOB, of) for of in (_seconds, _since_created))
        for what in ORDER:
            times = [trial.seconds for trial in self.of(what)]
            median, created = statistics.median(times), self.median(what, _since_created)
            goal = f"{GOALS[what]:.2f}" if what in GOALS else ""
            lines.append(
                f"| {what} | {median:.2f} | {min(times):.2f}-{max(times):.2f} | {median / base:.2f} |"
                f" {created:.2f} | {created / base_created:.2f} | {goal} |"
            )
        if self.many is not None:
            lines += ["", "## Many at once", "", self.many.sentence()]
        for what in (ONE_JOB, FRESH, CHANGE):
            lines += ["", f"## {what}", "", *self._steps(what)]
        return "\n".join([*lines, ""])

    def _steps(self, what: str) -> list[str]:
        lines = ["| step | at, s | took, s | min-max | whose |", "| --- | ---: | ---: | ---: | --- |"]
        for (title, step), took in self._durations(what).items():
            at = statistics.median(
                lap.steps[step]
                for trial in self.of(what)
                for lap in trial.laps
                if lap.title == title and step in lap.steps
            )
            lines.append(
                f"| {title}: {step} | {at:.2f} | {statistics.median(took):.2f} |"
                f" {min(took):.2f}-{max(took):.2f} | {STEPS[step]} |"
            )
        shares = ", ".join(f"{whose} {seconds:.2f}" for whose, seconds in self.shares(what).items())
        return [*lines, "", f"Medians by whose they are, in seconds: {shares}."]

    def _durations(self, what: str) -> dict[tuple[str, str], list[float]]:
        """By lap and step: seconds since the step before, one value a round."""
        durations: dict[tuple[str, str], list[float]] = {}
        for trial in self.of(what):
            for title, step, seconds in _took(trial.laps):
                durations.setdefault((title, step), []).append(seconds)
        return durations

    def shares(self, what: str) -> dict[Whose, float]:
        """Medians of the seconds that each took in a round."""
        rounds = []
        for trial in self.of(what):
            by_whose = dict.fromkeys(Whose, 0.0)
            for _, step, seconds in _took(trial.laps):
                by_whose[STEPS[step]] += seconds
            rounds.append(by_whose)
        return {
            whose: statistics.median(seconds_by_whose[whose] for seconds_by_whose in rounds)
            for whose in Whose
        }

    def write(self, directory: Path) -> None:
        """Raw figures, tables and plot."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "latency.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "latency.md").write_text(self.markdown())
        self.plot(directory / "latency.svg")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read the raw figures that `write` wrote."""
        raw = json.loads(path.read_text())
        trials = [
            Trial(**{**fields, "laps": [Lap(**lap) for lap in fields["laps"]]}) for fields in raw["trials"]
        ]
        return cls(raw["machine"], trials, Many(**raw["many"]) if raw.get("many") else None)

    def plot(self, path: Path) -> None:
        """Bars of time, divided by who was at work."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        rcParams["svg.hashsalt"] = "latency"  # the same figures give the same file
        colours = {
            Whose.KUBECTL: "#d0d7de",
            Whose.OPERATOR: "#bf3989",
            Whose.KUBERNETES: "#8c959f",
            Whose.RUNNER: "#1f6feb",
        }
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        left = dict.fromkeys(ORDER, 0.0)
        for whose, colour in colours.items():
            widths = [self.shares(what)[whose] for what in ORDER]
            axes.barh(ORDER, widths, left=list(left.values()), color=colour, label=str(whose))
            left = {what: left[what] + width for what, width in zip(ORDER, widths, strict=True)}
        axes.invert_yaxis()
        axes.set_xlabel("seconds, sums of medians")
        axes.legend(loc="lower right", frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def _seconds(trial: Trial) -> float:
    return trial.seconds


def _since_created(trial: Trial) -> float:
    return trial.since_created


def _took(laps: Sequence[Lap]) -> list[tuple[str, str, float]]:
    """Title, step, and seconds since the step before, of each step of a trial."""
    durations, before = [], 0.0
    for lap in laps:
        for step in STEPS:
            if step in lap.steps:
                durations.append((lap.title, step, lap.steps[step] - before))
                before = lap.steps[step]
    return durations
