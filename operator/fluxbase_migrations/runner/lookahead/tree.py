"""Reading libpg_query's parse tree: names, lists and what stands anywhere within a statement."""

from collections.abc import Iterator
from typing import Any, Final

Name = tuple[str, ...]
"""A name as it is written: schema, if given, and name."""

_MESSAGE: Final = 11  # protobuf's TYPE_MESSAGE


def unwrapped(node: Any) -> tuple[str, Any]:
    """The kind of a ``Node``, like ``alter_table_stmt``, and what it holds."""
    kind = node.WhichOneof("node")
    return (kind, getattr(node, kind)) if kind else ("", node)


def name_of(range_var: Any) -> Name:
    """A relation's name."""
    return (range_var.schemaname, range_var.relname) if range_var.schemaname else (range_var.relname,)


def strings(nodes: Any) -> Name:
    """The strings of a list of ``String`` nodes, like ``schema.name``."""
    return tuple(node.string.sval for node in nodes if node.WhichOneof("node") == "string")


def object_name(node: Any) -> Name:
    """An object's name, as DROP, COMMENT and their like hold it."""
    kind, inner = unwrapped(node)
    match kind:
        case "list":
            return tuple(part for item in inner.items for part in object_name(item))
        case "string":
            return (inner.sval,)
        case "range_var":
            return name_of(inner)
        case "type_name":
            return strings(inner.names)
        case "object_with_args":
            return strings(inner.objname)
        case _:
            return ()


def children(message: Any) -> Iterator[tuple[str, Any]]:
    """The messages directly within a message, each with the name of its field; ``Node`` is unwrapped."""
    for field, value in message.ListFields():
        if field.type != _MESSAGE:
            continue
        for child in (value,) if hasattr(value, "ListFields") else value:
            if child.DESCRIPTOR.name == "Node":
                inner = unwrapped(child)[1]
                if inner is not child:
                    yield field.name, inner
            else:
                yield field.name, child


def descendants(message: Any) -> Iterator[Any]:
    """Every message within a message, itself first; deep expressions do not exhaust the stack."""
    stack = [message]
    while stack:
        node = stack.pop()
        yield node
        if node.DESCRIPTOR.name != "String":  # half of all messages, and nothing is in one
            stack.extend(inner for _, inner in children(node))


def is_a(message: Any, name: str) -> bool:
    """Whether a message is of that type, like ``RangeVar``."""
    return bool(message.DESCRIPTOR.name == name)


def option(definitions: Any, name: str) -> Any:
    """The ``DefElem`` of that name among some; None if it is not there."""
    for node in definitions:
        if node.WhichOneof("node") == "def_elem" and node.def_elem.defname == name:
            return node.def_elem
    return None


def is_on(definitions: Any, name: str) -> bool:
    """Whether a Boolean option like VERBOSE or CONCURRENTLY is given and not switched off."""
    definition = option(definitions, name)
    if definition is None:
        return False
    kind, value = unwrapped(definition.arg)
    match kind:
        case "string":
            return value.sval.lower() not in ("false", "off", "0")
        case "integer":
            return bool(value.ival)
        case "boolean":
            return bool(value.boolval)
        case _:
            return True


def constant_text(node: Any) -> str | None:
    """The string of a constant, a cast of one included; None for anything else."""
    kind, value = unwrapped(node)
    if kind == "type_cast":
        return constant_text(value.arg)
    if kind == "a_const" and value.WhichOneof("val") == "sval":
        return str(value.sval.sval)
    return None
