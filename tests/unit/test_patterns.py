"""No pattern leans on what some of the admitted Pythons get wrong."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import fluxbase_migrations

# Debian 12's Python 3.11.2 goes wrong in them: https://github.com/python/cpython/issues/106052
WRONG_IN_SOME = ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """Every compiled pattern that a module of the product holds."""
    for module in pkgutil.walk_packages(fluxbase_migrations.__path__, "fluxbase_migrations."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                for one in value if isinstance(value, tuple | list) else [value]:
                    if isinstance(one, re.Pattern):
                        yield f"{module.name}.{name}", one


def test_no_pattern_is_possessive_or_atomic() -> None:
    found = dict(patterns())
    assert len(found) > 10
    for name, pattern in found.items():
        parsed = repr(_parser.parse(pattern.pattern, pattern.flags))
        assert not [one for one in WRONG_IN_SOME if one in parsed], name


def test_the_check_knows_them() -> None:
    for text in ("a*+", "(?>a)"):
        assert any(one in repr(_parser.parse(text)) for one in WRONG_IN_SOME)
