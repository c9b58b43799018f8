"""No text of a user is expanded in a Job: what is written is what the container gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef, TakeOverCommand
from fluxbase_migrations.core.names import ENV_JOB, Track
from tests.support.expansion import environment, expand

CANARY = "postgres://app:canary-7f3a@db/shop"
SECRETS = {"DATABASE_URL": CANARY, "PGUSER": CANARY, "PGPASSWORD": CANARY, "FLUXBASE_FILE_0": CANARY}
SETTINGS = Settings(image="image")
HOSTILE = st.lists(
    st.sampled_from(
        [
            *"$()a.\\\"'\n",
            "$$",
            "$(",
            "$(DATABASE_URL)",
            "$$(PGPASSWORD)",
            "$(PGUSER)",
            "$(FLUXBASE_FILE_0)",
            "$(LOG_FORMAT)",
        ]
    ),
    min_size=1,
    max_size=12,
).map(lambda parts: "".join(parts)[:63])


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("$(A)", "1"),
        ("$(A)$(A)-$(B)", "11-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("a$b $ $", "a$b $ $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$($(A))", "$($(A))"),
        ("a$$b", "a$b"),
    ],
)
def test_expansion_is_kubernetes_own(text: str, made: str) -> None:
    assert expand(text, {"A": "1", "$(A": "$($(A)"}) == made


def a_spec(text: str, *, parts: bool) -> Spec:
    """A set with ``text`` wherever a text may stand."""
    secret = {"secretKeyRef": {"name": "db", "key": "password"}}
    connection = {"host": text, "name": text, "user": text, "passwordFrom": secret}
    path = {"claimName": "files", "path": text}
    return Spec.model_validate(
        {
            "database": {"connection": connection} if parts else {"urlFrom": secret},
            "tracks": {"user": {"source": {"persistentVolumeClaim": path}}},
            "job": {
                "podAnnotations": {"a": text},
                "podLabels": {"a": text},
                "nodeSelector": {"a": text},
                "tolerations": [{"key": text}],
                "affinity": {"podAffinity": {"a": text}},
            },
        }
    )


@given(text=HOSTILE, parts=st.booleans())
def test_the_container_gets_what_is_written(text: str, parts: bool) -> None:
    spec = a_spec(text, parts=parts)
    owner = SetRef("uid", "namespace", "shop", text)
    job = jobs.job_spec(
        spec,
        Track.USER,
        owner,
        run=1,
        expected_digest=None,
        files=[("map", text)],
        force=ForceCommand(1, text),
        take_over=TakeOverCommand(text, text),
        command_database=DatabaseIdentity(text, text, 1, text),
        take_over_from=text,
        expected_database=DatabaseIdentity(text, text, 1, text),
        requested=True,
        requested_at=text,
    )
    for files in ([], [("map", text)]):
        body = jobs.manifest(spec, SETTINGS, job, name="job", inputs_digest="i", template="t", files=files)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        found = environment(container["env"], SECRETS)
        assert JobSpec.from_json(found[ENV_JOB]) == job
        if parts:
            assert (found["PGHOST"], found["PGDATABASE"], found["PGUSER"]) == (text, text, text)
        given_by_us = {name: value for name, value in found.items() if name not in SECRETS or parts}
        given_by_us.pop("PGPASSWORD", None)
        given_by_us.pop("FLUXBASE_FILE_0", None)
        assert CANARY not in json.dumps(given_by_us)
        for argument in [*container["command"], *container.get("args", ())]:
            assert expand(argument, found) == argument


def literals(value: Any) -> list[str]:
    """Every text in the fields of a container that Kubernetes expands."""
    containers = value["spec"]["template"]["spec"]["containers"]
    return [
        text
        for one in containers
        for text in (
            *one["command"],
            *one.get("args", ()),
            *(entry["value"] for entry in one["env"] if "value" in entry),
            *(mount.get("subPathExpr", "") for mount in one["volumeMounts"]),
        )
    ]


@given(text=HOSTILE)
def test_nothing_is_left_that_kubernetes_would_expand(text: str) -> None:
    spec = a_spec(text, parts=True)
    database = DatabaseIdentity(text)
    job = jobs.job_spec(
        spec,
        Track.USER,
        SetRef("u", "n", "s"),
        run=1,
        expected_digest=None,
        command_database=database,
        expected_database=database,
    )
    body = jobs.manifest(spec, SETTINGS, job, name="job", inputs_digest="i", template="t")
    for literal in literals(body):
        assert "$" not in literal.replace("$$", ""), literal
