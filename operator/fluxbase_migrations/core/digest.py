"""Digests: one definition for operator and runner."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

MIGRATION_PATTERN: Final = re.compile(r"([0-9]+)_(.*)\.(down|up)\.(.*)", re.ASCII)
"""golang-migrate's file name pattern; use with ``fullmatch``."""


def source_digest(files: Mapping[str, bytes]) -> str:
    """Digest the migration files among ``files`` (name → bytes); others do not count.

    sha256 over the files sorted by name, each as (length, name, length, bytes) with 8-byte
    big-endian lengths, so that no two different sets of files can run together to one input.
    Returns ``sha256:`` and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        if not MIGRATION_PATTERN.fullmatch(name):
            continue
        encoded = name.encode()
        for part in (encoded, files[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def digest_of(*parts: str | int | None) -> str:
    """sha256 over ``parts``, each with its length, None distinct from empty."""
    result = hashlib.sha256()
    for part in parts:
        if part is None:
            result.update(b"-")
            continue
        encoded = str(part).encode("utf-8", "surrogateescape")
        result.update(b"+" + len(encoded).to_bytes(8, "big") + encoded)
    return f"sha256:{result.hexdigest()}"
