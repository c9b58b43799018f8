"""ConfigMaps as sources: read when they changed, remembered by digest only; and who refers to which."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from fluxbase_migrations.controller import paths
from fluxbase_migrations.controller.kube import METADATA, Kube
from fluxbase_migrations.core.config_maps import is_read, merged
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import Source
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.core.result import ErrorInfo

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

_REMEMBERED: Final = 10_000
_SMALL_FILE: Final = 64 * 1024
"""Bytes; Linux takes 128 KiB for one variable."""
_SMALL_TOTAL: Final = 256 * 1024
"""Bytes; Linux takes 2 MiB for all, at a stack limit of 8 MiB."""
_SMALL_COUNT: Final = 50
"""Files; each is a few lines of the Job's manifest."""


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """What is known of a track's ConfigMaps."""

    missing: tuple[str, ...] = ()
    """Names of ConfigMaps that do not exist."""
    digest: str | None = None
    versions: tuple[int, ...] = ()
    """Of its migration files, in order."""
    invalid: ErrorInfo | None = None
    """Why no run could use the files."""
    small: tuple[Key, ...] = ()
    """ConfigMap and key of every file, where all are small enough for a container's environment."""


class References:
    """Which sets refer to which ConfigMaps. An event of any other ConfigMap is dropped unread."""

    def __init__(self) -> None:
        self._by_set: dict[Key, frozenset[Key]] = {}
        self._by_source: dict[Key, set[Key]] = {}

    def put(self, owner: Key, sources: frozenset[Key]) -> None:
        """The set ``owner`` refers to these and no others."""
        before = self._by_set.get(owner, frozenset())
        if before == sources:
            return
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

    def of(self, source: Key) -> frozenset[Key]:
        """The sets that refer to a ConfigMap."""
        return frozenset(self._by_source.get(source, ()))

    def sets(self) -> frozenset[Key]:
        """All sets that refer to any ConfigMap."""
        return frozenset(self._by_set)


class Sources:
    """Reads ConfigMaps, and each body only if its resourceVersion is new. Keeps no content."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._seen: dict[tuple[UnknownFiles, tuple[Key, ...]], tuple[tuple[str, ...], SourceSeen]] = {}

    async def read(
        self, namespace: str, names: tuple[str, ...], unknown_files: UnknownFiles = UnknownFiles.FAIL
    ) -> SourceSeen:
        """Look at the ConfigMaps of one source."""
        keys = unknown_files, tuple((namespace, name) for name in names)
        known = self._seen.get(keys)
        if known:
            metadata, missing = await self._find(namespace, names, METADATA)
            if missing:
                return SourceSeen(missing=missing)
            if known[0] == _versions(metadata):
                return known[1]
        bodies, missing = await self._find(namespace, names)
        if missing:
            return SourceSeen(missing=missing)
        seen = summarize(bodies, unknown_files)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[keys] = _versions(bodies), seen
        return seen

    async def _find(
        self, namespace: str, names: tuple[str, ...], accept: str | None = None
    ) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The ConfigMaps by name, and the names of those that do not exist or are being deleted."""
        found = await asyncio.gather(
            *(self._kube.find(paths.config_map(namespace, name), accept=accept) for name in names)
        )
        there = {
            name: body
            for name, body in zip(names, found, strict=True)
            if body is not None and not body["metadata"].get("deletionTimestamp")
        }
        return there, tuple(name for name in names if name not in there)


def _versions(bodies: dict[str, Json]) -> tuple[str, ...]:
    """Which state of which objects."""
    return tuple(f"{one['metadata']['uid']}/{one['metadata']['resourceVersion']}" for one in bodies.values())


def summarize(bodies: dict[str, Json], unknown_files: UnknownFiles = UnknownFiles.FAIL) -> SourceSeen:
    """Digest and validity of the files in ``bodies`` (ConfigMap name → ConfigMap)."""
    try:
        files = merged(bodies, unknown_files)
    except InvalidSource as error:
        return SourceSeen(invalid=error.info)
    return replace(of_files(files, unknown_files), small=_small(bodies, files))


def of_files(files: dict[str, bytes], unknown_files: UnknownFiles = UnknownFiles.FAIL) -> SourceSeen:
    """Digest, versions and validity of files by name."""
    digest = source_digest(files)
    try:
        source = Source.scan(files, unknown_files)
        for file_found in source:
            file_found.check()
    except InvalidSource as error:
        return SourceSeen(digest=digest, invalid=error.info)
    return SourceSeen(digest=digest, versions=source.versions)


def _small(bodies: dict[str, Json], files: dict[str, bytes]) -> tuple[Key, ...]:
    """Where each migration file is, if the environment can hold them all; else nothing.

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
