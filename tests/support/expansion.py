"""What Kubernetes makes of ``$(NAME)`` in a container's variables, command and arguments.

The rules are those of its documentation: ``$(NAME)`` is the value of a variable that is defined before; one
that is not defined stays as it is written; ``$$`` is ``$``; any other ``$`` stays. Values from elsewhere are
not expanded.
"""

from collections.abc import Mapping, Sequence

from fluxbase_migrations.core.json_names import Json


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``text`` as the container gets it."""
    made, rest = "", text
    while rest:
        before, dollar, rest = rest.partition("$")
        made += before
        if rest.startswith("$"):
            made, rest = made + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, rest = rest[1:].partition(")")
            made += variables.get(name, f"$({name})")
        else:
            made += dollar
    return made


def environment(entries: Sequence[Json], values: Mapping[str, str]) -> dict[str, str]:
    """The variables of a container; ``values`` are those that come from elsewhere, by name."""
    made: dict[str, str] = {}
    for one in entries:
        if "valueFrom" not in one:
            made[one["name"]] = expand(one.get("value", ""), made)
        elif one["name"] in values:
            made[one["name"]] = values[one["name"]]
    return made
