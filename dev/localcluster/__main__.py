"""The command line: ``python3 -m dev.localcluster COMMAND``."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from dev.localcluster import lifecycle, parts, shell
from dev.localcluster.report import ClusterError, Progress

TOOLS = ("kubectl", "helm", "psql", "migrate")


def main() -> int:
    """Run one command; returns the exit code."""
    arguments = _arguments(sys.argv[1:])
    progress = Progress()
    try:
        return int(arguments.run(arguments, progress) or 0)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on", file=sys.stderr)
        sys.stderr.flush()
        # Without waiting for threads: what they run ends with this process.
        os._exit(130)


def _arguments(words: list[str]) -> argparse.Namespace:
    if words and words[0] in TOOLS:
        # Everything after the tool's name is the tool's, options too; argparse would take those for its own.
        return argparse.Namespace(run=_tool, command=words[0], args=words[1:])
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev.localcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("up", _up, "start the cluster with PostgreSQL, building what is missing")
    add("demo", _demo, "install the chart and apply examples/shop")
    add("demo-failure", _demo_failure, "the demo, then a migration that fails, and its repair")
    down = add("down", _down, "end the cluster and remove its state")
    down.add_argument("--purge", action="store_true", help="remove what was built, too")
    add("status", _status, "show the parts, the node and its pods")
    add("image", _image, "build the operator's image, give it to the node, and print its name")
    add("kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    add("env", _env, "print shell commands that set KUBECONFIG, DATABASE_URL and PATH")
    add("parts", lambda *_: print(parts.markdown()), "print the table of the parts")
    for name in TOOLS:
        add(name, _tool, f"run {name} against the cluster, with all arguments that follow")
    return parser


def _up(_: argparse.Namespace, progress: Progress) -> None:
    cluster = lifecycle.up(progress)
    if cluster.node:
        print(progress.summary(), file=sys.stderr)
    print(f"KUBECONFIG={cluster.kubeconfig}")


def _demo(_: argparse.Namespace, progress: Progress) -> None:
    # Imported here: only the demo needs the product's source root on the path.
    from dev.localcluster import demo

    cluster = lifecycle.up(progress, operator_image=False)
    print(demo.install(cluster, progress))
    print(progress.summary(), file=sys.stderr)
    print(f"\nThe kubeconfig is {cluster.kubeconfig}")
    print("\n".join(shell.advice()))


def _demo_failure(arguments: argparse.Namespace, progress: Progress) -> None:
    from dev.localcluster import failure

    _demo(arguments, progress)
    failure.show(lifecycle.connect(), progress)


def _down(arguments: argparse.Namespace, progress: Progress) -> None:
    lifecycle.down(progress, purge=arguments.purge)
    shell.unlink()


def _status(_: argparse.Namespace, __: Progress) -> None:
    cluster = lifecycle.connect()
    if cluster.node:
        children = cluster.node.children()
        for name in cluster.parts:
            child = children.get(name)
            state = "not started" if child is None else "runs"
            if child and child["exit"] is not None:
                state = f"ended with exit code {child['exit']}"
            print(f"{name:25} {state}")
    print(cluster.kubectl("get", "nodes,pods", "-A", "-o", "wide"))


def _image(_: argparse.Namespace, progress: Progress) -> None:
    print(lifecycle.connect().ensure_image(progress))


def _kubeconfig(_: argparse.Namespace, __: Progress) -> None:
    print(lifecycle.connect().kubeconfig)


def _env(_: argparse.Namespace, __: Progress) -> None:
    cluster = lifecycle.connect()
    shell.link(shell.programs(cluster))
    print("\n".join(shell.exports(cluster)))


def _tool(arguments: argparse.Namespace, _: Progress) -> int:
    cluster = lifecycle.connect()
    name = arguments.command
    if name not in cluster.tools and name != "psql":
        raise ClusterError(f"{name} is not on PATH")
    # For kubectl's plugin; last, so that the directory's Python is nobody's.
    env = {**os.environ, **cluster.env, "PATH": f"{os.environ.get('PATH', os.defpath)}:{shell.VENV}"}
    if name == "psql":
        env |= cluster.psql_env()
    return subprocess.run(
        [cluster.tools.get(name, Path(name)), *arguments.args], env=env, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
