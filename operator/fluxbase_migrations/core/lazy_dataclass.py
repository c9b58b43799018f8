"""The standard library's ``dataclass``, whose methods are compiled on first use.

The original writes and compiles the source of six methods for each class while the module is imported: two
thirds of what importing our own modules takes, and no run ever calls most of them. Here, ``__init__`` is
compiled when the first instance is created, and the other methods are the same functions for all classes.
Fields, ``replace``, ``asdict``, matching and slots are the standard library's own.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False) -> Any:
        """As :func:`dataclasses.dataclass`, of whose options it has these."""

        def make(cls: type) -> type:
            lazy = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
            methods = {"__init__": _first_init(lazy, frozen), "__repr__": _repr, "__eq__": _eq}
            if frozen:
                methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete, "__hash__": _hash}
                methods |= {"__getstate__": _state, "__setstate__": _set_state}
            else:
                methods |= {"__hash__": None}
            for name, method in methods.items():
                if name not in cls.__dict__ or (name == "__hash__" and cls.__hash__ is None):
                    setattr(lazy, name, method)
            return lazy

        return make if cls is None else make(cls)


def _first_init(cls: type, frozen: bool) -> Callable[..., None]:
    """The ``__init__`` of a class that has no instance yet: it replaces itself by the compiled one."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init = _compiled_init(cls, frozen)
        type.__setattr__(cls, "__init__", init)
        init(self, *args, **kwargs)

    return __init__


def _compiled_init(cls: Any, frozen: bool) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_missing": dataclasses.MISSING}
    positional: list[str] = []
    keyword: list[str] = []
    body = []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        if field.default is not dataclasses.MISSING:
            names[f"_of_{name}"] = field.default
            default = f"=_of_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"_make_{name}"] = field.default_factory
            default = "=_missing"
            value = f"_make_{name}() if {name} is _missing else {name}"
        else:
            default = ""
        if field.init:
            (keyword if field.kw_only else positional).append(name + default)
        elif default:
            value = f"_make_{name}()" if default == "=_missing" else f"_of_{name}"
        else:
            continue
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ["self", *positional, *(["*", *keyword] if keyword else [])]
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"])
    exec(compile(source, f"<fields of {cls.__qualname__}>", "exec"), names)  # noqa: S102 - names of fields
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


@functools.cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    """Returns the values by which instances are compared; cached, as the operator compares many."""
    names = [field.name for field in dataclasses.fields(cls) if field.compare]
    return operator.attrgetter(*names) if names else lambda _: ()


def _eq(self: Any, other: object) -> Any:
    compared = _compared(self.__class__)
    if other.__class__ is not self.__class__:
        return NotImplemented
    return other is self or compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self.__class__)(self))


def _repr(self: Any) -> str:
    names = (field.name for field in dataclasses.fields(self) if field.repr)
    pairs = (f"{name}={getattr(self, name)!r}" for name in names)
    return f"{self.__class__.__qualname__}({', '.join(pairs)})"


def _refuse_set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
