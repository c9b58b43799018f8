"""``kubectl fluxbase version``: this program, the operators of the cluster, and the resource."""

from collections.abc import Iterator, Sequence

from fluxbase_migrations import __version__
from fluxbase_migrations.cli.kubectl.layout import table
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, VERSION

LABEL_VERSION = "app.kubernetes.io/version"


def client() -> str:
    """This program."""
    return f"Client: {__version__}"


def cluster(operators: Sequence[Json] | str, resource: Json | str, width: int | None) -> Iterator[str]:
    """What the cluster has; a text instead of objects says why it could not be read."""
    if isinstance(operators, str):
        yield f"Operator: {operators}"
    elif not operators:
        yield "Operator: no Deployment with the label app.kubernetes.io/name=fluxbase"
    else:
        yield "Operator:"
        heading = ("NAMESPACE", "NAME", "VERSION", "READY", "IMAGE")
        rows = [heading, *(_operator(operator) for operator in operators)]
        yield from (f"  {line}" for line in table(rows, width and width - 2, (4,)))
    yield f"Resource: {resource if isinstance(resource, str) else _resource(resource)}"


def _operator(deployment: Json) -> tuple[str, ...]:
    metadata, containers = deployment["metadata"], deployment["spec"]["template"]["spec"]["containers"]
    ready, desired = (
        deployment.get("status", {}).get("readyReplicas") or 0,
        deployment["spec"].get("replicas", 1),
    )
    return (
        metadata["namespace"],
        metadata["name"],
        (metadata.get("labels") or {}).get(LABEL_VERSION, "<unknown>"),
        f"{ready}/{desired}",
        ", ".join(container["image"] for container in containers),
    )


def _resource(definition: Json) -> str:
    served = [version["name"] for version in definition["spec"]["versions"] if version.get("served")]
    text = f"{definition['metadata']['name']}, serves {', '.join(served)}"
    return text if VERSION in served else f"{text}; this program needs {API_VERSION}"
