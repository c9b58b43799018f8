"""A set whose last run has failed, with everything around it, as an API server would give it."""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from fluxbase_migrations.cli.kubectl.cluster import Cluster
from fluxbase_migrations.core.json_names import Json

FILES = {
    "001_users.up.sql": "CREATE TABLE users (id bigint);\n",
    "001_users.down.sql": "DROP TABLE users;\n",
    "002_orders.up.sql": "CREATE TABLE orders (id bigint);\n",
    "002_orders.down.sql": "DROP TABLE orders;\n",
    "003_totals.up.sql": "ALTER TABLE orders ADD total nummeric;\n",
    "003_totals.down.sql": "ALTER TABLE orders DROP total;\n",
}
FAILURE = (
    '003_totals.up.sql:1:29: statement 1 of 1, ALTER TABLE: type "nummeric" does not exist (SQLSTATE 42704)'
)
EFFECT = "rolled back, nothing changed"
MESSAGE = (
    f"{FAILURE} [{EFFECT}]. Correct the file. To try it again unchanged: kubectl fluxbase retry, or "
    "annotation fluxbase.io/requested-at."
)


def ago(**span: float) -> str:
    return f"{datetime.now(UTC) - timedelta(**span):%Y-%m-%dT%H:%M:%SZ}"


def metadata(name: str, namespace: str = "fluxbase", **more: Any) -> Json:
    return {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1, **more}


def failed() -> Json:
    """Version 2 of 3, because of a type that does not exist."""
    return {
        "apiVersion": "fluxbase.io/v1alpha1",
        "kind": "FluxbaseMigrationSet",
        "metadata": metadata(
            "shop", creationTimestamp=ago(days=2, hours=3, minutes=1), managedFields=[{"manager": "helm"}]
        ),
        "spec": {
            "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
            "recovery": "Automatic",
            "retry": {"limit": 5, "backoff": "10s"},
            "suspend": False,
            "tracks": {
                "system": {"rollback": "Forbid", "enabled": True},
                "user": {"rollback": "Forbid", "source": {"configMap": {"name": "shop-migrations"}}},
            },
        },
        "status": {
            "observedGeneration": 1,
            "phase": "Failed",
            "pending": 1,
            "tracks": {
                "system": {
                    "phase": "Applied",
                    "version": 6,
                    "latest": 6,
                    "pending": 0,
                    "message": "version 6",
                },
                "user": {
                    "phase": "Failed",
                    "reason": "SQLError",
                    "version": 2,
                    "latest": 3,
                    "pending": 1,
                    "finishedAt": ago(minutes=5, seconds=1),
                    "message": MESSAGE,
                    "error": {
                        "file": "003_totals.up.sql",
                        "line": 1,
                        "column": 29,
                        "statement": "1 of 1, ALTER TABLE",
                        "message": 'type "nummeric" does not exist',
                        "sqlState": "42704",
                        "effect": EFFECT,
                    },
                },
            },
            "commands": {
                "requestedAt": {"value": "again", "state": "Obeyed", "time": ago(minutes=6, seconds=1)},
            },
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": "SQLError",
                    "message": f"system: version 6; user: {MESSAGE}",
                    "lastTransitionTime": ago(hours=2, minutes=3),
                }
                for kind, status in (("Ready", "False"), ("Stalled", "True"))
            ],
        },
    }


def applied(name: str = "blog") -> Json:
    """Both tracks are at their latest version."""
    found = failed()
    message = "system: version 6; user: version 14"
    found["metadata"] = metadata(name, creationTimestamp=ago(minutes=45))
    found["status"] = {
        "observedGeneration": 1,
        "phase": "Applied",
        "pending": 0,
        "tracks": {
            "system": {"phase": "Applied", "version": 6, "latest": 6, "pending": 0},
            "user": {
                "phase": "Applied",
                "version": 14,
                "latest": 14,
                "pending": 0,
                "finishedAt": ago(minutes=44),
                "applied": [{"version": 14, "name": "014_tags.up.sql", "direction": "up", "seconds": 0.027}],
            },
        },
        "conditions": [{"type": "Ready", "status": "True", "reason": "Applied", "message": message}],
    }
    return found


def job(track: str, run: int, kind: str, minutes: int) -> Json:
    created = datetime.now(UTC) - timedelta(minutes=minutes, seconds=1)
    end = created + timedelta(seconds=4)
    return {
        "metadata": {
            "name": f"shop-{track}-{run}",
            "labels": {"fluxbase.io/track": track, "fluxbase.io/run": str(run)},
            "creationTimestamp": created.isoformat(),
        },
        "status": {
            "startTime": created.isoformat(),
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": end.isoformat()}],
        },
    }


def event(kind: str, reason: str, message: str, minutes: int, count: int = 1) -> Json:
    return {
        "metadata": {},
        "type": kind,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": ago(hours=2, minutes=1),
        "lastTimestamp": ago(minutes=minutes, seconds=1),
    }


class Shown(Cluster):
    """A cluster that has these objects, and takes what is written to it."""

    def __init__(self, *sets: Json, namespace: str = "fluxbase", name: str = "shop") -> None:
        self.namespace, self.name = namespace, name
        self.found = list(sets) or [failed(), applied()]
        self.maps: dict[str, Json] = {"shop-migrations": {"data": FILES}}
        self.patches: list[Json] = []

    def read(self) -> Json:
        return next(one for one in self.found if one["metadata"]["name"] == self.name)

    def sets(self, *, everywhere: bool) -> list[Json]:
        return self.found

    def patch(self, body: Json) -> None:
        self.patches.append(body)

    def jobs(self, selector: str) -> list[Json]:
        assert selector.endswith("uid-shop")
        return [job("system", 3, "Complete", 8), job("user", 4, "Failed", 5), job("user", 3, "Complete", 7)]

    def events(self, uid: str) -> list[Json]:
        return [
            event("Warning", "SQLError", f"user: {FAILURE} [{EFFECT}]", 5, count=2),
            event("Normal", "Applied", "user migrations applied, version 2", 7),
        ]

    def operators(self, *, everywhere: bool) -> list[Json]:
        labels = {"app.kubernetes.io/name": "fluxbase", "app.kubernetes.io/version": "0.1.0"}
        container = {"image": "fluxbase/fluxbase-migrations:0.1.0"}
        return [
            {
                "metadata": {"name": "fluxbase", "namespace": "fluxbase", "labels": labels},
                "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
                "status": {"readyReplicas": 1},
            }
        ]

    def resource(self) -> Json:
        versions = [{"name": "v1alpha1", "served": True}]
        return {"metadata": {"name": "fluxbasemigrationsets.fluxbase.io"}, "spec": {"versions": versions}}

    def config_map(self, name: str) -> Json:
        if name not in self.maps:
            raise LookupError(f"ConfigMap {name} not found")
        return self.maps[name]


def options(*arguments: str) -> argparse.Namespace:
    """Of a command line."""
    from fluxbase_migrations.cli.kubectl.arguments import parser

    return parser().parse_args(arguments)
