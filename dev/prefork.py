"""Our command line, forked from a process that has already imported it.

Starting Python and importing the runner is most of what a short command costs; a test with hundreds of
commands pays it once. The fork is the program itself, with arguments, environment and streams of its
own. Where the start itself is tested, tests run the installed command instead.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]


class Prefork:
    """The process that forks; commands are given to it one after the other."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dev.prefork"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"},
            cwd=ROOT,
            text=True,
        )

    def run(self, arguments: Sequence[str], stdin: str, timeout: float) -> tuple[int, str]:
        """Exit code and output of one command; it is killed after ``timeout`` seconds, which is an error."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both streams are pipes")
        with tempfile.NamedTemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            order = {"arguments": [*arguments], "stdin": stdin, "output": output.name, "timeout": timeout}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            printed = Path(output.name).read_text(errors="replace")
        if code == -signal.SIGKILL:
            raise AssertionError(f"killed after {timeout:g} s: {arguments[-1]}\n{printed}")
        return code, printed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It ends when its input does."""
        self._process.communicate(timeout=60)


def serve() -> None:
    """Read orders, one a line; answer each with an exit code."""
    import psycopg  # noqa: F401  # imported for the children

    import fluxbase_migrations.runner.commands.verbs  # noqa: F401
    from fluxbase_migrations.cli.migrate import main

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
            os._exit(_exit_code(main, order["arguments"]))
        print(_wait(child, order["timeout"]), flush=True)


def _become(order: Mapping[str, str]) -> None:
    """Streams, directory and arguments as a shell would give them."""
    with tempfile.TemporaryFile() as standard_input:
        standard_input.write(order["stdin"].encode())
        standard_input.seek(0)
        os.dup2(standard_input.fileno(), 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["fluxbase-migrate", *order["arguments"]]
    os.environ.pop("PYTHONPATH", None)
    os.chdir(tempfile.gettempdir())


def _exit_code(main: object, arguments: Sequence[str]) -> int:
    """The exit code that the interpreter would end with."""
    try:
        code = main(arguments)  # type: ignore[operator]
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _wait(child: int, timeout: float) -> int:
    """The child's exit code; negative for a signal."""
    descriptor = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([descriptor], [], [], timeout)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve()
