"""Facts are shown for the database that they were read from, and that one is the set's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from tests.chaos.checks import LATE
from tests.chaos.database import Database
from tests.chaos.history import Revision
from tests.chaos.places import Placed
from tests.chaos.rows import State


@dataclass(frozen=True)
class Evidence:
    """What a database really held."""

    history_id: str | None = None
    states: Mapping[Track, Sequence[State]] = field(default_factory=dict)
    """Of each track's row, oldest first, beginning with the first that there was."""

    @classmethod
    def of(cls, database: Database) -> "Evidence":
        return cls(database.history_id(), database.states())

    def held(self, track: Track, version: int | None, dirty: bool, until: float) -> bool:
        """Whether a row was so at some time."""
        return any(
            (one.version, one.dirty) == (version, dirty) and one.at <= until for one in self.states[track]
        )


def check_facts(revisions: Sequence[Revision], databases: Mapping[int, Evidence]) -> int:
    """What is shown is what the database of the identity beside it held; returns how much was looked at."""
    looked = 0
    for one in revisions:
        for track, record in _records(one.body):
            told = f"{one.name} at {one.version}, {track}"
            identity, shown = record.get("database"), (record.get("version"), bool(record.get("dirty")))
            if identity is None:
                assert shown == (None, False), f"{told}: {shown} of no database"
                continue
            read = record.get("pending") is not None or shown != (None, False)  # or only found
            evidence = databases.get(identity.get("oid"))
            assert evidence is not None, f"{told}: {identity} is none of its databases"
            written = identity.get("historyId")
            assert written in (None, evidence.history_id), (
                f"{told}: {identity}, but the history's id is {evidence.history_id}"
            )
            assert not read or evidence.held(track, *shown, until=one.at + LATE), (
                f"{told}: {shown} is shown of OID {identity['oid']}, which held {evidence.states[track]}"
            )
            looked += 1
    return looked


def check_database_of_spec(revisions: Sequence[Revision], placed: Iterable[Placed]) -> None:
    """No facts are shown of a database that the Secret of the set's present spec has never led to."""
    led_to = [(one.at, one.secret, one.database.oid) for one in placed]
    for one in revisions:
        body, status = one.body, (one.body or {}).get("status") or {}
        if body is None or status.get("observedGeneration") != body["metadata"]["generation"]:
            continue
        secret = body["spec"]["database"]["urlFrom"]["secretKeyRef"]["name"]
        known = {oid for at, name, oid in led_to if name == secret and at <= one.at + LATE}
        identities = [status.get("database"), *(record.get("database") for _, record in _records(body))]
        for identity in identities:
            assert identity is None or identity["oid"] in known, (
                f"{one.name} at {one.version}: {identity} is shown; the Secret {secret} leads to {known}"
            )


def _records(body: Json | None) -> list[tuple[Track, Json]]:
    tracks = ((body or {}).get("status") or {}).get("tracks") or {}
    return [(Track(name), record) for name, record in tracks.items() if record]
