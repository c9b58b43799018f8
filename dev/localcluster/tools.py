"""Single tools for tests that need no cluster: Helm, golang-migrate as the peer, kubectl, kstatus."""

from pathlib import Path

from dev.localcluster import golang, parts
from dev.localcluster.cache import Cache, lock
from dev.localcluster.layout import layout
from dev.localcluster.report import Progress


def tool(name: str) -> Path:
    """The program ``helm``, ``migrate``, ``kubectl`` or ``kstatus``, built if it is not in the cache.

    Raises:
        ClusterError: It does not build; says where the log is.
        KeyError: There is no tool of that name.
    """
    if name in parts.KUBE_PROGRAMS:
        return golang.kube(Cache(layout().cache, Progress())) / name
    if name == "kstatus":
        return golang.kstatus(Cache(layout().cache, Progress()))
    go_tool = {candidate.name: candidate for candidate in parts.GO_TOOLS}[name]
    cache = Cache(layout().cache, Progress())
    built = cache.path(go_tool.name, golang.tool_key(go_tool)) / go_tool.name
    if built.exists():
        return built
    with lock(cache.root / "lock", "another build to end", cache.progress):
        return golang.tool(cache, go_tool)
