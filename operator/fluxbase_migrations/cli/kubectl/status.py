"""What ``kubectl fluxbase status`` prints: a pure function of the set as JSON."""

import dataclasses
from collections.abc import Iterator

from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.cli.kubectl.layout import fitted
from fluxbase_migrations.cli.kubectl.next_step import NextStep, next_step
from fluxbase_migrations.cli.kubectl.set_view import COMMANDS, condition
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.json_names import Json, camel
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.core.text import elapsed, visible


def render(migration_set: Json, width: int | None = None, indent: str = "") -> str:
    """The set for a person: a line for the whole, a few for each track, and what to type next."""
    step = next_step(migration_set)
    lines = fitted([visible(line) for line in _lines(migration_set, step)], width)
    if step is not None:  # in one piece, to be copied
        lines += ["", f"  next: {visible(str(step))}"]
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _lines(migration_set: Json, step: NextStep | None) -> Iterator[str]:
    metadata, status, spec = (
        migration_set["metadata"],
        migration_set.get("status", {}),
        migration_set.get("spec", {}),
    )
    ready = condition(migration_set, "Ready")
    because = ""
    if ready.get("status") != "True" and ready.get("reason"):
        because = f" ({ready['reason']})"
    yield f"{metadata['namespace']}/{metadata['name']}: {status.get('phase', 'not looked at yet')}{because}"
    if not status:
        where = metadata["namespace"]
        yield f"  no operator has picked it up: one must run (kubectl fluxbase version) and watch {where}"
    tracks = status.get("tracks", {})
    is_in_track = any(
        state.get("message") and state["message"] in ready.get("message", "") for state in tracks.values()
    )
    if because and not is_in_track and ready.get("message"):
        yield f"  {ready['message']}"
    if spec.get("suspend"):
        resume = f"kubectl fluxbase resume {metadata['name']}"
        yield f"  suspended: no further run starts until {resume}, or spec.suspend=false"
    for annotation, name in COMMANDS.items():
        command = status.get("commands", {}).get(name, {})
        if command.get("state") in (CommandState.WAITING, CommandState.REFUSED):
            yield f"  {annotation}={command['value']}: {command['state']}: {command.get('message', '')}"
    for track in Track:
        if state := tracks.get(track):
            yield ""
            yield from _track(track, _without_repetition(state, tracks.get(Track.SYSTEM, {})), step)


def _without_repetition(state: Json, system: Json) -> Json:
    """The state of a track whose message, while it waits for the system track, does not quote that one's."""
    message, quoted = str(state.get("message", "")), system.get("message")
    if state.get("reason") != Reason.WAITING_FOR_SYSTEM or not quoted or quoted not in message:
        return state
    return {**state, "message": message[: message.index(quoted)].rstrip(": ")}


def _track(track: Track, state: Json, step: NextStep | None) -> Iterator[str]:
    nothing = "nothing applied" if state.get("pending") is not None else "version not known"
    version = nothing if state.get("version") is None else f"version {state['version']}"
    of = f" of {state['latest']}" if state.get("latest") is not None else ""
    dirty = " (dirty)" if state.get("dirty") else ""
    pending = f", {state['pending']} pending" if state.get("pending") else ""
    yield f"  {track:<7} {state.get('phase', '')}: {version}{of}{dirty}{pending}"
    if progress := state.get("progress"):
        yield f"          running {progress['file']}, {progress['number']} of {progress['total']}"
        if progress.get("waiting"):
            yield f"          waiting for {progress['waiting']}"
    yield from _message(state, step)
    yield from _error(state)
    yield from _findings(state)
    for file in state.get("applied", []):
        took = elapsed(file["seconds"])
        yield f"          {file['direction']:<4} {file['version']} {file['name']} ({took})"


def _message(state: Json, step: NextStep | None) -> Iterator[str]:
    """What the message says beside the error, which has lines of its own, and the next step."""
    message = str(state.get("message", ""))
    if error := state.get("error"):
        error_text = describe(ErrorInfo(**{name: error[key] for name, key in _ERROR_FIELDS if key in error}))
        if message.startswith(error_text.rstrip(".")):
            message = message[len(error_text.rstrip(".")) :].lstrip(".; ")
            message = message.removeprefix(f"(dirty at version {state.get('version')})").lstrip(". ")
            if step is not None and state.get("phase") == Phase.FAILED:
                return
    if message and not (state.get("phase") == Phase.APPLIED and message == f"version {state.get('version')}"):
        yield f"          {message}"


_ERROR_FIELDS = [(field.name, camel(field.name)) for field in dataclasses.fields(ErrorInfo)]


def _error(state: Json) -> Iterator[str]:
    if error := state.get("error"):
        where = [error["file"]] if error.get("file") else []
        where += [f"{name} {error[name]}" for name in ("line", "column", "statement") if error.get(name)]
        code = f" (SQLSTATE {error['sqlState']})" if error.get("sqlState") else ""
        yield f"          error{' in ' + ', '.join(where) if where else ''}: {error.get('message', '')}{code}"
        for name in ("detail", "hint", "effect"):
            if error.get(name):
                yield f"          {name}: {error[name]}"


def _findings(state: Json) -> Iterator[str]:
    """Warnings and exposed objects of the last run."""
    for warning in state.get("warnings", []):
        yield f"          warning: {warning}"
    exposures = state.get("exposures", [])
    for exposure in exposures:
        access = f"{', '.join(exposure.get('roles', []))} can {', '.join(exposure.get('privileges', []))}"
        yield f"          exposed: {exposure['kind']} {exposure['name']}: {access}"
        if exposure.get("statement"):
            yield f"            close it with: {exposure['statement']}"
    if (more := state.get("exposed", 0) - len(exposures)) > 0:
        yield f"          exposed: {more} more"
