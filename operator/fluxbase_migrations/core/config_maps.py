"""ConfigMaps as a source of migration files: one meaning for the operator and for ``kubectl fluxbase``."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import UnknownFiles

RULES: Final = 1
"""Which files of a ConfigMap count, and what makes them unusable: raise it when one or the other changes.

What an operator with other rules has read is read again.
"""


def content_of(body: Json) -> dict[str, bytes]:
    """A ConfigMap's files: ``data`` as UTF-8, ``binaryData`` decoded."""
    files = {name: text.encode() for name, text in (body.get("data") or {}).items()}
    for name, text in (body.get("binaryData") or {}).items():
        try:
            files[name] = base64.b64decode(text)
        except binascii.Error:  # the API server does not let this happen
            files[name] = b""
    return files


def is_migration(name: str) -> bool:
    """Whether a file's name is a migration's."""
    return MIGRATION_PATTERN.fullmatch(name) is not None


def is_read(name: str) -> bool:
    """Whether the runner reads a file of that name, be it only to say that it is not a migration."""
    return name.lower().endswith(".sql") or is_migration(name)


def merged(bodies: Mapping[str, Json], unknown_files: UnknownFiles = UnknownFiles.FAIL) -> dict[str, bytes]:
    """The files of all ``bodies`` (ConfigMap name → ConfigMap).

    Raises:
        InvalidSource: a file that counts is in two of them.
    """
    counts = is_read if unknown_files is UnknownFiles.FAIL else is_migration
    files: dict[str, bytes] = {}
    origin: dict[str, str] = {}
    for name, body in bodies.items():
        for file, content in content_of(body).items():
            if file in files and counts(file):
                why = f"the file is in two ConfigMaps, {origin[file]} and {name}"
                raise InvalidSource(why, file=file, hint="remove it from one of them")
            files[file], origin[file] = content, name
    return files
