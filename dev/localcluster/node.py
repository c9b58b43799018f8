"""The node: its namespaces, and the requests to its process 1.

The node's processes end with one holder process. Its process id and start time are recorded, so that a later
run ends that process and never another one that got the same id.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.localcluster.layout import NODE_ADDRESS, OWN_FILES, SERVICE_SUBNET, Layout
from dev.localcluster.report import ClusterError, run, tail, wait_until

CGROUPS = Path("/sys/fs/cgroup")
# The node has its own directories at these paths, in the state directory.
OWN_PLACES = ("/run", "/var/lib", "/var/log")

# The shell records itself before it becomes the holder: a run that is killed never leaves a holder that is
# not recorded. Descriptor 3 is the machine's network, see nodeinit.py.
HOLDER = """
cat /proc/$$/stat > "$1.new" && mv "$1.new" "$1" && exec 3< /proc/$$/ns/net && shift && exec unshare \
    --net --mount --propagation private --pid --fork --kill-child --mount-proc -- "$@"
"""


@dataclass(frozen=True)
class Component:
    """A process of the node, kept by its process 1."""

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    # On the machine's network instead of the node's.
    machine_network: bool = False


class Node:
    """The node's namespaces and processes."""

    def __init__(self, where: Layout) -> None:
        self.where = where
        self._record = where.state / "holder"
        self._socket = where.run / "init.sock"

    # The holder

    def holder(self) -> int | None:
        """The process id of the holder if it is alive, as the machine counts them."""
        try:
            pid, started = _pid_and_start(self._record.read_text())
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError):
            return None
        dead = stat.rpartition(")")[2].split()[0] in "ZX"
        return None if dead or _pid_and_start(stat) != (pid, started) else pid

    def alive(self) -> bool:
        """Whether the holder is alive and process 1 answers."""
        if self.holder() is None:
            return False
        try:
            self._request({"do": "status"})
        except ClusterError:
            return False
        return True

    def begin(self) -> None:
        """Make the namespaces, with mounts and network, and start process 1.

        Raises:
            ClusterError: A step of the setup failed; carries its message.
        """
        state = self.where.state
        for place in OWN_PLACES:
            if any(path.is_relative_to(place) for path in (state, self.where.cache)):
                raise ClusterError(
                    f"{state} and {self.where.cache} must not be below {place}: the node has its own"
                )
        node_log = self.where.log / "node"
        for directory in (self.where.run, self.where.lib, node_log):
            directory.mkdir(parents=True, exist_ok=True)
        log = self.where.log / "node-init.log"
        config = state / "node-init.json"
        setup = [
            ["mount", "--make-rshared", "/"],
            *(
                ["mount", "--bind", str(own), place]
                for own, place in zip((self.where.run, self.where.lib, node_log), OWN_PLACES, strict=True)
            ),
            ["ip", "link", "set", "lo", "up"],
            # Not every kernel has dummy devices; a bridge without ports holds an address just as well.
            ["ip", "link", "add", "node0", "type", "bridge"],
            ["ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "node0"],
            ["ip", "link", "set", "node0", "up"],
            # Leads nowhere, on purpose; without a default route kubelet finds no address.
            ["ip", "route", "add", "default", "dev", "node0"],
            ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
            # kube-proxy changes two tables one after the other. A connection that comes in between would go
            # out untranslated, and be remembered so: it must be refused, or it hangs for a minute.
            *(
                ["iptables", "-A", chain, "-d", SERVICE_SUBNET, "-j", "REJECT"]
                for chain in ("OUTPUT", "FORWARD")
            ),
        ]
        config.write_text(json.dumps({"socket": "/run/init.sock", "setup": setup}))
        make_cgroups(self.where.node)
        with log.open("ab") as out:
            # --fork: it is not our child, so that Python does not warn about a child that is still running.
            subprocess.run(
                [
                    "setsid",
                    "--fork",
                    "sh",
                    "-c",
                    HOLDER,
                    "sh",
                    self._record,
                    sys.executable,
                    OWN_FILES / "nodeinit.py",
                    config,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=True,
            )

        def answers() -> bool:
            return self.alive()

        wait_until("the node's process 1", answers, timeout=20, why_not=lambda: f"{log}:\n{tail(log)}")

    def end(self) -> None:
        """End every process of the node and remove what they leave: cgroups and the state directory."""
        pid = self.holder()
        if pid is not None:
            _kill_and_wait(pid)
        remove_cgroups(self.where.node)
        for mount in reversed(_mounts_below(self.where.state)):
            run(["umount", "--lazy", mount])
        shutil.rmtree(self.where.state, ignore_errors=True)

    # Its components

    def start(self, component: Component) -> None:
        """Start a component unless it runs."""
        self._request(
            {
                "do": "start",
                "name": component.name,
                "argv": component.argv,
                "env": dict(component.env),
                "log": str(self.where.log / f"{component.name}.log"),
                "machine_network": component.machine_network,
            }
        )

    def stop(self, name: str, number: signal.Signals, timeout: float = 30) -> None:
        """Send a component a signal and wait until it has ended.

        Raises:
            ClusterError: It did not end within `timeout` seconds.
        """
        self._request({"do": "stop", "name": name, "number": int(number)})
        wait_until(
            f"{name} to end",
            lambda: not self.running(name),
            timeout=timeout,
            why_not=lambda: self.log_tail(name),
        )

    def children(self) -> dict[str, dict[str, Any]]:
        """Every component that was started: its pid within the node, and `exit` (None while it runs)."""
        children: dict[str, dict[str, Any]] = self._request({"do": "status"})["children"]
        return children

    def running(self, name: str) -> bool:
        """Whether a component runs."""
        child = self.children().get(name)
        return child is not None and child["exit"] is None

    def check_running(self, name: str) -> None:
        """Raise ClusterError with the component's last log lines if it has ended."""
        child = self.children().get(name)
        if child and child["exit"] is not None:
            raise ClusterError(f"{name} ended with exit code {child['exit']}\n{self.log_tail(name)}")

    def log_tail(self, name: str) -> str:
        """The last lines of a component's log, for quoting."""
        log = self.where.log / f"{name}.log"
        return f"{log}:\n{tail(log)}"

    def enter(self, argv: list[str]) -> list[str]:
        """The command that runs `argv` on the node's network, with the machine's files and processes."""
        pid = self.holder()
        if pid is None:
            raise ClusterError("the local cluster does not run; start it with: make up")
        return ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *argv]

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                connection.connect(str(self._socket))
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(connection.makefile().readline())
        except (OSError, ValueError) as error:
            raise ClusterError(f"the node's process 1 does not answer on {self._socket}: {error}") from error
        if "error" in answer:
            raise ClusterError(f"the node's process 1 refused {request.get('do')}: {answer['error']}")
        return answer


def _pid_and_start(stat: str) -> tuple[int, int]:
    """Process id and start time, in clock ticks since boot, from a line of /proc/PID/stat."""
    return int(stat.split()[0]), int(stat.rpartition(")")[2].split()[19])


def _kill_and_wait(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], 30)
        if not ended:
            raise ClusterError(f"process {pid}, which holds the node, did not end within 30 s of SIGKILL")
    finally:
        os.close(handle)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _mounts_below(directory: Path) -> list[str]:
    """Mount points below a directory; none unless a user mounted something there by hand."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if Path(point).is_relative_to(directory)]


def _hierarchies() -> Iterator[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS
    else:
        yield from (path for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists())


def make_cgroups(name: str) -> None:
    """The cgroup below which kubelet puts its pods: it must exist before kubelet starts."""
    for hierarchy in _hierarchies():
        if hierarchy == CGROUPS:
            with contextlib.suppress(OSError):
                (CGROUPS / "cgroup.subtree_control").write_text("+cpu +cpuset +memory +pids +io +hugetlb")
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # Version 1: a new cpuset has no processors, and takes no process until it has.
        for limit in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy != CGROUPS and (group / limit).exists() and not (group / limit).read_text().strip():
                (group / limit).write_text((hierarchy / limit).read_text())


def remove_cgroups(name: str) -> None:
    """Remove the node's cgroups, which are empty once its processes have ended."""

    def gone() -> bool:
        left = [hierarchy / name for hierarchy in _hierarchies() if (hierarchy / name).exists()]
        for group in left:
            for directory, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
        return not any(group.exists() for group in left)

    wait_until(f"the processes in the cgroups called {name} to end", gone, timeout=30)
