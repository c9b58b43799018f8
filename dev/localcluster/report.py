"""What the user of the terminal sees: steps with their times, commands that failed, waits that timed out."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HEARTBEAT_SECONDS = 30.0


class ClusterError(Exception):
    """An error for the user of the terminal: what happened, where, and what to do next."""


class Progress:
    """Prints a line when a step starts, now and then while it lasts, and with its time when it ends.

    Steps may run in several threads at once; each line names its step.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self.steps: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        """Print one line to standard error, with the seconds since the beginning."""
        with self._lock:
            print(f"[{time.monotonic() - self._begun:6.1f}s] {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report the block as one step and record its seconds in `steps`."""
        begun = time.monotonic()
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                self.say(f"{name}: still at it after {time.monotonic() - begun:.0f} s")

        self.say(f"{name} …")
        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        except BaseException:
            self.say(f"{name}: failed after {time.monotonic() - begun:.1f} s")
            raise
        finally:
            done.set()
        seconds = time.monotonic() - begun
        self.steps.append((name, seconds))
        self.say(f"{name}: done in {seconds:.1f} s")

    def summary(self) -> str:
        """The recorded steps as a table, the total below; parallel steps make the total less than the sum."""
        lines = [f"  {seconds:7.1f} s  {name}" for name, seconds in self.steps]
        return "\n".join([*lines, f"  {time.monotonic() - self._begun:7.1f} s  in all"])


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented for quoting; a note if it is missing or empty."""
    try:
        text = path.read_bytes()[-65536:].decode(errors="replace")
    except OSError:
        return f"    ({path} does not exist)"
    last = text.rstrip().splitlines()[-lines:]
    return "\n".join(f"    {line[:400]}" for line in last) or f"    ({path} is empty)"


def run(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a command and return its standard output, or nothing when both streams go to the file `log`.

    Args:
        argv: The program and its arguments.
        log: Where both streams are appended instead of being returned.
        timeout: Seconds after which the command is killed.
        env: Variables added to the environment.
        cwd: The directory to run in.
        stdin: Text for the command's standard input; without it, standard input is empty.

    Raises:
        ClusterError: The program is missing, failed or ran out of time; carries the last lines it printed.
    """
    words = [str(word) for word in argv]
    full_env = {**os.environ, **env} if env else None
    try:
        with contextlib.ExitStack() as stack:
            out = subprocess.PIPE if log is None else stack.enter_context(log.open("ab"))
            completed = subprocess.run(
                words,
                input=(stdin or "").encode(),
                stdout=out,
                stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
                env=full_env,
                cwd=cwd,
                timeout=timeout,
                check=False,
            )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed or not on PATH ({error})") from error
    except subprocess.TimeoutExpired as error:
        output = tail(log) if log else ""
        raise ClusterError(
            f"gave up after {timeout:.0f} s waiting for: {' '.join(words)}\n{output}"
        ) from error
    if completed.returncode != 0:
        last = (completed.stderr or completed.stdout or b"").decode(errors="replace").rstrip()[-4000:]
        output = f"{log}:\n{tail(log)}" if log else last
        raise ClusterError(f"exit code {completed.returncode} from: {' '.join(words)[:500]}\n{output}")
    return (completed.stdout or b"").decode()


def wait_until(
    what: str,
    ready: Callable[[], bool],
    *,
    timeout: float,
    why_not: Callable[[], str] = lambda: "",
    interval: float = 0.1,
) -> None:
    """Poll `ready` until it is true.

    Args:
        what: What is waited for, for the message.
        ready: Polled every `interval` seconds; may raise ClusterError to give up at once.
        timeout: Seconds to wait at most.
        why_not: Called on timeout; the state or log lines that explain it.
        interval: Seconds between polls.

    Raises:
        ClusterError: The time ran out.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"gave up after {timeout:.0f} s waiting for {what}\n{why_not()}".rstrip())
        time.sleep(interval)
