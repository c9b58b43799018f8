"""Sets, their Jobs and pods, as the watches deliver them: decisions are made from here, not from requests.

The store may lag behind the API server by as long as a watch does, and no decision may rely on its being up
to date; docs/operator.md says why that is safe. The store makes two guarantees: an object never goes back to
an older state, and what this process has written is in it at once.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fluxbase_migrations.controller.client.kube import NamespacedName, number
from fluxbase_migrations.controller.watch.parsing import is_selected, labels, set_of
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATIONS_UNDISTURBED,
    CONTAINER,
    GROUP,
    LABEL_SET,
    PLURAL,
)

_FORGOTTEN: Final = 10_000
"""How many uids of deleted objects are remembered."""
_FOR_GOOD: Final = sys.maxsize
"""A resourceVersion that is never reached."""


class ObjectKind(StrEnum):
    """What is watched, by its plural in the API server's paths."""

    SET = PLURAL
    JOB = "jobs"
    POD = "pods"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object, trimmed to what decisions need of it. Kept as text, which takes a fifth of the memory."""

    kind: ObjectKind
    key: NamespacedName
    """Its namespace and name."""
    uid: str
    version: int
    """Its resourceVersion."""
    group: NamespacedName
    """Namespace, and the set's name as a label; for a set, ``key``."""
    belongs_to: NamespacedName | None
    """The set that it belongs to; None if it does not say."""
    text: bytes

    @classmethod
    def of(cls, kind: ObjectKind, body: Json) -> "Stored":
        """Trim an object of the API server; ``body`` is not changed."""
        metadata = body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        owner = name if kind is ObjectKind.SET else set_of(body)
        return cls(
            kind=kind,
            key=(namespace, name),
            uid=metadata["uid"],
            version=number(metadata.get("resourceVersion")),
            group=(namespace, name if kind is ObjectKind.SET else labels(body).get(LABEL_SET, "")),
            belongs_to=(namespace, owner) if owner else None,
            text=json.dumps(_trimmed(kind, body), ensure_ascii=False, separators=(",", ":")).encode(),
        )

    def body(self) -> Json:
        """The object as JSON, without the fields that were trimmed."""
        body: Json = json.loads(self.text)
        return body


