"""Modules that are executed when an attribute is first needed, not when they are imported.

A run needs libpq, and of psycopg little more. But ``import psycopg.pq`` also executes psycopg's ``__init__``,
which builds its whole interface with every adapter and imports asyncio for half of it: more than half of
the time from a program's start to its first statement. A deferred module is in ``sys.modules`` with all that
Python needs to find its submodules, and becomes complete by the first attribute that it lacks. So a deferred
module works as any other, only slower, in a program that imports with one thread, as ours does: two threads
that complete and import parts of one package at the same time deadlock.

The standard library's modules among them are for what few runs do, or no run: ``--help`` computes no digest,
and dataclasses ask inspect for nothing before Python 3.12.

What a release of psycopg needs of its ``__init__`` while it is imported may change: pyproject.toml admits the
series that the tests have seen.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any, Final, NamedTuple

_NEVER_COMPLETES: Final = frozenset(("__path__", "__warningregistry__", "__wrapped__"))
"""What the interpreter itself looks for in any module, and few modules have."""


class Module(NamedTuple):
    """A module to defer; no dataclass, as those import one of them."""

    name: str
    first: str = ""
    """The submodule that its own code imports before any other."""
    parts: Mapping[str, str] = {}
    """Its names that are taken from a submodule without executing it, each with the submodule."""


MODULES: Final = (
    Module("ctypes.util"),
    Module("hashlib"),
    Module("inspect"),
    Module("traceback"),
    Module("asyncio", parts={"CancelledError": "asyncio.exceptions"}),
    Module("psycopg", first="psycopg.pq"),
    Module("psycopg_binary"),
)


def defer_all() -> None:
    """Defer all of :data:`MODULES` that are installed and not imported yet."""
    for module in MODULES:
        defer(module)


def defer(deferred: Module) -> None:
    """Put a module into ``sys.modules`` without executing it; importing its submodules does not, either."""
    if deferred.name in sys.modules:
        return
    spec = find_spec(deferred.name)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    module.__dict__["__getattr__"] = _Completion(module, deferred)
    sys.modules[deferred.name] = module
    package, _, attribute = deferred.name.rpartition(".")
    if package:
        setattr(sys.modules[package], attribute, module)


class _Completion:
    """The ``__getattr__`` of a deferred module; Python calls it for a name that the module lacks."""

    def __init__(self, module: ModuleType, deferred: Module) -> None:
        self._module = module
        self._deferred = deferred
        self._lock = RLock()
        self._begun = False

    def __call__(self, name: str) -> Any:
        with self._lock:
            if not self._begun:  # else this thread is executing it, and has not reached the name yet
                if part := self._deferred.parts.get(name):
                    return getattr(import_module(part), name)
                if self._is_submodule(name):
                    if self._deferred.first:
                        import_module(self._deferred.first)
                    return import_module(f"{self._deferred.name}.{name}")
                if name not in _NEVER_COMPLETES:
                    self._complete()
        try:
            return self._module.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self._deferred.name!r} has no attribute {name!r}") from None

    def _is_submodule(self, name: str) -> bool:
        path = self._module.__dict__.get("__path__")
        return path is not None and PathFinder.find_spec(f"{self._deferred.name}.{name}", path) is not None

    def _complete(self) -> None:
        self._begun = True
        spec = self._module.__spec__
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(self._module)
        if self._module.__dict__.get("__getattr__") is self:
            del self._module.__dict__["__getattr__"]
