"""A class of ours behaves as the standard library's dataclass does."""

import copy
import dataclasses
import inspect
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fluxbase_migrations.core import lazy_dataclass

PACKAGE = Path(__file__).parents[2] / "operator/fluxbase_migrations"


def classes(dataclass: Any) -> dict[str, type]:
    """The same classes, by one decorator or the other."""

    @dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        b: str = "x"
        c: list[int] = field(default_factory=list, compare=False)
        d: str = field(default="secret", repr=False)
        e: int = field(default=5, kw_only=True)
        n: ClassVar[int] = 7

    @dataclass(slots=True)
    class Changing:
        a: int
        b: list[int] = field(default_factory=list)
        c: int = field(default=3, init=False)
        d: list[int] = field(default_factory=list, init=False)

        def __post_init__(self) -> None:
            self.c += self.a

    @dataclass
    class Written:
        a: int

        def __repr__(self) -> str:
            return "written"

        def __eq__(self, other: object) -> bool:
            return True

    @dataclass(frozen=True, slots=True)
    class Empty:
        pass

    return {"Frozen": Frozen, "Changing": Changing, "Written": Written, "Empty": Empty}


OURS = classes(lazy_dataclass.dataclass)
THEIRS = classes(dataclasses.dataclass)

BEHAVIOUR: dict[str, Callable[[dict[str, Any]], object]] = {
    "repr": lambda of: repr(of["Frozen"](1, e=2)),
    "defaults": lambda of: dataclasses.astuple(of["Frozen"](a=1)),
    "a factory for each": lambda of: of["Frozen"](1).c is of["Frozen"](1).c,
    "equal": lambda of: of["Frozen"](1, c=[1]) == of["Frozen"](1, c=[2]),
    "unequal": lambda of: of["Frozen"](1) == of["Frozen"](2),
    "of another class": lambda of: of["Frozen"](1) == (1, "x"),
    "hash": lambda of: len({of["Frozen"](1), of["Frozen"](1), of["Frozen"](2)}),
    "no hash": lambda of: hash(of["Changing"](1)),
    "set frozen": lambda of: setattr(of["Frozen"](1), "a", 2),
    "delete frozen": lambda of: delattr(of["Frozen"](1), "a"),
    "set unknown": lambda of: setattr(of["Changing"](1), "nothing", 2),
    "missing argument": lambda of: of["Frozen"](),
    "unknown argument": lambda of: of["Frozen"](1, nothing=2),
    "keyword only": lambda of: of["Frozen"](1, "x", [], "d", 5),
    "replace": lambda of: repr(dataclasses.replace(of["Frozen"](1), b="y")),
    "asdict": lambda of: dataclasses.asdict(of["Changing"](1, [2])),
    "post init": lambda of: repr(of["Changing"](4)),
    "changed": lambda of: changed(of["Changing"](1)),
    "written": lambda of: (repr(of["Written"](1)), of["Written"](1) == 5),
    "written, no hash": lambda of: hash(of["Written"](1)),
    "empty": lambda of: (
        repr(of["Empty"]()),
        of["Empty"]() == of["Empty"](),
        len({of["Empty"](), of["Empty"]()}),
    ),
    "match": lambda of: of["Frozen"].__match_args__,
    "slots": lambda of: (of["Frozen"].__slots__, hasattr(of["Frozen"](1), "__dict__")),
    "copy": lambda of: repr(copy.deepcopy(of["Frozen"](1, c=[1]))),
    "documentation": lambda of: inspect.getmro(of["Frozen"])[1:],
}


def changed(one: Any) -> str:
    one.a = 9
    return repr(one)


def outcome(behaviour: Callable[[dict[str, Any]], object], of: dict[str, type]) -> object:
    try:
        return behaviour(of)
    except (TypeError, AttributeError) as error:
        return type(error), "" if isinstance(error, FrozenInstanceError) else str(error).partition(
            ".<locals>."
        )[2]


@pytest.mark.parametrize("what", BEHAVIOUR)
def test_a_class_behaves_as_the_standard_librarys_does(what: str) -> None:
    assert outcome(BEHAVIOUR[what], OURS) == outcome(BEHAVIOUR[what], THEIRS)


@lazy_dataclass.dataclass(frozen=True, slots=True)
class Pickled:
    a: int
    b: tuple[int, ...] = ()


def test_an_instance_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(Pickled(1, (2,)))) == Pickled(1, (2,))  # noqa: S301 - our own


def test_a_subclass_is_made_by_the_same_init() -> None:
    class More(Pickled):
        pass

    assert (More(3).a, Pickled(4).a) == (3, 4)


def test_what_a_run_imports_uses_it() -> None:
    importing = re.compile(r"^from dataclasses import .*\bdataclass\b|dataclasses\.dataclass\(", re.MULTILINE)
    found = [
        str(path)
        for layer in ("core", "runner", "system", "cli")
        for path in (PACKAGE / layer).glob("*.py")
        if path.name != "lazy_dataclass.py" and importing.search(path.read_text())
    ]
    assert found == []
