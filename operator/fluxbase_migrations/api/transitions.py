"""The states of a track as one table: what happens, where it leads, how it shows, what the operator does.

The conditions and the Warnings are taken from here, the docs are made from here, and the tests hold every
change of every track against it.
"""

from enum import StrEnum
from typing import Final

from fluxbase_migrations.api.reasons import Effect, Reason, effect
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.result import Outcome


class Shows(StrEnum):
    """What a track in this state contributes to the set's conditions; the more serious track wins."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    """The operator continues automatically."""
    STALLED = "Stalled"
    """The operator waits for a change by the user."""
    UPSTREAM = "as the system track"


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the table."""

    event: str
    before: frozenset[Phase]
    """Phases that the track may have before."""
    phase: Phase
    reasons: frozenset[str]
    """Reasons of the track that tell this line; empty: whatever Kubernetes itself gives as a reason."""
    shows: Shows
    does: str
    """What the operator does then."""
    warns: bool = False
    """Whether entering this state creates a Warning Event, unless the end of a run already has."""


def _ending_in(*effects: Effect) -> frozenset[str]:
    """Reasons of tracks whose last run had one of these effects."""
    ended = (outcome for outcome in Outcome if effect(outcome) in effects)
    return frozenset({*map(str, ended)} | ({Reason.RESULT_MISSING} if Effect.RETRY in effects else set()))


_ANY: Final = frozenset(Phase)
"""Includes settled phases: a routine check is not shown until it finds something."""

