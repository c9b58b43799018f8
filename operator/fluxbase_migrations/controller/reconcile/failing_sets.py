"""A set that cannot be looked at says so: an old Ready must not stand while nobody reconciles it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from fluxbase_migrations.api import conditions, status_json
from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.api.spec import Database
from fluxbase_migrations.api.status import Condition, SetStatus
from fluxbase_migrations.controller.client import paths
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.reconcile.events import EventRecorder
from fluxbase_migrations.controller.watch.store import ObjectKind, Store, Stored
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.text import cut, visible
from fluxbase_migrations.decisions import facts
from fluxbase_migrations.decisions.desired import EventNote

logger = logging.getLogger(__name__)


PATIENCE: Final = 3
"""Failures in a row of an API server that is busy or away, before a set's status tells of them."""
_WRITE_LIMIT: Final = 30.0
_MESSAGE_LIMIT: Final = 500
_PASSING: Final = frozenset({0, 404, 409, 429})
"""An API server that does not answer, was faster, or asks for patience."""


def passes(error: BaseException) -> bool:
    """Whether it is about the API server, and so passes by itself."""
    return isinstance(error, KubeError) and (error.status in _PASSING or error.status >= 500)


def lasts(error: BaseException, failures: int) -> bool:
    """Whether the set may not be looked at again for long: what its Job does is not known until then."""
    return failures >= PATIENCE and not passes(error)


def reason_why(error: BaseException, failures: int) -> str | None:
    """What to tell of ``error`` as the message of a condition; None while it may well pass by itself."""
    match error:
        case KubeError() if passes(error) and failures < PATIENCE:
            return None
        case KubeError():
            return _line(f"the API server refused a request: {error}")
        case TimeoutError():
            return "reconciling the set took too long; it will be retried automatically"
        case ValidationError():
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("spec", *first["loc"]))
            return _line(f"the set as it is stored cannot be read: {where}: {first['msg']}")
        case _:
            return _line(f"a fault of the operator, please report it: {type(error).__name__}: {error}")


def _line(text: str) -> str:
    return cut(visible(text), _MESSAGE_LIMIT)


class FailingSets:
    """Writes the condition, and one Event for each new reason."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        recorder: EventRecorder,
        clock: Callable[[], datetime],
        requeue: Callable[[NamespacedName, float], None],
    ) -> None:
        """``again`` asks for another look at a set in some seconds."""
        self._kube = kube
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._requeue = requeue

    async def report(
        self, key: NamespacedName, message: str, responsible: Callable[[Json], bool]
    ) -> SetStatus | None:
        """Let the set's status say ``message``, unless it does. Never raises: it could not be told anyway.

        Returns the status; None where it was not told, or is not ours to tell.
        """
        try:
            async with asyncio.timeout(_WRITE_LIMIT):
                body = await self._kube.find(paths.one_set(*key))
                if body is None or not responsible(body):
                    return None
                if self._store.put(Stored.of(ObjectKind.SET, body)):
                    self._requeue(key, 0.0)  # it may be what mends it, and is no news any more to a watch
                return await self._write(key, body, message)
        except Exception as error:
            logger.debug("%s/%s: not told: %s", *key, error)
            return None

    async def _write(self, key: NamespacedName, body: Json, message: str) -> SetStatus:
        """The conditions change; what was read stays, unless spec.database names another one by now."""
        now, generation = self._clock(), body["metadata"]["generation"]
        before = body.get("status") or {}
        shown = conditions.failing(_conditions(before), generation, now, message)
        written = status_json.write_conditions(shown)
        kept, notes = _of_spec(before, body)
        news = {"phase": Phase.PENDING, **kept, "observedGeneration": generation, "conditions": written}
        if news == before:
            return _readable(news)
        try:
            answer = await self._kube.replace(paths.set_status(*key), {**body, "status": news})
        except KubeError as error:
            if error.status != 422:
                raise
            # What is stored is no status of ours: it is begun anew.
            news = {"observedGeneration": generation, "phase": Phase.PENDING, "conditions": written}
            answer = await self._kube.replace(paths.set_status(*key), {**body, "status": news})
        self._store.put(Stored.of(ObjectKind.SET, answer))
        for note in (EventNote(True, EventReason.RECONCILE_ERROR, message), *notes):
            await self._recorder.event(body, note, now)
        return _readable(news)


def _readable(status: Json) -> SetStatus:
    try:
        return status_json.read(status)
    except ValueError:
        return SetStatus()


def _of_spec(status: Json, body: Json) -> tuple[Json, tuple[EventNote, ...]]:
    """The status without facts of a database that ``spec.database`` does not name any more."""
    try:
        known = status_json.read(status)
        named = Database.model_validate(body["spec"]["database"]).digest()
    except (ValueError, LookupError, TypeError):
        return status, ()  # whether it names another one cannot be told
    if known.database_digest in (None, named):
        return status, ()
    changed, notes = facts.undecided(known, named)
    return status_json.write(changed), notes


def _conditions(status: Json) -> tuple[Condition, ...]:
    try:
        return status_json.read({"conditions": status.get("conditions") or []}).conditions
    except ValueError:
        return ()
