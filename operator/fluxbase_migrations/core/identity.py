"""Which database it is: what a run reads, status keeps, and commands are bound to."""

from fluxbase_migrations.core.json_names import JSON_NAMES
from fluxbase_migrations.core.lazy_dataclass import dataclass

# No part alone is enough: a dump carries the history's id to another database, a restore in place keeps the
# server's identifier, and OIDs of databases are the same on many servers.


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """Identifies a database. The name is for people: it can be changed."""

    __pydantic_config__ = JSON_NAMES

    name: str
    """Name of the database."""
    system_identifier: str | None = None
    """Identifier of the server's data directory; absent where the role may not read it."""
    oid: int | None = None
    """Object identifier of the database on its server."""
    history_id: str | None = None
    """Written once into migrations.history; absent until there is such a table."""

    def __str__(self) -> str:
        """For messages."""
        return f"{self.name} (system identifier {self.system_identifier or 'unknown'}, OID {self.oid})"


def differs(first: DatabaseIdentity | None, second: DatabaseIdentity | None) -> bool:
    """Whether these are known to be two databases; a part that either lacks is not compared."""
    if first is None or second is None:
        return False
    pairs = (
        (first.system_identifier, second.system_identifier),
        (first.oid, second.oid),
        (first.history_id, second.history_id),
    )
    return any(a is not None and b is not None and a != b for a, b in pairs)
