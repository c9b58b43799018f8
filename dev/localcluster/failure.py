"""``make demo-failure``: a migration that fails, what a user sees of it, and its repair."""

import shlex

from dev.localcluster.cluster import Cluster
from dev.localcluster.demo import NAMESPACE, await_user, undo_failure, write_files
from dev.localcluster.report import Progress


def show(cluster: Cluster, progress: Progress) -> None:
    """Run the failure on the running demo, showing each step as a user would type it.

    The example is left at the version that it had, so this can be run again.
    """
    undo_failure(cluster)
    progress.say("kubectl create configmap user-migrations --from-file=… # now with 005, which fails: 42804")
    write_files(cluster, "migrations", "failure")
    await_user(cluster, "Failed")
    _show(cluster, "get", "fbms", "shop")
    _show(cluster, "get", "fbms", "shop", "-o", "jsonpath={.status.tracks.user.error}")
    _show(cluster, "get", "events", "--field-selector", "involvedObject.name=shop,type=Warning")
    progress.say(
        "the same with a corrected 005: default dropped before the change of type, set again after it"
    )
    write_files(cluster, "migrations", "fixed")
    await_user(cluster, "Applied")
    _show(cluster, "get", "fbms", "shop")
    with progress.step("put the example back to where it was: targetVersion 4, rollback Allow"):
        undo_failure(cluster)


def _show(cluster: Cluster, *arguments: str) -> None:
    print(f"$ kubectl {shlex.join(arguments)} -n {NAMESPACE}", flush=True)
    print(cluster.kubectl(*arguments, "-n", NAMESPACE), flush=True)
