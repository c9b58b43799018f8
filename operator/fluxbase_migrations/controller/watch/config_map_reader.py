"""ConfigMaps as sources: read when they change, kept as digests; and which sets refer to them."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fluxbase_migrations.api.status import SourceRead
from fluxbase_migrations.controller.client.kube import METADATA, Kube, NamespacedName, number
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.config_maps import RULES, is_read, merged
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.core.result import ErrorInfo

_SMALL_FILE: Final = 64 * 1024
"""Bytes; Linux takes 128 KiB for one variable."""
_SMALL_TOTAL: Final = 256 * 1024
"""Bytes; Linux takes 2 MiB for all, at a stack limit of 8 MiB."""
_SMALL_COUNT: Final = 50
"""Files; each is a few lines of the Job's manifest."""

_SourceKey = tuple[UnknownFiles, tuple[NamespacedName, ...]]
"""What is read as one: the ConfigMaps of a source, and what else in them is an error."""


@dataclass(frozen=True, slots=True)
class ObservedSource:
    """What was read of a track's ConfigMaps."""

    missing: tuple[str, ...] = ()
    """Names of ConfigMaps that do not exist."""
    digest: str | None = None
    versions: tuple[int, ...] | None = ()
    """Of its migration files, in order; None: they were not read, the status says what was read before."""
    invalid: ErrorInfo | None = None
    """Why no run could use the files."""
    small: tuple[NamespacedName, ...] = ()
    """ConfigMap and key of every file, where all are small enough for a container's environment."""
    objects: tuple[str, ...] = ()
    """The version of each ConfigMap that was read."""

    @property
    def recorded(self) -> SourceRead | None:
        """What the status records of it; None if it has no files that a run could use."""
        if not self.versions or self.digest is None or self.invalid:
            return None
        return SourceRead(self.objects, self.digest, RULES)


@dataclass(frozen=True, slots=True)
class Current:
    """The last known version of a ConfigMap."""

    at: int = 0
    """The resourceVersion at which it was observed."""
    version: str | None = None
    """Its uid and resourceVersion; None: there is none."""
    known: bool = False
    """Whether it is still watched, so that the version is current."""


class ConfigMapIndex:
    """Which sets refer to which ConfigMaps. An event of any other ConfigMap is dropped unread."""

    def __init__(self) -> None:
        self._by_set: dict[NamespacedName, frozenset[NamespacedName]] = {}
        self._by_source: dict[NamespacedName, set[NamespacedName]] = {}

    def put(self, owner: NamespacedName, sources: frozenset[NamespacedName]) -> frozenset[NamespacedName]:
        """The set ``owner`` refers to these and no others; returns those that no set refers to any more."""
        before = self._by_set.get(owner, frozenset())
        if before == sources:
            return frozenset()
        for gone in before - sources:
            self._by_source[gone].discard(owner)
            if not self._by_source[gone]:
                del self._by_source[gone]
        for new in sources - before:
            self._by_source.setdefault(new, set()).add(owner)
        if sources:
            self._by_set[owner] = sources
        else:
            self._by_set.pop(owner, None)
        return frozenset(gone for gone in before - sources if gone not in self._by_source)

    def of(self, source: NamespacedName) -> frozenset[NamespacedName]:
        """The sets that refer to a ConfigMap."""
        return frozenset(self._by_source.get(source, ()))


