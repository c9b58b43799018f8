"""``kubectl fluxbase create``: ConfigMaps with the migration files, and the set that reads them."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MigrationFile, MigrationFiles
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import API_VERSION, KIND, Track

CONFIG_MAP_BYTES: Final = 1 << 20
"""What the API server takes in one ConfigMap. Names count here, too: they fill the request."""
MOST_CONFIG_MAPS: Final = 32
"""What the resource takes in one source."""
_VOLUME: Final = "put the files on a volume and name it in spec.tracks.user.source.persistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class NewSet:
    """The arguments of ``create``."""

    name: str
    namespace: str | None
    """None: whichever the objects are created in."""
    secret: str
    key: str
    config_map: str
    baseline: int | None = None
    suspend: bool = False


def objects(new_set: NewSet, files: Mapping[str, bytes]) -> list[Json]:
    """The ConfigMaps, in the order of the files, and the set.

    Raises:
        InvalidSource: no run could use the files, or they do not fit into ConfigMaps.
    """
    source = MigrationFiles.scan(files)
    if not source.versions:
        raise InvalidSource("no migration files there", hint="name the directory that holds them")
    for file in source:
        file.check()
    packs = packed(sorted(source, key=lambda file: (file.version, file.name)))
    names = [new_set.config_map, *(f"{new_set.config_map}-{number}" for number in range(2, len(packs) + 1))]
    maps = [_config_map(new_set, name, pack) for name, pack in zip(names, packs, strict=True)]
    return [*maps, _set(new_set, names)]


def packed(files: Iterable[MigrationFile]) -> list[list[MigrationFile]]:
    """``files`` in as few ConfigMaps as their order allows: a new migration changes only the last one.

    Raises:
        InvalidSource: a file is too large for any, or there are too many.
    """
    packs: list[list[MigrationFile]] = []
    room = 0
    for file in files:
        size = len(file.name) + len(file.content)
        if size > CONFIG_MAP_BYTES:
            raise InvalidSource(
                f"the file has {len(file.content)} bytes, and a ConfigMap holds 1 MiB",
                file=file.name,
                hint=_VOLUME,
            )
        if not packs or size > room:
            packs.append([])
            room = CONFIG_MAP_BYTES
        packs[-1].append(file)
        room -= size
    if len(packs) > MOST_CONFIG_MAPS:
        raise InvalidSource(
            f"the files need {len(packs)} ConfigMaps, and a source has at most {MOST_CONFIG_MAPS}",
            hint=_VOLUME,
        )
    return packs


def _config_map(new_set: NewSet, name: str, files: list[MigrationFile]) -> Json:
    data = {file.name: file.content.decode() for file in files}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(new_set, name), "data": data}


def _set(new_set: NewSet, names: list[str]) -> Json:
    source: Json = (
        {"configMap": {"name": names[0]}}
        if len(names) == 1
        else {"configMaps": [{"name": name} for name in names]}
    )
    user: Json = {
        "source": source,
        **({"baseline": new_set.baseline} if new_set.baseline is not None else {}),
    }
    spec: Json = {
        "database": {"urlFrom": {"secretKeyRef": {"name": new_set.secret, "key": new_set.key}}},
        "tracks": {str(Track.USER): user},
        **({"suspend": True} if new_set.suspend else {}),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": _metadata(new_set, new_set.name),
        "spec": spec,
    }


def _metadata(new_set: NewSet, name: str) -> Json:
    return {"name": name, **({"namespace": new_set.namespace} if new_set.namespace else {})}


def replacing(name: str, namespace: str, directory: str) -> str:
    """The command that gives a ConfigMap that is there the directory's files."""
    words = ["kubectl", "create", "configmap", name, "-n", namespace, f"--from-file={directory}"]
    command = f"{shlex.join(words)} --dry-run=client -o yaml | kubectl replace -f -"
    return f"{command}  # if the set exists, and its files are to change"
