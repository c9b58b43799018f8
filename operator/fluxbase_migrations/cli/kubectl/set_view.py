"""What ``kubectl fluxbase`` knows of a set, and when it has its outcome: pure functions of it as JSON."""

import json
from collections.abc import Callable
from typing import Any

from fluxbase_migrations import system
from fluxbase_migrations.api.commands import bounded
from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.core.config_maps import merged
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.errors import InvalidSource, describe
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    CommandState,
    Track,
    UnknownFiles,
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How far a set is from having what is in its source now."""

    text: str
    done: bool | None
    """True: applied; False: it will not be without a change; None: not yet."""


def as_json(api_client: Any, model: Any) -> Json:
    """A model of the Kubernetes client with the API's own field names."""
    document: Json = api_client.sanitize_for_serialization(model)
    return document


def api_message(body: object, reason: object) -> str:
    """The message of an API server's error, which comes as a Status object."""
    try:
        return str(json.loads(str(body))["message"])
    except (ValueError, KeyError, TypeError):
        return str(reason)


def condition(migration_set: Json, kind: str) -> Json:
    """The condition of that type, or an empty one."""
    conditions = migration_set.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry.get("type") == kind), {})


COMMANDS = {
    ANNOTATION_REQUESTED_AT: "requestedAt",
    ANNOTATION_FORCE: "force",
    ANNOTATION_TAKE_OVER: "takeOver",
    ANNOTATION_APPROVE: "approve",
}
"""Annotations, and where the status tells what became of them."""


def claims(migration_set: Json) -> dict[Track, Json]:
    """The sets that own a track of the database instead of this one."""
    tracks = migration_set.get("status", {}).get("tracks", {})
    return {track: owner for track in Track if (owner := tracks.get(track, {}).get("claimedBy"))}


def _command(migration_set: Json, annotation: str) -> Waiting | None:
    """Why the set is not yet what the command asks for; None: it is."""
    value = migration_set["metadata"].get("annotations", {}).get(annotation)
    command = migration_set.get("status", {}).get("commands", {}).get(COMMANDS[annotation], {})
    if not value:
        return None
    if command.get("value") != bounded(value):
        return Waiting(f"the operator has not looked at {annotation} yet", None)
    text = f"{annotation}: {command['state']}: {command.get('message', '')}"
    match command["state"]:
        case CommandState.WAITING:
            stalled = condition(migration_set, "Stalled").get("status") == "True" or migration_set[
                "spec"
            ].get("suspend")
            return Waiting(text, False if stalled else None)
        case CommandState.REFUSED:
            return Waiting(text, False)
        case _:
            return None


def config_map_names(migration_set: Json, track: Track) -> list[str]:
    """The ConfigMaps that a track reads."""
    source = migration_set.get("spec", {}).get("tracks", {}).get(track, {}).get("source", {})
    names = [source["configMap"]["name"]] if "configMap" in source else []
    return names + [config_map["name"] for config_map in source.get("configMaps", [])]


def unknown_files_of(migration_set: Json, track: Track) -> UnknownFiles:
    """What a track makes of files that are no migrations."""
    track_spec = migration_set.get("spec", {}).get("tracks", {}).get(track, {})
    return UnknownFiles(track_spec.get("unknownFiles", UnknownFiles.FAIL))


def source_files(migration_set: Json, track: Track, read_config_map: Callable[[str], Json]) -> MigrationFiles:
    """The files of a track that is not on a volume; without a source, the built-in ones or none.

    Raises:
        LookupError: a ConfigMap cannot be read.
        InvalidSource: no run could use the files.
    """
    names, unknown = config_map_names(migration_set, track), unknown_files_of(migration_set, track)
    if names:
        return MigrationFiles.scan(merged({name: read_config_map(name) for name in names}, unknown), unknown)
    return MigrationFiles.scan(system.files() if track is Track.SYSTEM else {})


def _unusable(files: dict[str, bytes], unknown_files: UnknownFiles) -> bool:
    """Whether no run would ever read these files."""
    try:
        source = MigrationFiles.scan(files, unknown_files)
        for file in source:
            file.check()
    except InvalidSource:
        return True
    return not source.versions


def _before_newer_content(track: Track, state: Json, migration_set: Json) -> str:
    """What the operator does before it applies the present content.

    A failure that is final, or success, is about the content of before; what is retried is not.
    """
    ready = condition(migration_set, "Ready")
    if condition(migration_set, "Reconciling").get("status") == "True" and ready.get("message"):
        return f"{ready['reason']}: {ready['message']}"
    return f"{track} track: {state.get('phase', 'Pending')}, newer content is on its way"


def progress(migration_set: Json, read_config_map: Callable[[str], Json]) -> Waiting:
    """Whether the set has applied its present spec, commands and source content.

    A ConfigMap's edit does not raise the set's generation, so Ready alone may be about the content of before:
    the digest of what is there now must be the one that the last run read. ``read_config_map`` raises
    LookupError, with a text for a person, where there is none of that name.
    """
    metadata, status = migration_set["metadata"], migration_set.get("status", {})
    if status.get("observedGeneration") != metadata.get("generation"):
        return Waiting("the operator has not looked at the present spec yet", None)
    for annotation in COMMANDS:
        waiting = _command(migration_set, annotation)
        if waiting is not None:
            return waiting
    ready, stalled = condition(migration_set, "Ready"), condition(migration_set, "Stalled")
    for track in Track:
        names = config_map_names(migration_set, track)
        state = status.get("tracks", {}).get(track, {})
        if not names or state.get("phase") == "Skipped":
            continue
        try:
            files = merged(
                {name: read_config_map(name) for name in names}, unknown_files_of(migration_set, track)
            )
        except LookupError as error:
            done = False if stalled.get("status") == "True" else None
            return Waiting(f"{track} track: {error}", done)
        except InvalidSource as error:
            done = False if stalled.get("status") == "True" else None
            return Waiting(f"{track} track: {describe(error.info)}", done)
        if state.get("sourceDigest") != source_digest(files):
            never = (
                ready.get("reason") == Reason.SUSPENDED
                or state.get("reason") == Reason.WAITING_FOR_SYSTEM
                or _unusable(files, unknown_files_of(migration_set, track))
            )
            if stalled.get("status") == "True" and never:
                return Waiting(f"{ready['reason']}: {ready['message']}", False)
            return Waiting(_before_newer_content(track, state, migration_set), None)
    if ready.get("status") == "True":
        return Waiting(f"{status.get('phase')}, {ready.get('message', '')}", True)
    text = f"{ready.get('reason', 'Pending')}: {ready.get('message', '')}"
    return Waiting(text, False if stalled.get("status") == "True" else None)