class Store:
    """Objects by uid, and by their set. For one event loop."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKind, dict[str, Stored]] = {kind: {} for kind in ObjectKind}
        self._groups: dict[ObjectKind, dict[NamespacedName, dict[str, Stored]]] = {
            kind: {} for kind in ObjectKind
        }
        self._listed: dict[tuple[ObjectKind, str | None], int] = {}
        """By kind, and namespace or None for all: the resourceVersion of the last list."""
        self._gone: OrderedDict[str, int] = OrderedDict()
        """By uid of a deleted object: the resourceVersion of the deletion. Events up to it are outdated."""

    def set(self, key: NamespacedName) -> Json | None:
        """The set; None if it does not exist."""
        stored = self._newest(key)
        return stored.body() if stored else None

    def sets(self) -> Iterator[NamespacedName]:
        """The keys of all sets."""
        return iter(list(self._groups[ObjectKind.SET]))

    def owned_by(self, kind: ObjectKind, group: NamespacedName) -> list[Json]:
        """The Jobs or pods whose label names a set, those of a former set of that name included."""
        return [stored.body() for stored in self._groups[kind].get(group, {}).values()]

    def all(self, kind: ObjectKind) -> list[Stored]:
        """All objects of a kind."""
        return list(self._objects[kind].values())

    def put(self, new: Stored) -> bool:
        """Store an object that exists; returns whether it is new or has changed."""
        listed = max(self._listed.get((new.kind, scope), 0) for scope in (None, new.key[0]))
        if new.uid not in self._objects[new.kind] and 0 < new.version <= listed:
            return False  # it is older than a list that does not contain it
        return self._put(new)

    def _put(self, new: Stored) -> bool:
        before = self._objects[new.kind].get(new.uid)
        if before and before.version >= new.version > 0:
            return False
        if new.version <= self._gone.get(new.uid, -1):
            return False
        self._gone.pop(new.uid, None)
        if before:
            self._unlink(before)
        self._objects[new.kind][new.uid] = new
        self._groups[new.kind].setdefault(new.group, {})[new.uid] = new
        return True

    def keep(self, kind: ObjectKind, body: Json) -> None:
        """Store an object that this process has written, before a watch delivers it.

        A Job or pod that has lost our label in the meantime is gone, as it is for its watch, which would
        never tell of its end.
        """
        stored = Stored.of(kind, body)
        if kind is not ObjectKind.SET and not is_selected(body):
            self.remove(kind, stored.uid, stored.version)
            return
        self.put(stored)

    def remove(self, kind: ObjectKind, uid: str, at: int = _FOR_GOOD) -> None:
        """Remove an object that is gone: as of the resourceVersion ``at`` of an event or a list, or for ever.

        A watch with a selector also reports an object as gone that has lost the label; it may get it back.
        """
        stored = self._objects[kind].get(uid)
        if stored and stored.version > at:
            return  # it is back since
        self._gone[uid] = max(at, self._gone.pop(uid, 0))
        if len(self._gone) > _FORGOTTEN:
            self._gone.popitem(last=False)
        if stored:
            del self._objects[kind][uid]
            self._unlink(stored)

    def replace(
        self, kind: ObjectKind, namespace: str | None, listed: "Listed"
    ) -> tuple[list[Stored], list[Stored]]:
        """Store the list of all objects of a kind in a namespace, or in all; what is newer than it stays.

        Returns the objects that are new or have changed, and those that are gone.
        """
        known = [stored for stored in self.all(kind) if namespace in (None, stored.key[0])]
        replaced = self._replaced(known, listed)
        self._listed[kind, namespace] = listed.version
        return replaced

    def replace_group(self, kind: ObjectKind, group: NamespacedName, listed: "Listed") -> None:
        """Store the list of all Jobs or pods of one set."""
        self._replaced(list(self._groups[kind].get(group, {}).values()), listed)

    def _replaced(self, known: list[Stored], listed: "Listed") -> tuple[list[Stored], list[Stored]]:
        present = {item.uid for item in listed.items}
        changed = [item for item in listed.items if self._put(item)]
        gone = [item for item in known if item.uid not in present and item.version <= listed.version]
        for item in gone:
            self.remove(item.kind, item.uid, listed.version)
        return changed, gone

    def _newest(self, key: NamespacedName) -> Stored | None:
        """The set of that name; where the deletion of a former one has not been delivered, the newer."""
        sets: Iterable[Stored] = self._groups[ObjectKind.SET].get(key, {}).values()
        return max(sets, key=lambda stored: stored.version, default=None)

    def _unlink(self, stored: Stored) -> None:
        group = self._groups[stored.kind][stored.group]
        del group[stored.uid]
        if not group:
            del self._groups[stored.kind][stored.group]


@dataclass(slots=True)
class Listed:
    """A whole list, as it was at one resourceVersion."""

    items: list[Stored] = field(default_factory=list)
    version: int = 0


def _trimmed(kind: ObjectKind, body: Json) -> Json:
    match kind:
        case ObjectKind.SET:
            return _set(body)
        case ObjectKind.JOB:
            return _job(body)
        case ObjectKind.POD:
            return _pod(body)


def _picked(source: Json, *names: str) -> Json:
    """The fields of ``source`` with these names, as far as they exist."""
    return {name: source[name] for name in names if name in source}


def _metadata(body: Json) -> Json:
    metadata: Json = body["metadata"]
    trimmed = _picked(
        metadata,
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "ownerReferences",
    )
    annotations = metadata.get("annotations") or {}
    ours = (f"{GROUP}/", *ANNOTATIONS_UNDISTURBED)
    trimmed["annotations"] = {name: text for name, text in annotations.items() if name.startswith(ours)}
    return trimmed


def _set(body: Json) -> Json:
    """Trim a set; of its managed fields, the managers of our annotations are kept."""
    metadata = _metadata(body)
    metadata["managedFields"] = [
        {**_picked(entry, "manager", "time"), "fieldsV1": {"f:metadata": {"f:annotations": ours}}}
        for entry in body["metadata"].get("managedFields") or ()
        if (ours := _annotations_of(entry))
    ]
    return {**_picked(body, "apiVersion", "kind", "spec", "status"), "metadata": metadata}


def _annotations_of(entry: Json) -> Json:
    fields = entry.get("fieldsV1") or {}
    annotations = (fields.get("f:metadata") or {}).get("f:annotations") or {}
    return {name: value for name, value in annotations.items() if name.startswith(f"f:{GROUP}/")}


def _labelled(body: Json) -> Json:
    ours = {name: text for name, text in labels(body).items() if name.startswith(f"{GROUP}/")}
    return {**_metadata(body), "labels": ours}


def _job(body: Json) -> Json:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    return {
        "metadata": _labelled(body),
        "spec": _picked(spec, "ttlSecondsAfterFinished"),
        "status": _picked(status, "conditions"),
    }


def _pod(body: Json) -> Json:
    status = body.get("status") or {}
    containers = status.get("containerStatuses") or ()
    own = [
        _picked(container, "name", "state") for container in containers if container.get("name") == CONTAINER
    ]
    trimmed = _picked(status, "phase", "reason", "message", "conditions")
    return {"metadata": _labelled(body), "status": {**trimmed, "containerStatuses": own}}
