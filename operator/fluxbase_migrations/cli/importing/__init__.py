"""``fluxbase-migrate import``: other tools' migration files as ours.

One module for each tool turns the texts of a directory into migrations and remarks, without any I/O;
``command`` reads, checks what came out as the runner would, and writes all of it or nothing.
"""

from enum import StrEnum


class Tool(StrEnum):
    """Whose files can be converted."""

    FLYWAY = "flyway"
    DBMATE = "dbmate"
    GOOSE = "goose"
    SQITCH = "sqitch-plan"
