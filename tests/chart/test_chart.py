"""The chart as Helm renders it: rights, security, names, and refusals that explain themselves."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.localcluster.tools import tool
from fluxbase_migrations.api.spec import Spec

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/fluxbase"
TEMPLATE = ("template", "fluxbase", str(CHART), "--kube-version", "1.29.0")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tool("helm")), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def template(*settings: str, namespace: str = "fluxbase") -> list[dict[str, Any]]:
    arguments = [argument for setting in settings for argument in ("--set-json", setting)]
    done = helm(*TEMPLATE, "--namespace", namespace, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refused(*settings: str) -> str:
    arguments = [argument for setting in settings for argument in ("--set-json", setting)]
    done = helm(*TEMPLATE, *arguments)
    assert done.returncode != 0, "the chart should have refused these values"
    return done.stderr


def kinds(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def rules(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for kind in ("Role", "ClusterRole"):
        for role in kinds(documents, kind):
            yield from role["rules"]


DATABASE = 'config={"database":{"host":"db","existingSecret":"creds"}}'
PERSISTENCE = 'migrationsPersistence={"enabled":true}'
PATH = 'config.database.userMigrationsPath="/m"'
VOLUME = (PERSISTENCE, PATH)

ALL_VARIANTS = [
    (),
    ('watchNamespaces=["*"]',),
    ('watchNamespaces=["a","b"]', "replicas=2"),
    ("progress=false",),
]


def test_lint_finds_nothing() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("settings", ALL_VARIANTS)
def test_no_variant_may_touch_secrets_or_use_wildcards(settings: tuple[str, ...]) -> None:
    for rule in rules(template(*settings)):
        assert "secrets" not in rule["resources"]
        assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]


def test_default_scope_is_the_release_namespace_with_a_role() -> None:
    documents = template(namespace="shop")
    assert not kinds(documents, "ClusterRole")
    assert {role["metadata"]["namespace"] for role in kinds(documents, "Role")} == {"shop"}


def test_a_list_of_namespaces_gets_a_role_each() -> None:
    documents = template('watchNamespaces=["a","b"]', namespace="ops")
    assert not kinds(documents, "ClusterRole")
    assert sorted(role["metadata"]["namespace"] for role in kinds(documents, "Role")) == ["a", "b", "ops"]


@pytest.mark.parametrize("settings", [(DATABASE,), VOLUME], ids=["a set", "a claim"])
def test_what_the_chart_makes_is_watched(settings: tuple[str, ...]) -> None:
    documents = template('watchNamespaces=["a"]', *settings, namespace="ops")
    assert "value: a,ops" in yaml.safe_dump_all(kinds(documents, "Deployment"))
    namespaces = [role["metadata"]["namespace"] for role in kinds(documents, "Role")]
    assert sorted(namespaces) == ["a", "ops", "ops"], "one of the two is for the Lease"


def test_all_namespaces_take_a_cluster_role() -> None:
    assert kinds(template('watchNamespaces=["*"]'), "ClusterRole")


def test_without_progress_there_is_no_right_to_read_logs() -> None:
    assert any("pods/log" in rule["resources"] for rule in rules(template()))
    assert not any("pods/log" in rule["resources"] for rule in rules(template("progress=false")))


def test_the_deployment_meets_the_restricted_standard_and_is_named_fluxbase() -> None:
    [deployment] = kinds(template(), "Deployment")
    assert deployment["metadata"]["name"] == "fluxbase"
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]


def test_pod_labels_cannot_replace_the_chart_s_own() -> None:
    [deployment] = kinds(template('podLabels={"app.kubernetes.io/name":"other","team":"a"}'), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "fluxbase"
    assert labels["team"] == "a"


SEED_VALUES = (
    'migrationsPersistence={"enabled":true,"size":"100Mi","storageClass":""}',
    'config={"database":{"userMigrationsPath":"/migrations/user"}}',
)


def test_the_documented_persistence_values_make_a_kept_claim_mounted_in_one_pod() -> None:
    documents = template(*SEED_VALUES)
    [claim] = kinds(documents, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "storageClassName" not in claim["spec"], "empty means the cluster's default"
    [deployment] = kinds(documents, "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    mounts = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "migrations", "mountPath": "/migrations/user"} in mounts


def test_an_existing_claim_is_used_and_none_is_made() -> None:
    documents = template(
        'migrationsPersistence={"enabled":true,"existingClaim":"mine"}',
        'config={"database":{"userMigrationsPath":"/m"}}',
    )
    assert not kinds(documents, "PersistentVolumeClaim")
    [deployment] = kinds(documents, "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"name": "migrations", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_a_configured_database_makes_a_set_without_any_password_in_it() -> None:
    [migration_set] = kinds(
        template(
            'config={"database":{"host":"db","user":"app","existingSecret":"creds"}}',
            'userMigrations={"configMap":"user-migrations"}',
        ),
        "FluxbaseMigrationSet",
    )
    assert migration_set["spec"]["database"]["connection"] == {
        "host": "db",
        "port": 5432,
        "name": "fluxbase",
        "sslMode": "prefer",
        "user": "app",
        "passwordFrom": {"secretKeyRef": {"name": "creds", "key": "password"}},
    }
    assert migration_set["spec"]["tracks"]["user"]["source"] == {"configMap": {"name": "user-migrations"}}


def test_the_set_is_looked_at_daily_and_may_begin_with_an_empty_volume() -> None:
    [on_volume] = kinds(template(DATABASE, *VOLUME), "FluxbaseMigrationSet")
    assert on_volume["spec"]["verify"] == {"interval": "24h"}
    assert on_volume["spec"]["tracks"]["user"]["allowEmpty"] is True
    settings = (DATABASE, 'userMigrations.configMap="files"', 'verify={"interval":""}')
    [from_config_map] = kinds(template(*settings), "FluxbaseMigrationSet")
    assert "verify" not in from_config_map["spec"]
    assert "allowEmpty" not in from_config_map["spec"]["tracks"]["user"]


def test_no_database_configured_makes_no_set() -> None:
    assert not kinds(template(), "FluxbaseMigrationSet")


def operators_environment(documents: list[dict[str, Any]]) -> dict[str, str]:
    (deployment,) = kinds(documents, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_lease_is_the_releases_own_and_always_held(replicas: int) -> None:
    leases = set()
    for release in ("fluxbase", "blue"):
        arguments = [
            "template",
            release,
            *TEMPLATE[2:],
            "--namespace",
            "one",
            "--set",
            f"replicas={replicas}",
        ]
        documents = [one for one in yaml.safe_load_all(helm(*arguments).stdout) if one]
        found = operators_environment(documents)
        assert "LEADER_ELECTION" not in found, "the operator's default"
        named = [rule["resourceNames"] for rule in rules(documents) if "resourceNames" in rule]
        assert named == [[found["LEASE_NAME"]]]
        leases.add(found["LEASE_NAME"])
    assert leases == {"fluxbase", "blue-fluxbase"}


def test_the_readiness_probe_asks_whether_all_can_be_watched() -> None:
    (deployment,) = kinds(template(), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


ZEROS = f"sha256:{64 * '0'}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), "fluxbase/fluxbase-migrations-runner:0.1.0"),
        (('image.tag="9"',), "fluxbase/fluxbase-migrations-runner:9"),
        (('image.repository="r/x"',), "r/x:0.1.0"),
        (('image.repository="r/x"', 'image.tag="9"'), "r/x:9"),
        ((f'image.digest="{ZEROS}"',), f"fluxbase/fluxbase-migrations@{ZEROS}"),
        (('image.repository="r/x"', 'runnerImage.repository="r/y"', 'image.tag="9"'), "r/y:9"),
        ((f'image.digest="{ZEROS}"', 'runnerImage.repository="r/y"', 'runnerImage.tag="8"'), "r/y:8"),
    ],
    ids=[
        "as released",
        "a release by its tag",
        "one image of somebody's own does both",
        "with a tag",
        "a digest says nothing of the other image",
        "two images of somebody's own",
        "with a digest and a tag",
    ],
)
def test_jobs_run_the_image_that_is_theirs(given: tuple[str, ...], expected: str) -> None:
    assert operators_environment(template(*given))["MIGRATION_IMAGE"] == expected


# Each documented value: settings that use it, and the kind and text of the object that it shows in.
VALUES: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "image.repository": (('image.repository="r/x"',), "Deployment", "image: r/x:0.1.0"),
    "image.tag": (('image.tag="9"',), "Deployment", "image: fluxbase/fluxbase-migrations:9"),
    "image.digest": ((f'image.digest="sha256:{64 * "0"}"',), "Deployment", "migrations@sha256:0000"),
    "runnerImage.repository": (('runnerImage.repository="r/x"',), "Deployment", "value: r/x:0.1.0"),
    "runnerImage.tag": (
        ('runnerImage.tag="9"',),
        "Deployment",
        "value: fluxbase/fluxbase-migrations-runner:9",
    ),
    "runnerImage.digest": (
        (f'runnerImage.digest="sha256:{64 * "0"}"',),
        "Deployment",
        "value: fluxbase/fluxbase-migrations-runner@sha256:0000",
    ),
    "image.pullPolicy": (('image.pullPolicy="Never"',), "Deployment", "value: Never"),
    "imagePullSecrets": (
        (DATABASE, 'imagePullSecrets=[{"name":"registry"}]'),
        "FluxbaseMigrationSet",
        "name: registry",
    ),
    "watchNamespaces": (('watchNamespaces=["a","b"]',), "Deployment", "value: a,b"),
    "replicas": (("replicas=2",), "Deployment", "replicas: 2"),
    "operatorName": (('operatorName="1"', DATABASE), "FluxbaseMigrationSet", "operator: '1'"),
    "maxConcurrentJobs": (("maxConcurrentJobs=3",), "Deployment", "value: '3'"),
    "maxConcurrentJobsPerNamespace": (("maxConcurrentJobsPerNamespace=4",), "Deployment", "value: '4'"),
    "progress": (("progress=false",), "Deployment", "value: 'off'"),
    "logFormat": (('logFormat="json"',), "Deployment", "value: json"),
    "resources.requests.cpu": (('resources.requests.cpu="7m"',), "Deployment", "cpu: 7m"),
    "resources.requests.memory": (('resources.requests.memory="7Mi"',), "Deployment", "memory: 7Mi"),
    "resources.limits.memory": (('resources.limits.memory="7Gi"',), "Deployment", "memory: 7Gi"),
    "serviceAccount.create": (
        ("serviceAccount.create=false", 'serviceAccount.name="mine"'),
        "Deployment",
        "serviceAccountName: mine",
    ),
    "serviceAccount.name": (('serviceAccount.name="mine"',), "ServiceAccount", "name: mine"),
    "serviceAccount.annotations": (('serviceAccount.annotations={"a":"b"}',), "ServiceAccount", "a: b"),
    "podAnnotations": (('podAnnotations={"a":"b"}',), "Deployment", "a: b"),
    "podLabels": (('podLabels={"team":"b"}',), "Deployment", "team: b"),
    "nodeSelector": (('nodeSelector={"disk":"fast"}',), "Deployment", "disk: fast"),
    "tolerations": (('tolerations=[{"operator":"Exists"}]',), "Deployment", "operator: Exists"),
    "affinity": (('affinity={"podAffinity":{}}',), "Deployment", "podAffinity: {}"),
    "priorityClassName": (('priorityClassName="high"',), "Deployment", "priorityClassName: high"),
    "migrationsPersistence.enabled": (VOLUME, "PersistentVolumeClaim", "name: fluxbase-migrations"),
    "migrationsPersistence.size": (
        (*VOLUME, 'migrationsPersistence.size="2Gi"'),
        "PersistentVolumeClaim",
        "storage: 2Gi",
    ),
    "migrationsPersistence.storageClass": (
        (*VOLUME, 'migrationsPersistence.storageClass="fast"'),
        "PersistentVolumeClaim",
        "storageClassName: fast",
    ),
    "migrationsPersistence.accessMode": (
        (*VOLUME, 'migrationsPersistence.accessMode="ReadWriteMany"', "replicas=2"),
        "PersistentVolumeClaim",
        "- ReadWriteMany",
    ),
    "migrationsPersistence.existingClaim": (
        (*VOLUME, DATABASE, PATH, 'migrationsPersistence.existingClaim="mine"'),
        "FluxbaseMigrationSet",
        "claimName: mine",
    ),
    "config.database.existingSecret": (
        ('config.database.existingSecret="s"',),
        "FluxbaseMigrationSet",
        "key: url\n        name: s",
    ),
    "config.database.host": ((DATABASE,), "FluxbaseMigrationSet", "host: db"),
    "config.database.port": ((DATABASE, "config.database.port=6"), "FluxbaseMigrationSet", "port: 6"),
    "config.database.name": ((DATABASE, 'config.database.name="n"'), "FluxbaseMigrationSet", "name: n\n"),
    "config.database.user": ((DATABASE, 'config.database.user="u"'), "FluxbaseMigrationSet", "user: u"),
    "config.database.sslMode": (
        (DATABASE, 'config.database.sslMode="verify-full"'),
        "FluxbaseMigrationSet",
        "sslRootCertFrom:\n        secretKeyRef:\n          key: ca.crt\n          name: creds",
    ),
    "config.database.userMigrationsPath": (VOLUME, "Deployment", "mountPath: /m\n"),
    "approval": ((DATABASE, 'approval="Manual"'), "FluxbaseMigrationSet", "approval: Manual"),
    "exposure": ((DATABASE, 'exposure="Fail"'), "FluxbaseMigrationSet", "exposure: Fail"),
    "verify.interval": ((DATABASE, 'verify.interval="6h"'), "FluxbaseMigrationSet", "interval: 6h"),
    "userMigrations.configMap": (
        (DATABASE, 'userMigrations.configMap="files"'),
        "FluxbaseMigrationSet",
        "name: files",
    ),
    "userMigrations.table": (
        (DATABASE, *VOLUME, 'userMigrations.table="public.versions"'),
        "FluxbaseMigrationSet",
        "table: public.versions",
    ),
    "userMigrations.baseline": (
        (DATABASE, 'userMigrations={"configMap":"files","baseline":20240102030405}'),
        "FluxbaseMigrationSet",
        "baseline: 20240102030405\n",
    ),
}


@pytest.mark.parametrize("value", VALUES)
def test_a_documented_value_does_what_it_says(value: str) -> None:
    settings, kind, text = VALUES[value]
    documents = kinds(template(*settings), kind)
    assert text in yaml.safe_dump_all(documents), yaml.safe_dump_all(documents)
    for document in documents:
        if kind == "FluxbaseMigrationSet":
            Spec.model_validate(document["spec"])


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name


def test_every_value_is_documented_and_every_documented_one_is_tested() -> None:
    assert set(leaves(yaml.safe_load(helm("show", "values", str(CHART)).stdout))) == set(VALUES)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("replicas=2", *SEED_VALUES), "replicas"),
        (('migrationsPersistence={"enabled":true}',), "userMigrationsPath"),
        (
            (
                'migrationsPersistence={"enabled":true,"accessMode":"ReadWriteOncePod"}',
                'config={"database":{"userMigrationsPath":"/m"}}',
            ),
            "ReadWriteOncePod",
        ),
        (('config={"database":{"host":"db"}}',), "existingSecret"),
        (
            (
                'migrationsPersistence={"enabled":true}',
                'userMigrations={"configMap":"files"}',
                'config={"database":{"existingSecret":"s","userMigrationsPath":"/m"}}',
            ),
            "choose one",
        ),
        (('imagee={"tag":"1"}',), "imagee"),
        (('config={"database":{"sslMode":"on"}}',), "sslMode"),
        (('approval="manual"',), "approval"),
        (('exposure="fail"',), "exposure"),
        (('config={"database":{"port":"5432"}}',), "port"),
        ((PERSISTENCE, 'config.database.userMigrationsPath="/"'), "userMigrationsPath"),
        (("serviceAccount.create=false",), "serviceAccount.name"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(settings: tuple[str, ...], words: str) -> None:
    assert words in refused(*settings)
