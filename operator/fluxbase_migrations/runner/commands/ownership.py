"""Which set owns a track of a database; it is claimed in the history before anything else is done."""

import dataclasses
from collections.abc import Sequence

from fluxbase_migrations.core.errors import Conflict
from fluxbase_migrations.core.job import SetRef, TakeOverCommand
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome


@dataclass(frozen=True, slots=True)
class Owner:
    """Which set a job runs for, and whose ownership it may take."""

    set: SetRef
    take_over_from: str | None = None
    take_over: TakeOverCommand | None = None


def claim(track: LockedTrack, owner: Owner) -> SetRef | None:
    """Record that this set owns the track of this database; returns the previous owner if it was taken over.

    Raises:
        Conflict: another set owns it, and no command allows to take it over.
    """
    claimant, current = owner.set, require_claimable(track, owner)
    if current is None:
        _record(track, claimant)
        return None
    if current.uid == claimant.uid:
        if current != claimant and claimant.cluster is not None:
            _record(track, claimant)
        return None
    command = _pending_command(track, owner)
    _record(track, claimant, taken_from=current, token=command.token if command else None)
    return current


def require_claimable(track: LockedTrack, owner: Owner) -> SetRef | None:
    """See that this set owns the track or may claim it, without doing so; returns the present owner.

    Raises:
        Conflict: another set owns it, and no command allows to take it over.
    """
    claimant, current = owner.set, owner_of(track.entries())
    if current is None or current.uid == claimant.uid:
        return current
    command = _pending_command(track, owner)
    if current.uid not in (owner.take_over_from, command.uid if command else None):
        # Deleted and created again, by a new installation for example.
        earlier = f" of the uid {current.uid}" if str(current) == str(claimant) else ""
        raise Conflict(f"{track.table} belongs to the FluxbaseMigrationSet {current}{earlier}", owner=current)
    return current


def _pending_command(track: LockedTrack, owner: Owner) -> TakeOverCommand | None:
    """The command, unless it was carried out before: another set may have taken the track over since."""
    command = owner.take_over
    if command is None or track.is_obeyed(EntryKind.OWNER, command.token):
        return None
    return command


def _record(
    track: LockedTrack, claimant: SetRef, *, taken_from: SetRef | None = None, token: str | None = None
) -> None:
    details = dataclasses.asdict(claimant)
    if taken_from is not None:
        details["taken_from"] = dataclasses.asdict(taken_from)
    track.record(
        EntryKind.OWNER,
        EntryOutcome.APPLIED,
        details=details,
        token=token,
    )


def owner_of(entries: Sequence[Entry]) -> SetRef | None:
    """The set that claimed the track last; ``entries`` are oldest first."""
    for entry in reversed(entries):
        if entry.kind is EntryKind.OWNER:
            details, cluster = entry.details, entry.details.get("cluster")
            uid, namespace, name = (str(details.get(key)) for key in ("uid", "namespace", "name"))
            return SetRef(uid, namespace, name, str(cluster) if cluster else None)
    return None
