"""``fluxbase-migrate import``: converts other tools' migration files.

One module for each tool turns the texts of a directory into migrations and remarks, without any I/O;
``command`` reads the files, checks the result as the runner would, and writes all of it or nothing.
"""

from enum import StrEnum


class Tool(StrEnum):
    """The tools whose files can be converted."""

    FLYWAY = "flyway"
    DBMATE = "dbmate"
    GOOSE = "goose"
    SQITCH = "sqitch-plan"
