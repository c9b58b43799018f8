"""The database and the environment of the docs."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.peers import environment
from dev.postgres_server import Endpoint
from tests.support.databases import (
    Database,
    create_database,
    create_login,
    drop_database,
    drop_platform_roles,
    drop_role,
)

NAME = "shop"
"""Of the database, and of the login that owns it: it is seen in the docs."""
PASSWORD = "choose-one"


@contextlib.contextmanager
def shop_database(server: Endpoint) -> Iterator[Database]:
    """The database of the docs."""
    create_login(server, NAME, PASSWORD)
    create_database(server, NAME, NAME)
    yield Database(server, NAME, NAME, PASSWORD)
    drop_database(server, NAME)
    drop_platform_roles(server)
    drop_role(server, NAME)


def variables(*more_programs: str, **more: str) -> dict[str, str]:
    """A person's environment; our programs are on PATH."""
    found = environment({"LOGNAME": "ada", "LC_ALL": "C.UTF-8", **more})
    places = (str(Path(sys.executable).parent), *more_programs, found["PATH"])
    return found | {"PATH": ":".join(places)}
