"""The CustomResourceDefinition, made from the models: ``python -m fluxbase_migrations.api.crd [--write]``.

Without ``--write`` it goes to standard output; with it, into ``crds/`` and the chart's copy.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.api.status_json import ADAPTER
from fluxbase_migrations.core.names import GROUP, KIND, PLURAL, SHORT_NAME, VERSION

FILE_NAME: Final = f"{GROUP}_{PLURAL}.yaml"
PATHS: Final = (Path("crds") / FILE_NAME, Path("deploy/helm/fluxbase/crds") / FILE_NAME)
"""Below the root of the repository; both are committed and the same."""

_HEADER: Final = "# Made from the models by `python -m fluxbase_migrations.api.crd --write`; do not edit.\n"

COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "System", "type": "integer", "jsonPath": ".status.tracks.system.version"},
    {"name": "User", "type": "integer", "jsonPath": ".status.tracks.user.version"},
    {"name": "Dirty", "type": "boolean", "jsonPath": ".status.dirty"},
    {"name": "Pending", "type": "integer", "jsonPath": ".status.pending"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Message",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
    },
)


def structural(schema: dict[str, Any], definitions: dict[str, Any], *, defaults: bool) -> dict[str, Any]:
    """Turn pydantic's JSON schema into a structural one: no references, no null, every field typed."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return structural({**target, **_without(schema, "$ref")}, definitions, defaults=defaults)
    if "anyOf" in schema and any(option.get("type") == "null" for option in schema["anyOf"]):
        (option,) = (option for option in schema["anyOf"] if option.get("type") != "null")
        return structural({**option, **_without(schema, "anyOf")}, definitions, defaults=defaults)
    result: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "title" | "$defs" | "propertyNames":
                continue
            case "default" if not defaults or value is None:
                continue
            case "default" if "properties" in schema:
                result["default"] = {}  # the properties' own defaults do the rest
            case "description":
                result["description"] = " ".join(value.split())
            case "properties":
                result["properties"] = {
                    name: structural(property_schema, definitions, defaults=defaults)
                    for name, property_schema in value.items()
                }
            case "items":
                result["items"] = structural(value, definitions, defaults=defaults)
            case "additionalProperties" if isinstance(value, bool):
                continue
            case _:
                result[key] = value
    if result.get("type") == "integer":
        result["format"] = "int64"
    return result


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    spec = Spec.model_json_schema(by_alias=True)
    status = ADAPTER.json_schema(by_alias=True)
    status_schema = structural(status, status.get("$defs", {}), defaults=False)
    status_schema.pop("required", None)
    status_schema["default"] = {"observedGeneration": -1}
    conditions = status_schema["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["fluxbase"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in COLUMNS],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A PostgreSQL database and the migrations that it should have.",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
                                "kind": {"type": "string", "description": KIND},
                                "metadata": {"type": "object"},
                                "spec": structural(spec, spec.get("$defs", {}), defaults=True),
                                "status": status_schema,
                            },
                        }
                    },
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """YAML without anchors: everything is written out where it belongs."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    """The CustomResourceDefinition as YAML."""
    return _HEADER + yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)


def main(arguments: list[str] | None = None) -> int:
    """Write the definition where it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m fluxbase_migrations.api.crd", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {' and '.join(map(str, PATHS))}")
    if not parser.parse_args(arguments).write:
        sys.stdout.write(text())
        return 0
    for path in PATHS:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
