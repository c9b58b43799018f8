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
"""The ConfigMaps of a source, and whether files of other names in them are an error."""


@dataclass(frozen=True, slots=True)
class ObservedSource:
    """What was read of a track's ConfigMaps."""

    missing: tuple[str, ...] = ()
    """Names of ConfigMaps that do not exist."""
    digest: str | None = None
    versions: tuple[int, ...] | None = ()
    """Versions of its migration files, in order; None: not read, the status says what was read before."""
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
    """Its uid and resourceVersion; None: it does not exist."""
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
        for dropped in before - sources:
            self._by_source[dropped].discard(owner)
            if not self._by_source[dropped]:
                del self._by_source[dropped]
        for added in sources - before:
            self._by_source.setdefault(added, set()).add(owner)
        if sources:
            self._by_set[owner] = sources
        else:
            self._by_set.pop(owner, None)
        return frozenset(source for source in before - sources if source not in self._by_source)

    def of(self, source: NamespacedName) -> frozenset[NamespacedName]:
        """The sets that refer to a ConfigMap."""
        return frozenset(self._by_source.get(source, ()))


class ConfigMapReader:
    """Reads ConfigMaps, and each body only if its resourceVersion is new. Keeps no content.

    Where the ConfigMaps of a namespace are watched without a gap, what was read is valid until the watch
    delivers a change; elsewhere the metadata is requested each time.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._observed: dict[_SourceKey, ObservedSource] = {}
        """What was read, as long as sets refer to each of the ConfigMaps."""
        self._sources_with: dict[NamespacedName, set[_SourceKey]] = {}
        """The keys of ``_observed`` that each ConfigMap is a part of."""
        self._current: dict[NamespacedName, Current] = {}
        """The last known version of every ConfigMap that sets refer to."""
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
        only where a watch shows that the ConfigMaps are unchanged: same uid and resourceVersion.
        """
        keys = tuple((namespace, name) for name in names)
        source_key = unknown_files, keys
        for key in keys:
            self._current.setdefault(key, Current())
        known = self._observed.get(source_key)
        current = await self._versions(keys, ask=known is not None)
        if current is not None:
            missing = tuple(name for name, version in zip(names, current, strict=True) if version is None)
            if missing:
                return ObservedSource(missing=missing)
            if known and known.objects == current:
                return known
            if recorded and (recorded.objects, recorded.rules) == (current, RULES):
                return ObservedSource(digest=recorded.digest, versions=None, objects=recorded.objects)
        bodies, missing = await self._find(namespace, names)
        if missing:
            return ObservedSource(missing=missing)
        objects = tuple(version_of(body) or "" for body in bodies.values())
        observed = replace(summarize(bodies, unknown_files), objects=objects)
        self._observed[source_key] = observed
        for key in keys:
            self._sources_with.setdefault(key, set()).add(source_key)
        return observed

    def expect(self, keys: Iterable[NamespacedName]) -> None:
        """Announce keys that will be read, so that the next list of metadata includes their versions."""
        for key in keys:
            self._current.setdefault(key, Current())

    def forget(self, keys: Iterable[NamespacedName]) -> None:
        """Drop what is known of these: no set refers to them any more."""
        for key in keys:
            self._current.pop(key, None)
            for source_key in self._sources_with.pop(key, ()):
                self._observed.pop(source_key, None)

    def referenced(self) -> frozenset[NamespacedName]:
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
        versions: Mapping[NamespacedName, str],
        at: int,
    ) -> list[NamespacedName]:
        """Record a list of all ConfigMaps of a namespace, or of all; from now on they are watched.

        ``before`` is what :meth:`referenced` returned before the list was requested, and ``versions`` has
        those among them that exist, at the resourceVersion ``at``. Returns the keys that have changed.
        """
        self._watched.add(namespace)
        changed = []
        for key in [key for key in self._current if namespace in (None, key[0])]:
            if key not in before:
                # A set came to refer to it while the list was made: the list may not have it.
                self._current[key] = Current()
                changed.append(key)
            elif key in versions:
                if self.note(key, number(versions[key].rpartition("/")[2]), versions[key]):
                    changed.append(key)
            elif self.note(key, at, None):
                changed.append(key)
        return changed

    def lost(self, namespace: str | None) -> None:
        """The ConfigMaps of a namespace, or of all, are not watched: changes may have been missed."""
        self._watched.discard(namespace)
        for key in [key for key in self._current if namespace in (None, key[0])]:
            self._current[key] = replace(self._current[key], known=False)

    async def _versions(
        self, keys: tuple[NamespacedName, ...], *, ask: bool
    ) -> tuple[str | None, ...] | None:
        """The present version of each ConfigMap, None where it does not exist; None if they are not known."""
        namespace = keys[0][0]
        config_maps = [self._current[key] for key in keys]
        if self._watched & {None, namespace} and all(config_map.known for config_map in config_maps):
            return tuple(config_map.version for config_map in config_maps)
        if not ask:
            return None
        bodies, _ = await self._find(namespace, tuple(name for _, name in keys), METADATA)
        return tuple(version_of(bodies[name]) if name in bodies else None for _, name in keys)

    async def _find(
        self, namespace: str, names: tuple[str, ...], accept: str | None = None
    ) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The ConfigMaps by name, and the names of those that do not exist or are being deleted."""
        keys = [(namespace, name) for name in names]
        before = [self._current[key] for key in keys]
        answers = await asyncio.gather(
            *(self._kube.find(Resource.CONFIG_MAPS, *key, accept=accept) for key in keys)
        )
        existing = {}
        for key, body, known in zip(keys, answers, before, strict=True):
            version = version_of(body) if body else None
            if body is not None:
                self.note(key, number(body["metadata"]["resourceVersion"]), version)
            elif self._current.get(key) == known:
                self._current[key] = Current(known.at, known=True)
            if body is not None and version is not None:
                existing[key[1]] = body
        return existing, tuple(name for name in names if name not in existing)


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
        for migration in source:
            migration.check()
    except InvalidSource as error:
        return ObservedSource(digest=digest, invalid=error.info)
    return ObservedSource(digest=digest, versions=source.versions)


def _small(bodies: dict[str, Json], files: dict[str, bytes]) -> tuple[NamespacedName, ...]:
    """ConfigMap and key of each migration file, if the environment can hold them all; otherwise nothing.

    The kubelet checks a pod's volumes only every 300 ms, but fills in variables at once.
    """
    migrations = {name: content for name, content in files.items() if is_read(name)}
    fits = (
        len(migrations) <= _SMALL_COUNT
        and sum(map(len, migrations.values())) <= _SMALL_TOTAL
        and all(len(content) <= _SMALL_FILE and b"\0" not in content for content in migrations.values())
        and not any(is_read(name) for body in bodies.values() for name in body.get("binaryData") or ())
    )
    if not fits:
        return ()
    return tuple(
        (name, key)
        for name, body in bodies.items()
        for key in sorted(body.get("data") or ())
        if key in migrations
    )
