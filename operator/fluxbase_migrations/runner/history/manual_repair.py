"""The hint for a dirty row whose state only a person can judge."""

from fluxbase_migrations.runner.history.entry import Entry, Row


def manual_repair(row: Row, entry: Entry | None) -> str:
    """How to repair the row: check the database, then force the version."""
    previous = entry.from_version if entry is not None and entry.from_version is not None else None
    force_previous = f"force {previous}" if previous is not None else "force the version before it"
    return (
        f"look at what version {row.version} left in the database, then force {row.version} if it is "
        f"complete, or undo it and {force_previous}"
    )
