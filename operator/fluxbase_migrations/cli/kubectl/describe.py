"""``kubectl fluxbase describe``: everything about a set in one view, without what is in Secrets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from fluxbase_migrations.cli.kubectl.ages import UNKNOWN, age, moment_of, short
from fluxbase_migrations.cli.kubectl.layout import fitted, table
from fluxbase_migrations.cli.kubectl.set_view import COMMANDS, config_map_names
from fluxbase_migrations.cli.kubectl.status import render
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import LABEL_RUN, LABEL_TRACK, Track
from fluxbase_migrations.core.text import visible

_EVENTS: Final = 10
_LABEL_WIDTH: Final = 18
_SETTINGS: Final = {
    "operator": "Operator",
    "approval": "Approval",
    "recovery": "Recovery",
    "exposure": "Exposure",
    "lockTimeout": "Lock timeout",
    "ddlLockTimeout": "DDL lock timeout",
    "statementTimeout": "Statement timeout",
}
_TRACK_SETTINGS: Final = (
    "targetVersion",
    "rollback",
    "outOfOrder",
    "unknownFiles",
    "table",
    "baseline",
    "foreignTables",
    "recheckInterval",
    "allowEmpty",
)


@dataclass(frozen=True, slots=True)
class Related:
    """What belongs to a set; a text instead of a list says why it could not be read."""

    jobs: Sequence[Json] | str
    events: Sequence[Json] | str


_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's own record of the whole object, which its describe leaves out, too."""


def describe(migration_set: Json, related: Related, now: datetime, width: int | None) -> list[str]:
    """The lines of the view."""
    return [
        *fitted(_spec(migration_set, now), width),
        "",
        "Status:",
        *render(migration_set, None if width is None else width - 2, indent="  ").splitlines(),
        *_section("Conditions", _conditions(migration_set, now), width),
        *_section("Commands", _commands(migration_set, now), width),
        *_section("Runs", _unreadable_or(related.jobs, lambda jobs: _runs(jobs, now)), width),
        *_section("Events", _unreadable_or(related.events, lambda events: _events(events, now)), width),
    ]


def _spec(migration_set: Json, now: datetime) -> Iterator[str]:
    metadata, spec = migration_set["metadata"], migration_set.get("spec", {})
    yield _pair("Name", metadata["name"])
    yield _pair("Namespace", metadata["namespace"])
    yield _pair("Age", age(metadata.get("creationTimestamp"), now))
    for title, name in (("Labels", "labels"), ("Annotations", "annotations")):
        values = sorted((metadata.get(name) or {}).items())
        visible_values = [f"{key}={value}" for key, value in values if key != _LAST_APPLIED]
        if visible_values:
            yield _pair(title, ", ".join(visible_values))
    yield _pair("Suspended", "yes" if spec.get("suspend") else "no")
    yield _pair("Database", _database(spec.get("database", {})))
    for name, title in _SETTINGS.items():
        if spec.get(name):
            yield _pair(title, str(spec[name]))
    if retry := spec.get("retry"):
        yield _pair("Retry", f"{retry.get('limit')} times, after {retry.get('backoff')}")
    if verify := spec.get("verify"):
        yield _pair("Verify", f"each {verify['interval']}")
    for track in Track:
        if track in spec.get("tracks", {}):
            yield _pair(f"{track.title()} track", _track(migration_set, track))


def _pair(title: str, text: str) -> str:
    return f"{title + ':':<{_LABEL_WIDTH}} {visible(text)}"


def _database(database: Json) -> str:
    """Where it is, never what a Secret holds."""
    if secret := _secret(database.get("urlFrom")):
        return f"URL from {secret}"
    connection = database.get("connection", {})
    user = connection.get("user") or f"user from {_secret(connection.get('userFrom'))}"
    password = _secret(connection.get("passwordFrom"))
    parts = [
        f"{connection.get('host')}:{connection.get('port', 5432)}/{connection.get('name')}",
        str(user),
        f"password from {password}" if password else "no password",
        f"sslmode {connection.get('sslMode', 'prefer')}",
    ]
    return ", ".join(parts)


def _secret(source: Mapping[str, Json] | None) -> str:
    reference = (source or {}).get("secretKeyRef")
    return f"Secret {reference['name']}, key {reference['key']}" if reference else ""