class ConfigMapReader:
    """Reads ConfigMaps, and each body only if its resourceVersion is new. Keeps no content.

    Where the ConfigMaps of a namespace are watched without a gap, what was read of one counts until the watch
    tells of a change; elsewhere its metadata is asked for each time.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._seen: dict[_SourceKey, ObservedSource] = {}
        """What was read, as long as somebody asks for each of the ConfigMaps."""
        self._seen_with: dict[NamespacedName, set[_SourceKey]] = {}
        """Of which of these each ConfigMap is a part."""
        self._current: dict[NamespacedName, Current] = {}
        """Every ConfigMap that was asked for, as it is now."""
        self._watched: set[str | None] = set()

    async def read(
        self,
        namespace: str,
        names: tuple[str, ...],
        unknown_files: UnknownFiles = UnknownFiles.FAIL,
        recorded: SourceRead | None = None,
    ) -> ObservedSource:
        """Observe the ConfigMaps of one source.

        ``recorded`` is what a status says of them. It may have been written by another process, and counts
        only where a watch shows that these very ConfigMaps are unchanged: same uid and resourceVersion.
        """
        keys = unknown_files, tuple((namespace, name) for name in names)
        for key in keys[1]:
            self._current.setdefault(key, Current())
        known = self._seen.get(keys)
        current = await self._versions(keys[1], ask=known is not None)
        if current is not None:
            missing = tuple(name for name, one in zip(names, current, strict=True) if one is None)
            if missing:
                return ObservedSource(missing=missing)
            if known and known.objects == current:
                return known
            if recorded and (recorded.objects, recorded.rules) == (current, RULES):
                return ObservedSource(digest=recorded.digest, versions=None, objects=recorded.objects)
        bodies, missing = await self._find(namespace, names)
        if missing:
            return ObservedSource(missing=missing)
        objects = tuple(version_of(one) or "" for one in bodies.values())
        seen = replace(summarize(bodies, unknown_files), objects=objects)
        self._seen[keys] = seen
        for key in keys[1]:
            self._seen_with.setdefault(key, set()).add(keys)
        return seen

    def expect(self, keys: Iterable[NamespacedName]) -> None:
        """Announce keys that will be read, so that the next list of metadata includes their versions."""
        for key in keys:
            self._current.setdefault(key, Current())

    def forget(self, keys: Iterable[NamespacedName]) -> None:
        """Drop what is known of these: no set refers to them any more."""
        for key in keys:
            self._current.pop(key, None)
            for source in self._seen_with.pop(key, ()):
                self._seen.pop(source, None)

    def asked_for(self) -> frozenset[NamespacedName]:
        """The keys of all ConfigMaps that sets refer to."""
        return frozenset(self._current)

    def note(self, key: NamespacedName, at: int, version: str | None) -> bool:
        """Record a ConfigMap's version (None: gone) as of ``at``; returns whether it has changed."""
        known = self._current.get(key)
        if known is None or known.at > at > 0:
            return False
        self._current[key] = Current(at, version, known=True)
        return known.version != version or not (known.known or version)

    def listed(
        self,
        namespace: str | None,
        before: frozenset[NamespacedName],
        found: Mapping[NamespacedName, str],
        at: int,
    ) -> list[NamespacedName]:
        """All ConfigMaps of a namespace, or of all; from now on they are watched.

        ``before`` is what :meth:`asked_for` gave before the list was made, and ``found`` has the versions of
        those among them that exist, at the resourceVersion ``at``. Returns those of which that is news.
        """
        self._watched.add(namespace)
        news = []
        for key in [one for one in self._current if namespace in (None, one[0])]:
            if key not in before:
                # It was asked for while the list was made: whether before it or after it is not known.
                self._current[key] = Current()
                news.append(key)
            elif key in found:
                if self.note(key, number(found[key].rpartition("/")[2]), found[key]):
                    news.append(key)
            elif self.note(key, at, None):
                news.append(key)
        return news

    def lost(self, namespace: str | None) -> None:
        """The ConfigMaps of a namespace, or of all, are not watched: changes may have been missed."""
        self._watched.discard(namespace)
        for key in [one for one in self._current if namespace in (None, one[0])]:
            self._current[key] = replace(self._current[key], known=False)

    async def _versions(
        self, keys: tuple[NamespacedName, ...], *, ask: bool
    ) -> tuple[str | None, ...] | None:
        """The present version of each, None where there is none; None altogether if that is not known."""
        namespace = keys[0][0]
        current = [self._current[key] for key in keys]
        if self._watched & {None, namespace} and all(one.known for one in current):
            return tuple(one.version for one in current)
        if not ask:
            return None
        found, _ = await self._find(namespace, tuple(name for _, name in keys), METADATA)
        return tuple(version_of(found[name]) if name in found else None for _, name in keys)

    async def _find(
        self, namespace: str, names: tuple[str, ...], accept: str | None = None
    ) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The ConfigMaps by name, and the names of those that do not exist or are being deleted."""
        keys = [(namespace, name) for name in names]
        before = [self._current[key] for key in keys]
        found = await asyncio.gather(
            *(self._kube.find(Resource.CONFIG_MAPS, *key, accept=accept) for key in keys)
        )
        there = {}
        for key, body, known in zip(keys, found, before, strict=True):
            version = version_of(body) if body else None
            if body is not None:
                self.note(key, number(body["metadata"]["resourceVersion"]), version)
            elif self._current.get(key) == known:
                self._current[key] = Current(known.at, known=True)
            if body is not None and version is not None:
                there[key[1]] = body
        return there, tuple(name for name in names if name not in there)


def version_of(body: Json) -> str | None:
    """The object's uid and resourceVersion; None while it is being deleted."""
    metadata = body["metadata"]
    if metadata.get("deletionTimestamp"):
        return None
    return f"{metadata['uid']}/{metadata['resourceVersion']}"


def summarize(bodies: dict[str, Json], unknown_files: UnknownFiles = UnknownFiles.FAIL) -> ObservedSource:
    """Digest and validity of the files in ``bodies`` (ConfigMap name → ConfigMap)."""
    try:
        files = merged(bodies, unknown_files)
    except InvalidSource as error:
        return ObservedSource(invalid=error.info)
    return replace(of_files(files, unknown_files), small=_small(bodies, files))


def of_files(files: dict[str, bytes], unknown_files: UnknownFiles = UnknownFiles.FAIL) -> ObservedSource:
    """Digest, versions and validity of files by name."""
    digest = source_digest(files)
    try:
        source = MigrationFiles.scan(files, unknown_files)
        for file_found in source:
            file_found.check()
    except InvalidSource as error:
        return ObservedSource(digest=digest, invalid=error.info)
    return ObservedSource(digest=digest, versions=source.versions)


def _small(bodies: dict[str, Json], files: dict[str, bytes]) -> tuple[NamespacedName, ...]:
    """ConfigMap and key of each migration file, if the environment can hold them all; otherwise nothing.

    The kubelet looks for a pod's volumes every 300 ms only, and a variable it fills at once.
    """
    wanted = {name: content for name, content in files.items() if is_read(name)}
    fits = (
        len(wanted) <= _SMALL_COUNT
        and sum(map(len, wanted.values())) <= _SMALL_TOTAL
        and all(len(content) <= _SMALL_FILE and b"\0" not in content for content in wanted.values())
        and not any(is_read(name) for body in bodies.values() for name in body.get("binaryData") or ())
    )
    if not fits:
        return ()
    return tuple(
        (name, key)
        for name, body in bodies.items()
        for key in sorted(body.get("data") or ())
        if key in wanted
    )
