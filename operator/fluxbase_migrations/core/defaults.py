"""Defaults that several programs have in common; in seconds."""

from typing import Final

LOCK_TIMEOUT: Final = 300.0
"""How long to wait for the migration lock."""
CONNECT_PATIENCE: Final = 60.0
"""How long a command retries to connect."""
JOB_CONNECT_PATIENCE: Final = 5.0
"""The same of a Job, which the operator retries."""
