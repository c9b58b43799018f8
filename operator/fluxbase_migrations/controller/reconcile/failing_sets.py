"""The status of a set that cannot be reconciled: it must not keep an outdated Ready condition."""

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
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.reconcile.events import EventRecorder
from fluxbase_migrations.controller.watch.store import ObjectKind, Store, Stored
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.text import cut, visible
from fluxbase_migrations.decisions import facts
from fluxbase_migrations.decisions.desired import EventNote

logger = logging.getLogger(__name__)


PATIENCE: Final = 3
"""Consecutive failures of a busy or unavailable API server before the set's status reports them."""
_WRITE_LIMIT: Final = 30.0
_MESSAGE_LIMIT: Final = 500
_TRANSIENT_STATUSES: Final = frozenset({0, 404, 409, 429})
"""No answer, not found, a conflict, or too many requests."""


def is_transient(error: BaseException) -> bool:
    """Whether the API server is busy or unavailable, so that a retry can succeed."""
    return isinstance(error, KubeError) and (error.status in _TRANSIENT_STATUSES or error.status >= 500)


def is_persistent(error: BaseException, failures: int) -> bool:
    """Whether no retry is expected to succeed soon: until one does, the set's Jobs are not observed."""
    return failures >= PATIENCE and not is_transient(error)


def condition_message(error: BaseException, failures: int) -> str | None:
    """The condition's message for ``error``; None while a retry is expected to succeed."""
    match error:
        case KubeError() if is_transient(error) and failures < PATIENCE:
            return None
        case KubeError():
            return _line(f"the API server refused a request: {error}")
        case TimeoutError():
            return "reconciling the set took too long; it will be retried automatically"
        case ValidationError():
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("spec", *first["loc"]))
            return _line(f"the stored resource cannot be read: {where}: {first['msg']}")
        case _:
            return _line(f"internal error, please report it: {type(error).__name__}: {error}")


def _line(text: str) -> str:
    return cut(visible(text), _MESSAGE_LIMIT)


class FailingSets:
    """Writes the conditions of failing sets, and an Event for each new message."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        recorder: EventRecorder,
        clock: Callable[[], datetime],
        requeue: Callable[[NamespacedName, float], None],
    ) -> None:
        """``requeue`` queues a set to be reconciled again after a number of seconds."""
        self._kube = kube
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._requeue = requeue

    async def report(
        self, key: NamespacedName, message: str, responsible: Callable[[Json], bool]
    ) -> SetStatus | None:
        """Write ``message`` into the set's conditions, if it is new. Errors are logged, never raised.

        Returns the status; None where it was not written, or another installation is responsible.
        """
        try:
            async with asyncio.timeout(_WRITE_LIMIT):
                body = await self._kube.find(Resource.SETS, *key)
                if body is None or not responsible(body):
                    return None
                if self._store.put(Stored.of(ObjectKind.SET, body)):
                    self._requeue(key, 0.0)  # it may solve the problem, and a watch will not report it again
                return await self._write(key, body, message)
        except Exception as error:
            logger.debug("%s/%s: status not written: %s", *key, error)
            return None

    async def _write(self, key: NamespacedName, body: Json, message: str) -> SetStatus:
        """Write the conditions; the rest of the status stays, but for facts of a former spec.database."""
        now, generation = self._clock(), body["metadata"]["generation"]
        before = body.get("status") or {}
        failing = conditions.failing(_conditions(before), generation, now, message)
        written = status_json.write_conditions(failing)
        kept, notes = _without_former_database(before, body)
        status = {"phase": Phase.PENDING, **kept, "observedGeneration": generation, "conditions": written}
        if status == before:
            return _readable(status)
        try:
            answer = await self._kube.replace(Resource.SETS, *key, {**body, "status": status}, "status")
        except KubeError as error:
            if error.status != 422:
                raise
            # The stored status has another shape than the schema: it is replaced.
            status = {"observedGeneration": generation, "phase": Phase.PENDING, "conditions": written}
            answer = await self._kube.replace(Resource.SETS, *key, {**body, "status": status}, "status")
        self._store.put(Stored.of(ObjectKind.SET, answer))
        for note in (EventNote(True, EventReason.RECONCILE_ERROR, message), *notes):
            await self._recorder.event(body, note, now)
        return _readable(status)


def _readable(status: Json) -> SetStatus:
    try:
        return status_json.read(status)
    except ValueError:
        return SetStatus()


def _without_former_database(status: Json, body: Json) -> tuple[Json, tuple[EventNote, ...]]:
    """The status without facts of a database that ``spec.database`` no longer names, and Events of that."""
    try:
        known = status_json.read(status)
        named = Database.model_validate(body["spec"]["database"]).digest()
    except (ValueError, LookupError, TypeError):
        return status, ()  # not known whether spec.database names another database
    if known.database_digest in (None, named):
        return status, ()
    changed, notes = facts.reset_for_new_database(known, named)
    return status_json.write(changed), notes


def _conditions(status: Json) -> tuple[Condition, ...]:
    try:
        return status_json.read({"conditions": status.get("conditions") or []}).conditions
    except ValueError:
        return ()
