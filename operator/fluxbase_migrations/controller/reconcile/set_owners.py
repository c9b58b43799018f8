"""The owner of a database's track: the state of the set that a run has read from the database."""

from fluxbase_migrations.api import conditions, status_json
from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.status import Owner, TrackStatus
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName, get_if_allowed
from fluxbase_migrations.controller.client.resources import NAME, Resource
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    Phase,
    Track,
)
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.job_state import (
    ObservedPod,
)
from fluxbase_migrations.decisions.owner import OwnerState


class SetOwners:
    """Looks up owners in the API server."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._clusters: dict[str, str] = {}
        """By uid of the set, see :meth:`cluster`."""

    async def state(
        self, track: Track, owner: Owner | None, database: DatabaseIdentity | None
    ) -> OwnerState | None:
        """The state of the set that claims ``track`` of ``database``; None without an owner."""
        if owner is None:
            return None
        namespace, _, name = owner.name.partition("/")
        if not (NAME.fullmatch(namespace) and NAME.fullmatch(name)):
            return OwnerState.ELSEWHERE  # the database is untrusted: this name cannot be looked up
        try:
            body = await self._kube.find(Resource.SETS, namespace, name)
        except KubeError as error:
            if error.status == 403:
                return OwnerState.UNREADABLE
            raise
        if body is not None and body["metadata"]["uid"] == owner.uid:
            return OwnerState.RELEASED if has_released(body, track, database) else OwnerState.PRESENT
        cluster = await self._namespace_uid(namespace)
        same = cluster is not None and cluster == owner.cluster
        return OwnerState.DELETED if same else OwnerState.ELSEWHERE

    async def cluster(self, key: NamespacedName, uid: str) -> str | None:
        """An identity of this cluster, to tell its sets from another's: the uid of the set's namespace.

        None without the right to read it. A set never outlives its namespace, so it is read once.
        """
        known = self._clusters.get(uid)
        if known is None:
            known = await self._namespace_uid(key[0])
            if known is not None:  # otherwise the right to read it may still be given
                self._clusters[uid] = known
        return known

    def forget(self, uid: str) -> None:
        """Drop what is known about a set that is gone."""
        self._clusters.pop(uid, None)

    async def _namespace_uid(self, namespace: str) -> str | None:
        body = await get_if_allowed(self._kube, Resource.NAMESPACES, None, namespace)
        return str(body["metadata"]["uid"]) if body else None


def owner_of(
    record: TrackStatus, pods: tuple[ObservedPod, ...]
) -> tuple[Owner | None, DatabaseIdentity | None]:
    """The set that owns the track, and of which database, as the newest run has read it."""
    for pod in pods:
        result = pod.result
        if record.outstanding and pod.run == record.run and result and result.outcome is Outcome.CONFLICT:
            owner = Owner(result.owner, result.owner_uid, result.owner_cluster) if result.owner else None
            return owner, result.database
    return record.claimed_by if record.outcome is Outcome.CONFLICT else None, record.database


def has_released(body: Json, track: Track, database: DatabaseIdentity | None) -> bool:
    """Whether a set's status says that it no longer uses this track of the database."""
    try:
        status = status_json.read(body.get("status"))
    except ValueError:
        return False
    record = status.tracks.of(track)
    if status.observed_generation != body["metadata"]["generation"] or record.outstanding:
        return False
    if conditions.is_failing(status.conditions):
        return False  # only the conditions are about this generation
    unused = record.phase is Phase.SKIPPED and record.reason in (Reason.DISABLED, Reason.NO_SOURCE)
    return unused or differs(record.database, database)
