"""Objects as JSON or YAML, as kubectl prints them."""

import json
from typing import Any, Final

from fluxbase_migrations.core.json_names import Json

_KEPT: Final = str.maketrans("", "", "\n\t")


def as_list(objects: list[Json], form: str) -> str:
    """One object of kind List, as ``kubectl get`` prints several."""
    items = [without_managed_fields(item) for item in objects]
    document = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
    return json.dumps(document, indent=4) if form == "json" else _yaml([document])


def as_file(objects: list[Json], form: str) -> str:
    """For ``kubectl create -f``: documents of YAML, or one of JSON."""
    return (
        as_list(objects, form)
        if form == "json"
        else _yaml([without_managed_fields(item) for item in objects])
    )


def without_managed_fields(resource: Json) -> Json:
    """An object as kubectl shows it."""
    metadata = {name: value for name, value in resource["metadata"].items() if name != "managedFields"}
    return {**resource, "metadata": metadata}


def _yaml(objects: list[Json]) -> str:
    """SQL is written in lines, as it is read."""
    import yaml  # here: few commands print it

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> Any:
        style = "|" if "\n" in value else None
        if not value.translate(_KEPT).isprintable():  # PyYAML would break lines at U+0085 and the like
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    documents: str = yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return documents.removesuffix("\n")  # that print adds; further ones belong to a file