TRANSITIONS: Final = (
    Transition(
        "A run is needed: the source, the spec or a command has changed, a retry is due, or the owner of "
        "the database was deleted or has released it.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.STARTING}),
        Shows.RECONCILING,
        "writes the plan, then creates the Job",
    ),
    Transition(
        "The same, and the system track is not Applied.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.WAITING_FOR_SYSTEM}),
        Shows.UPSTREAM,
        "waits; the system track comes first",
    ),
    Transition(
        "The same, and as many containers run as `maxConcurrentJobs`, or `maxConcurrentJobsPerNamespace` in "
        "this namespace, allows.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.QUEUED}),
        Shows.RECONCILING,
        "queues the run: user tracks whose system track has just run come first, then namespaces in turn, "
        "first come, first served in each",
    ),
    Transition(
        "The same, and pods of an earlier run, or of a deleted set of this name, are still there.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.WAITING_FOR_PREVIOUS_PODS}),
        Shows.RECONCILING,
        "waits until they are gone",
    ),
    Transition(
        "The same, and `spec.suspend` is true.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.SUSPENDED}),
        Shows.STALLED,
        "nothing until it is false; a run in flight is not interrupted",
        warns=True,
    ),
    Transition(
        "The ConfigMap does not exist, or the source has no migration files and nothing was ever applied.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.SOURCE_MISSING, Outcome.SOURCE_EMPTY}),
        Shows.RECONCILING,
        "starts a run as soon as a ConfigMap has files; checks a volume again at least every five minutes",
        warns=True,
    ),
    Transition(
        "The volume has no migration files, nothing was ever applied, and `allowEmpty` is true.",
        _ANY,
        Phase.SKIPPED,
        frozenset({Outcome.SOURCE_EMPTY}),
        Shows.READY,
        "checks again when its Deployment restarts, on request, and each `recheckInterval`",
    ),
    Transition(
        "The source is empty or ends below the recorded version.",
        _ANY,
        Phase.FAILED,
        frozenset({Outcome.AHEAD_OF_SOURCE}),
        Shows.STALLED,
        "nothing until the source, the spec or a command changes",
        warns=True,
    ),
    Transition(
        "The track is disabled or has no source.",
        _ANY,
        Phase.SKIPPED,
        frozenset({Reason.DISABLED, Reason.NO_SOURCE}),
        Shows.READY,
        "skips the track, which keeps its last known version",
    ),
    Transition(
        "The claim is ReadWriteOncePod: only one pod can use it.",
        _ANY,
        Phase.FAILED,
        frozenset({Reason.UNSUPPORTED_ACCESS_MODE}),
        Shows.STALLED,
        "nothing until the spec or the claim changes",
        warns=True,
    ),
    Transition(
        "The API server refuses the Job, for a quota or a policy.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.JOB_REFUSED}),
        Shows.RECONCILING,
        "retries after 5 s, doubled each time up to 5 min",
        warns=True,
    ),
    Transition(
        "The API server refuses the Job as invalid.",
        _ANY,
        Phase.FAILED,
        frozenset({Reason.JOB_REFUSED}),
        Shows.STALLED,
        "nothing until `spec.job` changes",
        warns=True,
    ),
    Transition(
        "The Job exists, its container has not started.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.POD_PENDING}),
        Shows.RECONCILING,
        "waits; replaces the Job when anything newer is desired",
    ),
    Transition(
        "The same, and Kubernetes says why: CreateContainerConfigError, ImagePullBackOff, Unschedulable, "
        "FailedMount, FailedCreate and so on.",
        _ANY,
        Phase.PENDING,
        frozenset(),
        Shows.RECONCILING,
        "shows the reason; Kubernetes retries the pod; replaces the Job when anything newer is desired",
        warns=True,
    ),
    Transition(
        "A newer run is desired, and the Job's container has not started.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.REPLACING}),
        Shows.RECONCILING,
        "deletes that Job, and waits until it and its pods are gone",
    ),
    Transition(
        "The Job is deleted before its container has started.",
        _ANY,
        Phase.PENDING,
        frozenset({Reason.JOB_DELETED}),
        Shows.RECONCILING,
        "runs again after `retry.backoff`, once the Job is gone",
        warns=True,
    ),
    Transition(
        "The container runs.",
        _ANY,
        Phase.RUNNING,
        frozenset({Reason.RUNNING}),
        Shows.RECONCILING,
        "does not touch the Job; shows the current file and the number of files; applies newer changes after "
        "this run",
    ),
    Transition(
        "The node of the running container is not responding.",
        _ANY,
        Phase.RUNNING,
        frozenset({Reason.NODE_LOST}),
        Shows.RECONCILING,
        "starts nothing until the pod object is gone",
        warns=True,
    ),
    Transition(
        "A run ends with everything applied, or finds nothing to do.",
        _ANY,
        Phase.APPLIED,
        frozenset({Outcome.APPLIED}),
        Shows.READY,
        "records what the run read; the user track may start",
    ),
    Transition(
        "A run has reached a lower target.",
        _ANY,
        Phase.ROLLED_BACK,
        frozenset({Outcome.ROLLED_BACK}),
        Shows.READY,
        "records what the run read",
    ),
    Transition(
        "A run finds something to do that nobody has approved, and `approval` is Manual.",
        _ANY,
        Phase.PENDING,
        frozenset({Outcome.AWAITING_APPROVAL}),
        Shows.STALLED,
        "shows the plan; applies it when it is approved, and makes another one when the source, the spec or "
        "a command changes",
    ),
    Transition(
        "A run could not start its work, for a cause outside the files.",
        _ANY,
        Phase.PENDING,
        _ending_in(Effect.WAIT) - {Outcome.PLATFORM_INCOMPLETE},
        Shows.RECONCILING,
        "retries after `retry.backoff`, doubled each time up to 5 min; not counted against `retry.limit`",
        warns=True,
    ),
    Transition(
        "A run finds that the database lacks objects of the system track: a dump was restored without "
        "roles, for example.",
        _ANY,
        Phase.PENDING,
        frozenset({Outcome.PLATFORM_INCOMPLETE}),
        Shows.RECONCILING,
        "checks again after `retry.backoff`, doubled each time up to 5 min; runs no file until all exist",
        warns=True,
    ),
    Transition(
        "A run ends with a transient error, or without a result.",
        _ANY,
        Phase.PENDING,
        _ending_in(Effect.RETRY),
        Shows.RECONCILING,
        "runs again after `retry.backoff`, doubled each time, up to `retry.limit` times",
        warns=True,
    ),
    Transition(
        "The same, as often as `retry.limit` allows; or `job.activeDeadlineSeconds` ended each of them.",
        _ANY,
        Phase.FAILED,
        _ending_in(Effect.RETRY, Effect.WAIT),
        Shows.STALLED,
        "nothing until the source, the spec or a command changes",
        warns=True,
    ),
    Transition(
        "A run finds that the track of this database belongs to another set.",
        _ANY,
        Phase.FAILED,
        frozenset({Reason.DATABASE_CLAIMED}),
        Shows.STALLED,
        "takes over when the other set is deleted or releases the track, or on command; no Job until then",
        warns=True,
    ),
    Transition(
        "A run has applied its files, `anon` or `authenticated` reach something past row-level security, and "
        "`exposure` is Fail.",
        _ANY,
        Phase.FAILED,
        frozenset({Outcome.EXPOSED}),
        Shows.STALLED,
        "checks again when the source or the spec changes, on request, and each `verify.interval`",
        warns=True,
    ),
    Transition(
        "A run ends with any other error, or the operator finds a file that cannot be used.",
        _ANY,
        Phase.FAILED,
        _ending_in(Effect.STOP) - {Outcome.AHEAD_OF_SOURCE, Outcome.EXPOSED},
        Shows.STALLED,
        "nothing until the source, the spec or a command changes",
        warns=True,
    ),
)
"""Every line; no two for one phase and reason."""

_BY_REASON: Final = {(line.phase, reason): line for line in TRANSITIONS for reason in line.reasons}
_KUBERNETES_OWN: Final = next(line for line in TRANSITIONS if not line.reasons)


def line_of(phase: Phase, reason: str | None) -> Transition:
    """The line of a track that is in ``phase`` for ``reason``.

    Raises:
        LookupError: there is none.
    """
    line = _BY_REASON.get((phase, reason or ""))
    if line is None and phase is _KUBERNETES_OWN.phase and reason:
        return _KUBERNETES_OWN
    if line is None:
        raise LookupError(f"no line for {phase}, {reason}")
    return line
