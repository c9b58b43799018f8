"""The operator's settings, from its environment; documented in docs/operator.md."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fluxbase_migrations.controller.client.resources import NAME
from fluxbase_migrations.controller.process.lease import DEFAULT_NAME
from fluxbase_migrations.core.names import ENV_LOG_FORMAT

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Settings:
    """See docs/operator.md for what each is."""

    image: str
    namespaces: tuple[str, ...] = ()
    """Empty: all namespaces."""
    pull_policy: str = "IfNotPresent"
    pod_name: str = ""
    pod_namespace: str = "default"
    node_name: str = ""
    claim: str = ""
    claim_node_bound: bool = False
    restarted_at: str = ""
    max_concurrent_jobs: int = 20
    max_concurrent_jobs_per_namespace: int = 0
    """0: no limit for each namespace."""
    progress: bool = True
    log_format: str = "text"
    user: int | None = None
    """Numeric user, group and fsGroup of the Jobs; None: that of the image.

    It is the operator's own user, so that both can read a volume."""
    leader_election: bool = False
    lease_name: str = DEFAULT_NAME
    operator_name: str = ""
    """This operator is responsible for the sets whose ``spec.operator`` has this name."""
    http_port: int = 8080
    resync: float = 600.0
    """Seconds until a set is reconciled again without an event, with jitter."""
    workers: int = 10

    @property
    def installation(self) -> str:
        """Which installation this is, all of its replicas: namespace/name of their Lease."""
        return f"{self.pod_namespace}/{self.lease_name}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], user: int | None = None) -> "Settings":
        """Read the environment; ``user`` is the operator's own numeric user.

        Raises:
            ValueError: a variable is missing or cannot be read, with its name.
        """
        image = environment.get("MIGRATION_IMAGE", "")
        if not image:
            raise ValueError("MIGRATION_IMAGE is not set: the image that the Jobs run")
        own = environment.get("POD_NAMESPACE") or "default"
        watched = [
            name.strip() for name in environment.get("WATCH_NAMESPACES", "").split(",") if name.strip()
        ]
        return cls(
            image=image,
            namespaces=() if ALL in watched else tuple(watched or [own]),
            pull_policy=environment.get("JOB_IMAGE_PULL_POLICY") or "IfNotPresent",
            pod_name=environment.get("POD_NAME") or socket.gethostname(),
            pod_namespace=own,
            node_name=environment.get("NODE_NAME", ""),
            claim=environment.get("MIGRATIONS_CLAIM", ""),
            claim_node_bound=_boolean(environment, "MIGRATIONS_CLAIM_NODE_BOUND", False),
            restarted_at=environment.get("RESTARTED_AT", ""),
            max_concurrent_jobs=_number(environment, "MAX_CONCURRENT_JOBS", 20),
            max_concurrent_jobs_per_namespace=_number(
                environment, "MAX_CONCURRENT_JOBS_PER_NAMESPACE", 0, least=0
            ),
            progress=_boolean(environment, "PROGRESS", True),
            log_format=environment.get(ENV_LOG_FORMAT) or "text",
            user=user or None,
            leader_election=_boolean(environment, "LEADER_ELECTION", True),
            lease_name=_name(environment, "LEASE_NAME") or DEFAULT_NAME,
            operator_name=_name(environment, "OPERATOR_NAME"),
            http_port=_number(environment, "HTTP_PORT", 8080),
        )


def _name(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if value and NAME.fullmatch(value) is None:
        raise ValueError(
            f"invalid {name} {value!r}: only lower case letters, digits, '-' and '.' are allowed"
        )
    return value


def _boolean(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in ("", "1", "true", "on", "yes"):
        return default if value == "" else True
    if value in ("0", "false", "off", "no"):
        return False
    raise ValueError(f"invalid {name} {value!r}: must be true or false")


def _number(environment: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    value = environment.get(name, "").strip()
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise ValueError(f"invalid {name} {value!r}: must be a whole number of at least {least}")
    return int(value)
