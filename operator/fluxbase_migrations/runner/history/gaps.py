"""Before a version is taken over: did the tool that recorded it apply every file up to it?

Most tools list what they have applied, and some leave out what was added in between. A baseline counts it as
applied, so that it would never run.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from fluxbase_migrations.core.errors import OutOfOrderError
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import other_tools
from fluxbase_migrations.runner.history.other_tools import Candidate

_LISTED: Final = 5
"""How many versions an error names."""


def refuse_gaps(
    session: Session,
    version: int,
    versions: Sequence[int],
    only: TableName | None,
    excluded: Iterable[TableName],
) -> None:
    """Check that each tool whose table records ``version`` has applied all ``versions`` up to it.

    Args:
        session: A session of a role that may read the tables; a table that it may not read is skipped.
        version: The baseline.
        versions: Those of our files.
        only: Check this table alone.
        excluded: Tables of other programs.

    Raises:
        OutOfOrderError: a version was never applied.
    """
    if version not in versions:
        return  # other files than the tool's: nothing can be compared
    foreign = {table.resolved(session) for table in excluded}
    for candidate in other_tools.candidates(session):
        if candidate.table in foreign or (only is not None and candidate.table != only):
            continue
        missing = _missing(session, candidate, version, versions)
        if missing:
            raise _refusal(candidate, version, missing)


def _missing(session: Session, candidate: Candidate, version: int, versions: Sequence[int]) -> list[int]:
    if not candidate.tool.applied or not candidate.readable:
        return []
    recorded = other_tools.newest(session, candidate.table, candidate.tool)
    if recorded is None or recorded.number != version:
        return []  # its numbers are not ours
    applied, floor = other_tools.applied(session, candidate.table, candidate.tool)
    return [number for number in versions if floor < number <= version and number not in applied]


def _refusal(candidate: Candidate, version: int, missing: Sequence[int]) -> OutOfOrderError:
    name = candidate.tool.name
    listed = ", ".join(map(str, missing[:_LISTED])) + (" …" if len(missing) > _LISTED else "")
    return OutOfOrderError(
        f"{candidate.table} of {name} has no version {listed}, and the baseline {version} would count it as "
        "applied",
        hint=f"apply it with {name}, or give the file a higher number; if it is not needed: "
        f"fluxbase-migrate baseline {version}",
        effect="nothing was recorded",
    )