def _track(migration_set: Json, track: Track) -> str:
    spec = migration_set["spec"]["tracks"][track]
    if spec.get("enabled") is False:
        return "disabled"
    claim = spec.get("source", {}).get("persistentVolumeClaim")
    if names := config_map_names(migration_set, track):
        source = f"ConfigMap{'s' if len(names) > 1 else ''} {', '.join(names)}"
    elif claim:
        source = f"PersistentVolumeClaim {claim['claimName']}, path {claim.get('path', '.')}"
    else:
        source = "built-in files" if track is Track.SYSTEM else "no source"
    settings = [
        f"{name} {_value(spec[name])}" for name in _TRACK_SETTINGS if spec.get(name, False) is not False
    ]
    return ", ".join([source, *settings])


def _value(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


Rows = list[tuple[str, ...]]


def _section(title: str, rows: Rows | str, width: int | None) -> Iterator[str]:
    yield ""
    if isinstance(rows, str):
        yield f"{title}: {visible(rows)}"
    elif len(rows) < 2:
        yield f"{title}: <none>"
    else:
        yield f"{title}:"
        inner = None if width is None else width - 2
        yield from (f"  {line}" for line in table(rows, inner, wrap=True))


def _unreadable_or(items: Sequence[Json] | str, rows: Callable[[Sequence[Json]], Rows]) -> Rows | str:
    return items if isinstance(items, str) else rows(items)


def _conditions(migration_set: Json, now: datetime) -> Rows:
    conditions = migration_set.get("status", {}).get("conditions", [])
    return [
        ("TYPE", "STATUS", "AGE", "REASON"),
        *(
            (
                condition["type"],
                condition["status"],
                age(condition.get("lastTransitionTime"), now),
                condition.get("reason", ""),
            )
            for condition in conditions
        ),
    ]


def _commands(migration_set: Json, now: datetime) -> Rows:
    commands = migration_set.get("status", {}).get("commands", {})
    return [
        ("ANNOTATION", "VALUE", "STATE", "AGE", "MESSAGE"),
        *(
            (
                annotation,
                command["value"],
                command["state"],
                age(command.get("time"), now),
                command.get("message") or "",
            )
            for annotation, name in COMMANDS.items()
            if (command := commands.get(name))
        ),
    ]


def _runs(jobs: Sequence[Json], now: datetime) -> Rows:
    """The Jobs that are still there, newest first."""
    newest = sorted(jobs, key=_created, reverse=True)
    return [
        ("TRACK", "RUN", "JOB", "STATE", "AGE", "TOOK"),
        *(
            (
                job["metadata"]["labels"].get(LABEL_TRACK, ""),
                job["metadata"]["labels"].get(LABEL_RUN, ""),
                job["metadata"]["name"],
                _state(job),
                age(job["metadata"]["creationTimestamp"], now),
                _took(job),
            )
            for job in newest
        ),
    ]


def _created(job: Json) -> tuple[str, bool, int]:
    """A sort key: time of creation; within one second, the user track's Job follows the system track's."""
    metadata = job["metadata"]
    run = metadata["labels"].get(LABEL_RUN, "")
    later = metadata["labels"].get(LABEL_TRACK) == Track.USER
    return str(metadata["creationTimestamp"]), later, int(run) if run.isdecimal() else 0


def _ended(job: Json) -> Json | None:
    conditions = job.get("status", {}).get("conditions") or ()
    return next(
        (
            condition
            for condition in conditions
            if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        ),
        None,
    )


def _state(job: Json) -> str:
    ended = _ended(job)
    if ended is not None:
        return str(ended["type"])
    return "Running" if job.get("status", {}).get("active") else "Pending"


def _took(job: Json) -> str:
    ended, began = _ended(job), moment_of(job.get("status", {}).get("startTime"))
    end = moment_of(ended.get("lastTransitionTime")) if ended else None
    return short(end - began) if began and end else ""


def _events(events: Sequence[Json], now: datetime) -> Rows:
    """The newest, oldest of them first, as kubectl describes."""
    newest = sorted(events, key=lambda event: (_last(event), _revision(event)))[-_EVENTS:]
    return [
        ("TYPE", "REASON", "AGE", "MESSAGE"),
        *(
            (event.get("type", ""), event.get("reason", ""), _seen(event, now), event.get("message", ""))
            for event in newest
        ),
    ]


def _revision(event: Json) -> int:
    """Of two within one second, the later has the higher one."""
    version = str(event["metadata"].get("resourceVersion") or "")
    return int(version) if version.isdecimal() else 0


def _last(event: Json) -> str:
    return str(
        event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    )


def _seen(event: Json, now: datetime) -> str:
    """``5m (x3 over 2h)``, as kubectl does."""
    last, count = age(_last(event), now), event.get("count") or 1
    first = age(event.get("firstTimestamp"), now)
    return f"{last} (x{count} over {first})" if count > 1 and first != UNKNOWN else last
