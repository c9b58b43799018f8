"""The command to type next after a failure: one for a set, however many tracks have failed."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final

from fluxbase_migrations.api.reasons import Effect, Reason, effect
from fluxbase_migrations.cli.kubectl.set_view import condition, config_map_names
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import PLURAL, Phase, Track
from fluxbase_migrations.core.result import Outcome

_TAKE_OVER: Final = re.compile(r"(?:\btable: (?P<table>[^;]+?) and \S*)?\bbaseline: (?P<baseline>[0-9]+)")
"""In the hint about another tool's table: the fields of the track that take its version over."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and when it is the right one."""

    command: str
    when: str = ""

    def __str__(self) -> str:
        """As a line of a shell."""
        return f"{self.command}  # {self.when}" if self.when else self.command


def next_step(migration_set: Json) -> NextStep | None:
    """What to type about the first track that has failed, or about a set that waits for a user."""
    tracks = migration_set.get("status", {}).get("tracks", {})
    for track in Track:
        state = tracks.get(track, {})
        if state.get("phase") == Phase.FAILED:
            return _after(migration_set, track, state)
    match condition(migration_set, "Ready").get("reason"):
        case Reason.SUSPENDED:
            return NextStep(_ours(migration_set, "resume"))
        case Outcome.AWAITING_APPROVAL:
            return NextStep(_ours(migration_set, "approve"))
    return None


def _after(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    reason = state.get("reason")
    if reason == Reason.DATABASE_CLAIMED:
        return NextStep(_ours(migration_set, "take-over"), "if the other set is to give the database up")
    if reason == Reason.RESULT_MISSING:
        return NextStep(_ours(migration_set, "logs"))
    try:
        outcome = Outcome(str(reason))
    except ValueError:
        return None
    if outcome in _STEPS:
        return _STEPS[outcome](migration_set, track, state)
    if effect(outcome) is Effect.RETRY:
        return NextStep(_ours(migration_set, "retry"))
    return None


def _ours(migration_set: Json, command: str, *arguments: str) -> str:
    """``kubectl fluxbase COMMAND SET …``, in the set's own namespace."""
    metadata = migration_set["metadata"]
    return shlex.join(
        ["kubectl", "fluxbase", command, metadata["name"], *arguments, "-n", metadata["namespace"]]
    )


def _of_track(track: Track) -> tuple[str, ...]:
    """The user track is the default of the commands that are about a track."""
    return () if track is Track.USER else ("--track", track)


def _edit(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    """The files have to be changed, in the ConfigMaps where they are."""
    names = config_map_names(migration_set, track)
    if not names:
        return NextStep(_ours(migration_set, "retry"), "once the files are corrected")
    objects = [f"configmap/{name}" for name in names]
    return NextStep(shlex.join(["kubectl", "edit", *objects, "-n", migration_set["metadata"]["namespace"]]))


def _retry(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    """An edit of the file is picked up by itself; other causes of the failure are not observed."""
    file = state.get("error", {}).get("file")
    if config_map_names(migration_set, track) and file:
        return NextStep(_ours(migration_set, "retry"), f"unchanged; a corrected {file} runs by itself")
    return NextStep(_ours(migration_set, "retry"))


def _force(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    version = str(state.get("version", NIL))
    when = "once the database is repaired: the version that it is at then"
    return NextStep(_ours(migration_set, "force", version, *_of_track(track)), when)


def _allow(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    target = migration_set["spec"].get("tracks", {}).get(track, {}).get("targetVersion", 0)
    command = _ours(migration_set, "rollback", "--to", str(target), *_of_track(track))
    return NextStep(command, "runs the down files")


def _latest(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    return NextStep(
        _ours(migration_set, "rollback", "--to", "latest", *_of_track(track)), "removes targetVersion"
    )


def _set_field(field: str, value: str) -> Callable[[Json, Track, Json], NextStep | None]:
    def step(migration_set: Json, track: Track, state: Json) -> NextStep | None:
        return NextStep(_patch(migration_set, track, {field: value}))

    return step


def _patch(migration_set: Json, track: Track, fields: Mapping[str, str | int]) -> str:
    """``kubectl patch`` that sets these fields of the track."""
    metadata = migration_set["metadata"]
    patch = json.dumps({"spec": {"tracks": {str(track): fields}}})
    words = ["kubectl", "patch", PLURAL, metadata["name"], "-n", metadata["namespace"]]
    return shlex.join([*words, "--type", "merge", "-p", patch])


def _baseline(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    """The version of another tool's table, where it is a version of ours."""
    match = _TAKE_OVER.search(state.get("error", {}).get("hint", ""))
    if match is None:
        return None
    table: dict[str, str | int] = {"table": match["table"]} if match["table"] else {}
    fields = {**table, "baseline": int(match["baseline"])}
    return NextStep(_patch(migration_set, track, fields), "if that tool has applied the same files")


def _logs(migration_set: Json, track: Track, state: Json) -> NextStep | None:
    return NextStep(_ours(migration_set, "logs", "--track", track))


_STEPS: Final[dict[Outcome, Callable[[Json, Track, Json], NextStep | None]]] = {
    Outcome.SQL_ERROR: _retry,
    Outcome.UNPROVEN: _force,
    Outcome.DIRTY: _force,
    Outcome.INVALID_SOURCE: _edit,
    Outcome.MISSING_DOWN_FILE: _edit,
    Outcome.AHEAD_OF_SOURCE: _edit,
    Outcome.OUT_OF_ORDER: _set_field("outOfOrder", "Warn"),
    Outcome.ROLLBACK_FORBIDDEN: _allow,
    Outcome.TARGET_NOT_FOUND: _latest,
    Outcome.FOREIGN_TABLE: _baseline,
    Outcome.INTERNAL: _logs,
}
