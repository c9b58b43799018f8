"""Where settings come from: flags, then the environment, then ``.env``, then ``fluxbase.yaml``."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ENVIRONMENT: Final = "environment"
DOTENV: Final = ".env"
YAML: Final = "fluxbase.yaml"

_YAML_KEYS: Final = {
    "url": "DATABASE_URL",
    "host": "DB_HOST",
    "port": "DB_PORT",
    "name": "DB_NAME",
    "database": "DB_NAME",
    "user": "DB_USER",
    "username": "DB_USER",
    "password": "DB_PASSWORD",
    "sslmode": "DB_SSLMODE",
    "usermigrationspath": "DB_USER_MIGRATIONS_PATH",
}
"""Keys under ``database:``, lower case and without underscores, and the variables that they stand for."""


class ConfigError(Exception):
    """A setting that cannot be parsed; the message says where it is."""


def load(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Every variable, from the environment or else from the files in ``directory``.

    A ``DATABASE_URL`` wins over ``DB_*`` of its own layer and those below, but not over a host or a name
    that a higher layer gives.

    Raises:
        ConfigError: a file cannot be read or parsed.
    """
    return {name: value for name, (value, _) in located(environment, directory).items()}


def located(environment: Mapping[str, str], directory: Path) -> dict[str, tuple[str, str]]:
    """As :func:`load`, with the layer that each variable comes from.

    Raises:
        ConfigError: as :func:`load`.
    """
    layers = {
        ENVIRONMENT: dict(environment),
        DOTENV: _dotenv(directory / DOTENV),
        YAML: _yaml(directory / YAML),
    }
    merged: dict[str, tuple[str, str]] = {}
    for place, layer in reversed(layers.items()):
        if {"DB_HOST", "DB_NAME"}.intersection(key for key, value in layer.items() if value):
            merged.pop("DATABASE_URL", None)
        merged |= {name: (value, place) for name, value in layer.items()}
    return merged


def export_libpq(merged: Mapping[str, str]) -> None:
    """Put ``PG*`` of the files where libpq reads it: in the process's own environment."""
    for name, value in merged.items():
        if name.startswith("PG"):
            os.environb.setdefault(name.encode(), value.encode("utf-8", "surrogateescape"))


def _dotenv(path: Path) -> dict[str, str]:
    text = _text(path)
    if not text.strip():
        return {}
    from dotenv.parser import parse_stream  # only where there is such a file

    variables = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            leading = len(binding.original.string) - len(binding.original.string.lstrip())
            line = binding.original.line + binding.original.string.count("\n", 0, leading)
            raise ConfigError(f"{path}:{line}: expected NAME=value")
        if binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    return variables


def _yaml(path: Path) -> dict[str, str]:
    text = _text(path)
    if not text.strip():
        return {}
    import yaml  # only where there is such a file: start is fast without it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML") from None
    database: Any = document.get("database") if isinstance(document, dict) else None
    if not isinstance(database, dict):
        return {}
    variables = {}
    for key, value in database.items():
        name = _YAML_KEYS.get(re.sub(r"[_-]", "", str(key)).lower())
        if name is not None and value is not None:
            variables[name] = str(value)
    return variables


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds(text: str) -> float:
    """A duration: ``90``, ``1.5s``, ``500ms``, ``5m``, ``1h30m``.

    Raises:
        ValueError: anything else.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise ValueError(f"{text!r} is not a duration like 30s or 5m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
