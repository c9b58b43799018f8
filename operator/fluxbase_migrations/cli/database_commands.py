"""The commands of ``fluxbase-migrate`` that connect to the database."""

import contextlib
import math
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.cli.invocation import Invocation, built_in_files
from fluxbase_migrations.core.errors import Dirty, MigrationError
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.commands import verbs
from fluxbase_migrations.runner.commands.verbs import Setup
from fluxbase_migrations.runner.connection.signals import OnSignal, Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.log import Log


@dataclass(frozen=True, slots=True)
class _Session:
    """What a command works with."""

    call: Invocation
    log: Log
    stop: Stop
    setup: Setup


def run(call: Invocation) -> int:
    """Run one of :data:`_COMMANDS`; returns the exit code."""
    policy = call.options.get("on_signal", OnSignal.AUTO)
    # Nobody kills this process after a grace period that it knows of.
    stop = Stop(policy, math.inf) if policy is OnSignal.FINISH else Stop(policy)
    stop.install()
    log = call.log()
    command = _COMMANDS[call.command]

    def act() -> int:
        return command(_Session(call, log, stop, call.setup(log, stop)))

    def act_or_leave() -> int:
        with stop.at_once():
            return act()

    def failed(error: MigrationError) -> None:
        version = error.version if isinstance(error, Dirty) else None
        _print_next_step(call, error.outcome, error.info, version)

    return verbs.guarded(act_or_leave if call.command in _READING else act, log, failed)


def _run(session: _Session) -> int:
    def failed(track: Track, result: Result) -> None:
        if result.error is not None:
            version = result.version if result.dirty else None
            _print_next_step(session.call, result.outcome, result.error, version, track)

    return verbs.run_tracks(session.setup, session.call.tracks_to_run(session.log), failed)


def _version(session: _Session) -> int:
    row = verbs.version(session.setup)
    if row.version == NIL:
        session.log.error("no migration (dirty)" if row.dirty else "no migration")
        return 1
    return output.answer([str(row)])


def _status(session: _Session) -> int:
    from fluxbase_migrations.cli.status import show

    tracks = session.call.tracks_to_show(session.log)
    return show(verbs.status(session.setup, tracks), session.call.arguments.form)


def _plan(session: _Session) -> int:
    from fluxbase_migrations.cli.plan import plan

    call, arguments = session.call, session.call.arguments
    if call.track is None and (arguments.count is not None or arguments.to is not None):  # as `up` and `goto`
        tracks = [(Track.USER, call.files(session.log))]
    else:
        tracks = call.tracks_to_show(session.log)
    return plan(session.setup, tracks, arguments)


def _history(session: _Session) -> int:
    from fluxbase_migrations.cli.history import show

    arguments = session.call.arguments
    limit = None if arguments.all else arguments.n
    return show(verbs.history(session.setup, limit, arguments.of_version), arguments.form)


def _force(session: _Session) -> int:
    return verbs.force(session.setup, session.call.arguments.target)


def _baseline(session: _Session) -> int:
    arguments = session.call.arguments
    if arguments.other is None:
        return verbs.baseline(session.setup, arguments.target, None, None)
    files = session.call.files_if_any(session.log)
    return verbs.baseline(session.setup, arguments.target, TableName.parse(arguments.other), files)


def _goto(session: _Session) -> int:
    return verbs.goto(session.setup, session.call.files(session.log), session.call.arguments.target)


def _up(session: _Session) -> int:
    return verbs.up(session.setup, session.call.files(session.log), session.call.arguments.count)


def _down(session: _Session) -> int:
    arguments = session.call.arguments
    if arguments.all and not arguments.yes and not _is_confirmed(session.stop):
        session.log.error("not confirmed, nothing was reverted")
        return 1
    limit = None if arguments.all else 1 if arguments.count is None else arguments.count
    return verbs.down(session.setup, session.call.files(session.log), limit)


_COMMANDS: Final[Mapping[str, Callable[[_Session], int]]] = {
    "baseline": _baseline,
    "down": _down,
    "force": _force,
    "goto": _goto,
    "history": _history,
    "plan": _plan,
    "run": _run,
    "status": _status,
    "up": _up,
    "version": _version,
}
_READING: Final = ("version", "status", "history", "plan")
"""Commands that change nothing in the database: a signal ends them at once."""


def _is_confirmed(stop: Stop) -> bool:
    """Whether the answer is yes; a signal, or no standard input, is a no."""
    print("Are you sure you want to apply all down migrations? [y/N]", file=sys.stderr)
    if sys.stdin is None:
        return False
    select.select([sys.stdin, stop.fileno], [], [])
    return stop.signal is None and sys.stdin.readline().strip().lower() in ("y", "yes")


def _print_next_step(
    call: Invocation,
    outcome: Outcome,
    info: ErrorInfo,
    dirty_version: int | None,
    track: Track | None = None,
) -> None:
    """What to type next, on standard error: the log's lines are read by programs."""
    from fluxbase_migrations.cli.next_step import Typed, next_step

    # `run` takes the system track from the image, whatever --source says.
    built_in = track is Track.SYSTEM if track is not None else call.is_built_in(call.track)

    def versions() -> Sequence[int]:
        silent = Log(write=lambda _line: None)
        try:
            return tuple((built_in_files() if built_in else call.files(silent)).versions)
        except MigrationError:
            return ()

    step = next_step(
        outcome,
        info,
        Typed(call.arguments),
        versions,
        dirty_version=dirty_version,
        track=track,
        built_in=built_in,
    )
    if step is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"next: {visible(step)}", file=sys.stderr, flush=True)
