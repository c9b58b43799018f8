"""A set takes a database over from another one, as somebody does who renames a set or moves it."""

import secrets
from collections.abc import Sequence
from functools import partial

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ANNOTATION_TAKE_OVER, CommandState, Track
from fluxbase_migrations.core.result import Outcome
from tests.chaos.objects import Objects
from tests.support import kstatus

SOON = 90.0
"""Seconds in which one step must be made."""


async def take_over(objects: Objects, former: str, name: str, tracks: Sequence[Track]) -> list[Track]:
    """Let the set ``name`` take over from ``former``; returns the tracks that ``former`` had.

    Raises:
        AssertionError: it does not, or ``former`` never says that it has lost them.
    """
    owner = await objects.until(former, lambda _: True, SOON)
    assert owner is not None, f"{former} is not there"
    uid, own = owner["metadata"]["uid"], ""
    taken: list[Track] = []
    for track in tracks:
        kept_out = await objects.until(name, partial(_decided, track), SOON)
        assert kept_out is not None, f"{name} does not find out whose {track} is"
        if _claimed_by(kept_out, track) != uid:
            continue
        command = f"{track}={uid}@{secrets.token_hex(4)}"
        await objects.annotate(name, ANNOTATION_TAKE_OVER, command)
        obeyed = await objects.until(name, partial(_obeyed, command), SOON)
        assert obeyed is not None, f"{name} does not obey {ANNOTATION_TAKE_OVER}={command}"
        taken.append(track)
        own = obeyed["metadata"]["uid"]
    if taken:
        lost = await objects.until(former, partial(_has_lost, taken[0], own), SOON)
        assert lost is not None, f"{former} does not see that it has lost {', '.join(taken)} to {name}"
    return taken


def _track(body: Json, track: Track) -> Json:
    found: Json = ((body.get("status") or {}).get("tracks") or {}).get(track) or {}
    return found


def _claimed_by(body: Json, track: Track) -> str | None:
    uid: str | None = (_track(body, track).get("claimedBy") or {}).get("uid")
    return uid


def _decided(track: Track, body: Json) -> bool:
    """Whether a run of the set has found an owner, or none but itself."""
    found = _track(body, track)
    return _claimed_by(body, track) is not None or (
        found.get("readAt") is not None and found.get("outcome") not in (Outcome.CONFLICT, None)
    )


def _obeyed(value: str, body: Json) -> bool:
    command = ((body.get("status") or {}).get("commands") or {}).get("takeOver") or {}
    return (command.get("value"), command.get("state")) == (value, CommandState.OBEYED)


def _has_lost(track: Track, uid: str, body: Json) -> bool:
    """Whether a set says that another one owns its track; a track that waits for it cannot tell."""
    return kstatus.compute(body) == "Failed" and _claimed_by(body, track) == uid
