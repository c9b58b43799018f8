"""Which files to run: golang-migrate's meaning of up, down, steps and goto, and the resource's of a target.

Pure: a plan is made from the files and the recorded version alone. A version whose up or down file is
missing is a step without a file: nothing runs, but the version moves (golang-migrate does the same).
"""

import bisect

from fluxbase_migrations.core.errors import (
    AheadOfSource,
    MissingDownFile,
    NothingToStep,
    RollbackForbidden,
    TargetNotFound,
)
from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Rollback


@dataclass(frozen=True, slots=True)
class Step:
    """One file to run, and the version recorded before and after it."""

    version: int
    """Of the file's name: up applies it, down takes it back."""
    direction: Direction
    from_version: int
    to_version: int
    file: MigrationFile | None

    @property
    def label(self) -> str:
        """The file's name, or what is missing."""
        return self.file.name if self.file else f"{self.version} (no {self.direction} file)"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, in order; ``short`` is how many of the requested steps are missing."""

    steps: tuple[Step, ...] = ()
    short: int = 0

    @property
    def missing(self) -> tuple[int, ...]:
        """Versions that have no file in the plan's direction."""
        return tuple(step.version for step in self.steps if step.file is None)


def up(source: MigrationFiles, current: int, limit: int | None = None) -> Plan:
    """Everything above ``current``, or the next ``limit`` versions.

    Raises:
        AheadOfSource: ``current`` is recorded but not among the files.
        NothingToStep: a limit was given and nothing is left.
    """
    _require_recorded(source, current)
    ahead = (
        source.versions[bisect.bisect_right(source.versions, current) :]
        if current != NIL
        else source.versions
    )
    if limit is None:
        return Plan(_ups(source, current, ahead))
    if limit and not ahead:
        detail = f"nothing is left to apply after {name_of(current)}"
        raise NothingToStep("file does not exist", detail=detail)
    return Plan(_ups(source, current, ahead[:limit]), short=max(0, limit - len(ahead)))


def down(source: MigrationFiles, current: int, limit: int | None = None) -> Plan:
    """Everything that is applied, or the last ``limit`` versions, newest first.

    Raises:
        AheadOfSource: ``current`` is recorded but not among the files.
        NothingToStep: a limit was given and nothing is applied.
    """
    _require_recorded(source, current)
    applied = source.versions[: bisect.bisect_right(source.versions, current)]
    if limit is None:
        return Plan(_downs(source, applied, NIL))
    if limit and not applied:
        raise NothingToStep("file does not exist", detail="nothing is applied")
    count = min(limit, len(applied))
    rest = applied[: len(applied) - count]
    steps = _downs(source, applied[len(rest) :], rest[-1] if rest else NIL)
    return Plan(steps, short=limit - count)


def goto(source: MigrationFiles, current: int, target: int) -> Plan:
    """From ``current`` to ``target``, whichever way that is; :data:`NIL` undoes everything.

    Raises:
        AheadOfSource: ``current`` is recorded but not among the files.
        TargetNotFound: ``target`` is not among the files.
    """
    _require_recorded(source, current)
    if target != NIL and target not in source:
        raise TargetNotFound.of(target, source.versions)
    if target >= current:
        between = [version for version in source.versions if current < version <= target]
        return Plan(_ups(source, current, between))
    between = [version for version in source.versions if target < version <= current]
    return Plan(_downs(source, between, target))


def to_target(source: MigrationFiles, current: int, target: int | None, rollback: Rollback) -> Plan:
    """What a resource's ``targetVersion`` asks for: None is the latest, 0 is nothing applied.

    Raises:
        AheadOfSource, TargetNotFound: as :func:`goto`.
        RollbackForbidden: the target is lower and ``rollback`` is Forbid.
        MissingDownFile: a rollback would pass a version without down file; nothing has run.
    """
    if target is None:
        return up(source, current)
    plan = goto(source, current, NIL if target == 0 else target)
    if not plan.steps or plan.steps[0].direction is Direction.UP:
        return plan
    if rollback is Rollback.FORBID:
        raise RollbackForbidden(
            f"the target {target} is lower than the recorded version {current}, and rollback is Forbid",
            hint="set rollback: Allow to run the down files, or raise the target",
        )
    if plan.missing:
        names = ", ".join(map(str, plan.missing))
        raise MissingDownFile(
            f"rolling back from {current} to {target} needs a down file for version {names}; there is none",
            hint="add the missing .down.sql (empty, if there is nothing to undo) or choose a higher target",
        )
    return plan


def outstanding(versions: tuple[int, ...], current: int, target: int | None, *, dirty: bool) -> int:
    """How many of the source's ``versions`` are still to be applied; ``target`` as in :func:`to_target`."""
    above = bisect.bisect_right(versions, current)
    reached = len(versions) if target is None else bisect.bisect_right(versions, target or NIL)
    return max(reached - above, 0) + dirty


def _require_recorded(source: MigrationFiles, current: int) -> None:
    if current != NIL and current not in source:
        raise AheadOfSource.of(current, source.latest)


def _ups(source: MigrationFiles, current: int, versions: list[int] | tuple[int, ...]) -> tuple[Step, ...]:
    steps = []
    for version in versions:
        steps.append(Step(version, Direction.UP, current, version, source.get(version, Direction.UP)))
        current = version
    return tuple(steps)


def _downs(source: MigrationFiles, versions: list[int] | tuple[int, ...], target: int) -> tuple[Step, ...]:
    return tuple(
        Step(version, Direction.DOWN, version, before, source.get(version, Direction.DOWN))
        for version, before in zip(reversed(versions), [*reversed(versions[:-1]), target], strict=False)
    )


def name_of(version: int) -> str:
    """A recorded version, in words."""
    return "nothing" if version == NIL else f"version {version}"
