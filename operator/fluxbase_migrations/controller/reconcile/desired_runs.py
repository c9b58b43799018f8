"""The desired runs of a set's tracks: from its spec, its sources, and the built-in migrations."""

from dataclasses import dataclass
from datetime import timedelta

from fluxbase_migrations import system
from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.spec import ClaimSource, SourceSpec, Spec, TrackSpec
from fluxbase_migrations.api.status import SourceRead
from fluxbase_migrations.controller.client.kube import Kube, NamespacedName, get_if_allowed
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.controller.watch.config_map_reader import (
    ConfigMapReader,
    ObservedSource,
    of_files,
)
from fluxbase_migrations.core import durations
from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ExposurePolicy,
    Track,
)
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.desired import Blocked, Desired, DesiredRun, Refused, Skip


@dataclass(frozen=True, slots=True)
class _Content:
    """The migration files of a track."""

    digest: str | None
    versions: tuple[int, ...] | None = None
    """In order; None: only the runner can read them."""
    config_maps: ObservedSource | None = None
    """The ConfigMaps that the files are in."""


class DesiredRuns:
    """Computes the run that each track should have had."""

    def __init__(self, kube: Kube, settings: Settings, sources: ConfigMapReader) -> None:
        self._kube = kube
        self._settings = settings
        self._sources = sources
        self._usable: dict[NamespacedName, set[tuple[str, int, str]]] = {}
        """By set: its uid, generation, and a claim that it can use."""
        self._built_in = of_files(system.files())

    def forget(self, key: NamespacedName) -> None:
        """Drop what is known about the claims of a set that is gone."""
        self._usable.pop(key, None)

    async def of(
        self, body: Json, spec: Spec, track: Track, recorded: SourceRead | None
    ) -> tuple[Desired, ObservedSource | None]:
        """The desired run of ``track``, or why there is none; and the ConfigMaps that the runner must find.

        Raises:
            KubeError: a request failed.
        """
        options = jobs.track_spec(spec, track)
        if not options.enabled:
            return Skip(Reason.DISABLED, f"spec.tracks.{track}.enabled is false"), None
        if options.source is None and track is Track.USER:
            return Skip(Reason.NO_SOURCE, "spec.tracks.user has no source"), None
        content = await self._content(body["metadata"], options, recorded)
        if not isinstance(content, _Content):
            return content, None
        run = self._run(body["metadata"]["namespace"], spec, track, content)
        if content.config_maps is not None and content.versions == ():
            assert options.source is not None  # noqa: S101 - it has ConfigMaps
            names = ", ".join(options.source.config_map_names())
            text = (
                f"ConfigMap {names} has no migration files (NNN_name.up.sql); "
                "changes are picked up automatically"
            )
            return Blocked(Outcome.SOURCE_EMPTY, text, empty=run), content.config_maps
        return run, content.config_maps

    async def _content(
        self, metadata: Json, options: TrackSpec, recorded: SourceRead | None
    ) -> _Content | Blocked | Refused:
        source = options.source
        if source is None:
            return _Content(self._built_in.digest, self._built_in.versions)
        claim = source.persistent_volume_claim
        if claim is not None:
            refused = await self._refuse_claim(metadata, claim)
            return refused or _Content(digest_of(claim.claim_name, claim.path, self._settings.restarted_at))
        names = source.config_map_names()
        observed = await self._sources.read(metadata["namespace"], names, options.unknown_files, recorded)
        return _problem(source, observed) or _Content(observed.digest, observed.versions, observed)

    def _run(self, namespace: str, spec: Spec, track: Track, content: _Content) -> DesiredRun:
        options = jobs.track_spec(spec, track)
        base = digest_of(
            content.digest,
            options.target_version,
            options.rollback,
            options.out_of_order,
            options.unknown_files,
            spec.recovery,
            spec.database.model_dump_json(),
            *(options.foreign_tables or ()),
            *_exposure_part(spec, track),
            *_table_part(spec, track),
        )
        return DesiredRun(
            base,
            jobs.template_digest(spec, track, self._settings, namespace),
            volume=_volume(options.source),
            allow_empty=options.allow_empty,
            recheck=_recheck(options.recheck_interval, spec.verify.interval if spec.verify else None),
            versions=content.versions,
            target=options.target_version,
        )

    async def _refuse_claim(self, metadata: Json, source: ClaimSource) -> Refused | None:
        """Why a claim cannot be used: only one pod may use it. The scheduler reports one that does not exist.

        Its modes never change: it is read once for each generation of a set, unless it does not exist.
        """
        key, state = (metadata["namespace"], metadata["name"]), (metadata["uid"], metadata["generation"])
        usable = {known for known in self._usable.get(key, ()) if known[:2] == state}
        if (*state, source.claim_name) in usable:
            return None
        claim = await get_if_allowed(self._kube, Resource.CLAIMS, key[0], source.claim_name)
        modes = (claim or {}).get("spec", {}).get("accessModes") or []
        if modes != ["ReadWriteOncePod"]:
            if claim:
                self._usable[key] = {*usable, (*state, source.claim_name)}
            return None
        text = (
            f"the PersistentVolumeClaim {source.claim_name} is ReadWriteOncePod: the Job could never use it "
            "while another pod does. Use ReadWriteOnce or ReadWriteMany."
        )
        return Refused(Reason.UNSUPPORTED_ACCESS_MODE, text)


def config_maps_of(namespace: str, spec: Spec) -> frozenset[NamespacedName]:
    """The ConfigMaps that the set's tracks refer to."""
    sources = (jobs.track_spec(spec, track).source for track in Track)
    return frozenset((namespace, name) for source in sources if source for name in source.config_map_names())


def _exposure_part(spec: Spec, track: Track) -> tuple[str, ...]:
    """The exposure policy as an input. The default is left out, so that older digests stay valid."""
    if track is not Track.USER or spec.exposure is ExposurePolicy.WARN:
        return ()
    return (f"exposure={spec.exposure}",)


def _table_part(spec: Spec, track: Track) -> tuple[str, ...]:
    """Tables and baseline as inputs. What is not set is left out, so that older digests stay valid.

    The other track's table is an input, too: the runner has to know it as a table of another program. That is
    not checked where the files are built in.
    """
    options = jobs.track_spec(spec, track)
    parts = [f"baseline={options.baseline}"] if options.baseline is not None else []
    for owner in Track if options.source is not None else ():
        table = jobs.track_spec(spec, owner).table
        parts += [f"{owner}.table={table}"] if table is not None else []
    return tuple(parts)


def _volume(source: SourceSpec | None) -> str | None:
    claim = source.persistent_volume_claim if source else None
    return f"{claim.claim_name}, path {claim.path}" if claim else None


def _recheck(*intervals: str | None) -> timedelta | None:
    """The shortest of the intervals after which the database is verified; None if none is set."""
    seconds = [durations.seconds(interval) for interval in intervals if interval]
    return timedelta(seconds=min(seconds)) if seconds else None


def _problem(source: SourceSpec, observed: ObservedSource) -> Blocked | Refused | None:
    """Why the ConfigMaps cannot be used now; None if they can."""
    names = ", ".join(source.config_map_names())
    if observed.missing:
        text = (
            f"ConfigMap {', '.join(observed.missing)} not found; create it with kubectl create configmap "
            "NAME --from-file=DIRECTORY; it is picked up automatically"
        )
        return Blocked(Reason.SOURCE_MISSING, text)
    if observed.invalid:
        return Refused(Outcome.INVALID_SOURCE, f"ConfigMap {names}: {describe(observed.invalid)}")
    return None
