"""What ``pip install fluxbase-migrations`` leaves out; pyproject.toml says what each extra brings."""

from enum import StrEnum
from typing import Final

PACKAGE: Final = "fluxbase-migrations"
_OURS: Final = "fluxbase_migrations"


class Extra(StrEnum):
    """The part of the package that needs it."""

    COMPLETION = "completion"
    """``fluxbase-migrate completion``, and what it makes a shell ask."""
    KUBECTL = "kubectl"
    """``kubectl fluxbase``."""
    LINT = "lint"
    """``fluxbase-migrate lint``."""
    OPERATOR = "operator"
    """The operator."""


def missing(error: ModuleNotFoundError, extra: Extra) -> str:
    """What to say where a program of ours lacks the packages of its extra.

    Raises:
        ModuleNotFoundError: what is missing is a module of our own.
    """
    top = (error.name or "").partition(".")[0]
    if top in ("", _OURS):
        raise error
    return f"the Python package {top} is not installed; run: pip install '{PACKAGE}[{extra}]'"
