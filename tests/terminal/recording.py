"""What a person sees when typing our commands: recorded by tests, shown in the docs, compared by tests.

A test types commands into a :class:`Shell`, which runs them on a real pseudo-terminal. What then stands on
the screen must be what `recorded.json` has, from which the docs and their pictures are made, so these cannot
lie. `make terminal` records afresh.
"""

import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.terminal import Terminal, screen
from tests.terminal.normalising import comparable, normalised

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
RECORDED: Final = HERE / "recorded.json"
FRESH: Final = ROOT / "build/terminal"
COLUMNS: Final = 100
MORE: Final = "…"
"""A line of its own that stands for those that are left out."""
PATIENCE: Final = 90.0
"""Seconds for a command to end, or to show what is awaited."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what stands on the screen below it, with colours."""

    typed: str
    shown: Sequence[str]
    picture: str = ""
    """Name of the picture that is made of it, if any."""


class Running:
    """A command that has not ended."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def until(self, pattern: str) -> str:
        """Wait until what stands on the screen has a match of ``pattern``; return what was written."""
        return self._terminal.read(
            lambda text: re.search(pattern, "\n".join(screen(text)), re.MULTILINE), PATIENCE
        )

    def answer(self, question: str, line: str) -> None:
        """Type a line once the question stands there."""
        self.until(re.escape(question))
        self._terminal.type(line)


class Shell:
    """Where a test types its commands; ``hidden`` are names of this run, and what stands for them."""

    def __init__(
        self, directory: Path, variables: Mapping[str, str], hidden: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._variables = {"TERM": "xterm", "TZ": "UTC", **variables}
        self._hidden = dict(hidden or {})
        self._record = os.environ.get("TERMINAL") == "record"
        self._expected = read()
        self._sessions: dict[str, list[Step]] = {}
        self._name = ""
        self._broken = False
        """Something was not as it should be, so what was typed until then is no session."""
        self._written: list[str] = []
        """What stood on the screen when the last command had ended."""

    def session(self, name: str) -> None:
        """Begin a session: what is typed from now on is shown where a page names it."""
        assert name not in self._sessions, f"{name} has begun before"
        self._name = name
        self._sessions[name] = []

    def type(
        self,
        typed: str,
        *answers: tuple[str, str],
        code: int = 0,
        first: int | None = None,
        without: str = "",
        picture: str = "",
    ) -> None:
        """Type a command, and see that it shows what is recorded.

        Args:
            typed: The line as bash takes it.
            answers: Questions of the program, and what is typed there.
            code: The exit code that it must have.
            first: So many lines are shown, and ``…`` for the others.
            without: What lines must not match to be shown: what comes or not by chance.
            picture: Name of the picture to be made.
        """
        with self.running(typed, code=code) as running:
            for question, line in answers:
                running.answer(question, line)
        self.ended(typed, first=first, without=without, picture=picture)

    def ended(self, typed: str, *, first: int | None = None, without: str = "", picture: str = "") -> None:
        """See that the command that has ended last shows what is recorded; as :meth:`type` has it."""
        lines = [line for line in self._written if not without or not re.search(without, line)]
        if first is not None and len(lines) > first:
            lines = [*lines[:first], MORE]
        self.shows(typed, lines, picture=picture)

    def quietly(self, typed: str, *, code: int = 0) -> None:
        """Type a command that is not shown."""
        with self.running(typed, code=code):
            pass

    @contextmanager
    def running(self, typed: str, *, code: int = 0) -> Iterator[Running]:
        """A command that runs throughout the block, and then ends with that exit code."""
        self._broken = True
        terminal = Terminal(
            self._directory,
            [*named_machine(), "bash", "-c", typed],
            variables=self._variables,
            columns=COLUMNS,
            stderr=None,
        )
        try:
            yield Running(terminal)
            self._written = screen(terminal.end(code, PATIENCE))
            self._broken = False
        finally:
            if terminal.process.poll() is None:
                terminal.process.kill()
                terminal.process.wait()

    def shows(self, typed: str, lines: Sequence[str], *, picture: str = "") -> None:
        """See that this command shows what is recorded, or record it."""
        shown = [normalised(line, self._hidden) for line in lines]
        step = Step(normalised(typed, self._hidden), shown, picture)
        session = self._sessions[self._name]
        session.append(step)
        if self._record:
            return
        broken, self._broken = self._broken, True
        recorded = self._expected.get(self._name, ())
        expected = recorded[len(session) - 1] if len(recorded) >= len(session) else None
        assert _alike(step, expected), (
            f"{self._name!r} does not look as the docs say.\n"
            f"recorded: {json.dumps(expected and asdict(expected), indent=1, ensure_ascii=False)}\n"
            f"seen: {json.dumps(asdict(step), indent=1, ensure_ascii=False)}\n"
            "If what was seen is right, run: make terminal"
        )
        self._broken = broken

    def close(self) -> None:
        """Keep what was recorded; see that nothing more is in the docs than what was typed."""
        if self._broken:
            return
        for name, steps in self._sessions.items():
            if self._record:
                FRESH.mkdir(parents=True, exist_ok=True)
                document = {name: [asdict(step) for step in steps]}
                (FRESH / f"{name}.json").write_text(json.dumps(document))
            else:
                assert len(steps) == len(self._expected.get(name, ())), f"{name!r}: run make terminal"


@functools.cache
def named_machine() -> tuple[str, ...]:
    """What makes a program see a machine of that name, if we may; otherwise ours is replaced."""
    naming = "echo laptop > /proc/sys/kernel/hostname && exec "
    words = ("unshare", "--uts", *(() if os.geteuid() == 0 else ("--map-root-user",)), "bash", "-c")
    done = subprocess.run([*words, f"{naming} true"], capture_output=True, check=False)
    return (*words, f'{naming} "$@"', "bash") if done.returncode == 0 else ()


def _alike(one: Step, other: Step | None) -> bool:
    if other is None:
        return False
    same = (one.typed, one.picture) == (other.typed, other.picture)
    return same and [*map(comparable, one.shown)] == [*map(comparable, other.shown)]


def read() -> dict[str, list[Step]]:
    """The recorded sessions, by name."""
    return _steps(json.loads(RECORDED.read_text())) if RECORDED.exists() else {}


def _steps(documents: dict[str, list[dict[str, Any]]]) -> dict[str, list[Step]]:
    return {name: [Step(**step) for step in steps] for name, steps in documents.items()}


def orphans(recorded: Mapping[str, object]) -> set[str]:
    """Sessions that no test types any more."""
    sources = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    return {name for name in recorded if f'.session("{name}")' not in sources}


def take_over() -> dict[str, list[Step]]:
    """What is recorded, along with what was recorded afresh, which is kept.

    What looks alike stays as it was: widths of columns come and go with what was replaced.
    """
    recorded = read()
    for path in sorted(FRESH.glob("*.json")):
        fresh = _steps(json.loads(path.read_text()))
        recorded |= {name: _kept(steps, recorded.get(name, [])) for name, steps in fresh.items()}
        path.unlink()
    for name in orphans(recorded):
        del recorded[name]
    documents = {name: [asdict(step) for step in steps] for name, steps in recorded.items()}
    RECORDED.write_text(json.dumps(documents, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return read()


def _kept(fresh: list[Step], before: Sequence[Step]) -> list[Step]:
    return [
        next((old for old in before[number : number + 1] if _alike(step, old)), step)
        for number, step in enumerate(fresh)
    ]
