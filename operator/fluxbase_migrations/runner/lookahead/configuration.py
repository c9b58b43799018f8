"""What the plan needs of a command's configuration."""

from typing import Protocol

from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history.other_version_tables import Guard


class Configuration(Protocol):
    """A database, and the tracks on it."""

    @property
    def parameters(self) -> dict[str, str]:
        """Libpq's parameters, for other programs that connect to the database."""

    @property
    def track(self) -> Track:
        """The track that :attr:`table` and :attr:`built_in` are about."""

    @property
    def table(self) -> TableName | None:
        """Its version table; None: the track's own."""

    @property
    def built_in(self) -> bool:
        """Whether its files are the image's."""

    @property
    def tracking(self) -> TableName:
        """The version table: the one named, or the track's own."""

    def connect(self) -> Session:
        """Open a session.

        Raises:
            MigrationError: no connection.
        """

    def guard(self, track: Track) -> Guard:
        """Looks for another version table before the first file of ``track`` runs."""
