"""Process 1 of the node: sets the node up, then starts, stops and reaps its components on request.

It runs by itself, with nothing but the standard library, in the node's own process, mount and network
namespaces. Being process 1 there, its end is the end of every process of the node, containers included, and
of all its mounts and interfaces: however it ends, nothing is left to clean up.

Usage: nodeinit.py CONFIG, a JSON file with `socket`, the path to listen on, and `setup`, commands to run
first. The file descriptor 3 must be the network namespace of the machine. A request is one line of JSON, and
so is its answer.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MACHINE_NETWORK_FD = 3


@dataclass
class Child:
    """A component: its process within the node, and how it ended if it did."""

    pid: int
    argv: list[str]
    started: float
    exit: int | None = None


class Init:
    """The components, and the answers to requests about them."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}

    def reap(self) -> None:
        """Collect every process that ended: components, and orphans of containers."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for child in self.children.values():
                    if child.pid == pid and child.exit is None:
                        child.exit = os.waitstatus_to_exitcode(status)

    def start(self, name: str, argv: list[str], env: dict[str, str], log: str, machine_network: bool) -> None:
        """Start a component unless it runs already."""
        child = self.children.get(name)
        if child and child.exit is None:
            return
        if machine_network:
            argv = ["nsenter", f"--net=/proc/self/fd/{MACHINE_NETWORK_FD}", "--", *argv]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        if not machine_network:
            actions.append((os.POSIX_SPAWN_CLOSE, MACHINE_NETWORK_FD))
        signals = [signal.SIGPIPE, signal.SIGINT]
        pid = os.posix_spawnp(
            argv[0], argv, {**os.environ, **env}, file_actions=actions, setsid=True, setsigdef=signals
        )
        self.children[name] = Child(pid, argv, time.time())

    def stop(self, name: str, number: int) -> None:
        """Send a signal to a component if it runs; it is our child, so its process id can't be another's."""
        child = self.children.get(name)
        if child and child.exit is None:
            os.kill(child.pid, number)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks and describe all components."""
        self.reap()
        match request.pop("do"):
            case "start":
                self.start(**request)
            case "stop":
                self.stop(**request)
        return {"children": {name: asdict(child) for name, child in self.children.items()}}


def serve(path: Path) -> None:
    """Answer requests until killed."""
    init = Init()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(16)
    with selectors.DefaultSelector() as selector:
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    converse(init, listener)
                else:
                    os.read(wake_read, 4096)
                    init.reap()


def converse(init: Init, listener: socket.socket) -> None:
    """Answer one request; an invalid request gets an error and does not affect other clients."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):
        connection.settimeout(5)
        line = connection.makefile().readline()
        try:
            answer = init.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Set the node up and serve."""
    config = json.loads(Path(sys.argv[1]).read_text())
    for argv in config["setup"]:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(argv)}: {done.stderr.strip()}")
    os.set_inheritable(MACHINE_NETWORK_FD, True)
    serve(Path(config["socket"]))


if __name__ == "__main__":
    main()
