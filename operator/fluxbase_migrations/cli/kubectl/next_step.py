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


def next_step(found: Json) -> NextStep | None:
    """What to type about the first track that has failed, or about a set that waits for somebody."""
    tracks = found.get("status", {}).get("tracks", {})
    for track in Track:
        state = tracks.get(track, {})
        if state.get("phase") == Phase.FAILED:
            return _after(found, track, state)
    match condition(found, "Ready").get("reason"):
        case Reason.SUSPENDED:
            return NextStep(_ours(found, "resume"))
        case Outcome.AWAITING_APPROVAL:
            return NextStep(_ours(found, "approve"))
    return None


def _after(found: Json, track: Track, state: Json) -> NextStep | None:
    reason = state.get("reason")
    if reason == Reason.DATABASE_CLAIMED:
        return NextStep(_ours(found, "take-over"), "if the other set is to give the database up")
    if reason == Reason.RESULT_MISSING:
        return NextStep(_ours(found, "logs"))
    try:
        outcome = Outcome(str(reason))
    except ValueError:
        return None
    if outcome in _STEPS:
        return _STEPS[outcome](found, track, state)
    if effect(outcome) is Effect.RETRY:
        return NextStep(_ours(found, "retry"))
    return None


def _ours(found: Json, command: str, *arguments: str) -> str:
    """``kubectl fluxbase COMMAND SET …``, in the set's own namespace."""
    metadata = found["metadata"]
    return shlex.join(
        ["kubectl", "fluxbase", command, metadata["name"], *arguments, "-n", metadata["namespace"]]
    )


def _of_track(track: Track) -> tuple[str, ...]:
    """The user track is the default of the commands that are about one."""
    return () if track is Track.USER else ("--track", track)


def _edit(found: Json, track: Track, state: Json) -> NextStep | None:
    """The files have to be changed, in the ConfigMaps where they are."""
    names = config_map_names(found, track)
    if not names:
        return NextStep(_ours(found, "retry"), "once the files are corrected")
    objects = [f"configmap/{name}" for name in names]
    return NextStep(shlex.join(["kubectl", "edit", *objects, "-n", found["metadata"]["namespace"]]))


def _retry(found: Json, track: Track, state: Json) -> NextStep | None:
    """An edit of the file is picked up by itself; what else was in the way is not seen."""
    file = state.get("error", {}).get("file")
    if config_map_names(found, track) and file:
        return NextStep(_ours(found, "retry"), f"unchanged; a corrected {file} runs by itself")
    return NextStep(_ours(found, "retry"))


def _force(found: Json, track: Track, state: Json) -> NextStep | None:
    version = str(state.get("version", NIL))
    when = "once the database is repaired: the version that it is at then"
    return NextStep(_ours(found, "force", version, *_of_track(track)), when)


def _allow(found: Json, track: Track, state: Json) -> NextStep | None:
    target = found["spec"].get("tracks", {}).get(track, {}).get("targetVersion", 0)
    command = _ours(found, "rollback", "--to", str(target), *_of_track(track))
    return NextStep(command, "runs the down files")


def _latest(found: Json, track: Track, state: Json) -> NextStep | None:
    return NextStep(_ours(found, "rollback", "--to", "latest", *_of_track(track)), "removes targetVersion")


def _set_field(field: str, value: str) -> Callable[[Json, Track, Json], NextStep | None]:
    def step(found: Json, track: Track, state: Json) -> NextStep | None:
        return NextStep(_patch(found, track, {field: value}))

    return step


def _patch(found: Json, track: Track, fields: Mapping[str, str | int]) -> str:
    """``kubectl patch`` that sets these fields of the track."""
    metadata = found["metadata"]
    patch = json.dumps({"spec": {"tracks": {str(track): fields}}})
    words = ["kubectl", "patch", PLURAL, metadata["name"], "-n", metadata["namespace"]]
    return shlex.join([*words, "--type", "merge", "-p", patch])


def _baseline(found: Json, track: Track, state: Json) -> NextStep | None:
    """The version of another tool's table, where it is one of ours."""
    match = _TAKE_OVER.search(state.get("error", {}).get("hint", ""))
    if match is None:
        return None
    table: dict[str, str | int] = {"table": match["table"]} if match["table"] else {}
    fields = {**table, "baseline": int(match["baseline"])}
    return NextStep(_patch(found, track, fields), "if that tool has applied the same files")


def _logs(found: Json, track: Track, state: Json) -> NextStep | None:
    return NextStep(_ours(found, "logs", "--track", track))


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
