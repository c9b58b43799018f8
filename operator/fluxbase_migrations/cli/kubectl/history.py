"""``kubectl fluxbase history``: what the status still tells, and where the whole history is."""

import shlex
from collections.abc import Iterator
from datetime import datetime

from fluxbase_migrations.cli.kubectl.ages import age
from fluxbase_migrations.cli.kubectl.layout import table
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ENV_DATABASE_URL, HISTORY_TABLE, Track
from fluxbase_migrations.core.text import elapsed


def history(migration_set: Json, now: datetime, width: int | None) -> Iterator[str]:
    """The files that the last run of each track executed, then the command that reads all."""
    tracks = migration_set.get("status", {}).get("tracks", {})
    rows = [row for track in Track for row in _rows(track, tracks.get(track, {}), now)]
    if rows:
        yield from table([("TRACK", "VERSION", "NAME", "DIRECTION", "TOOK", "AGE"), *rows], width, (2,))
    else:
        yield "the status names no file: the last run of each track had nothing to do, or none has ended"
    yield ""
    yield f"that is the last run of each track; to read the whole migrations.{HISTORY_TABLE} in the database:"
    yield from (f"  {line}" for line in _command(migration_set))


def _rows(track: Track, state: Json, now: datetime) -> Iterator[tuple[str, ...]]:
    for file in state.get("applied", []):
        yield (
            track,
            str(file["version"]),
            file["name"],
            file["direction"],
            elapsed(file["seconds"]),
            age(state.get("finishedAt"), now),
        )


def _command(migration_set: Json) -> Iterator[str]:
    """How to read it where the database can be reached."""
    namespace = migration_set["metadata"]["namespace"]
    reference = migration_set["spec"]["database"].get("urlFrom", {}).get("secretKeyRef")
    if reference is None:
        connection = migration_set["spec"]["database"].get("connection", {})
        host, name = connection.get("host", ""), connection.get("name", "")
        yield f"{shlex.join([f'PGHOST={host}', f'PGDATABASE={name}'])} fluxbase-migrate history"
        return
    words = ["kubectl", "get", "secret", reference["name"], "-n", namespace, "-o"]
    key = reference["key"].replace(".", "\\.")
    path = shlex.quote(f"jsonpath={{.data.{key}}}")
    yield f'{ENV_DATABASE_URL}="$({shlex.join(words)} {path} | base64 -d)" fluxbase-migrate history'
