"""What a command was asked to print."""

import sys
from collections.abc import Iterable

from fluxbase_migrations.runner.log import silence_stdout


def answer(lines: Iterable[str]) -> int:
    """Print ``lines``; the exit code is 1 where they cannot be written.

    A reader that has seen enough (``| head``) is no error.
    """
    text = "".join(f"{line}\n" for line in lines)
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        silence_stdout()
        print(f"ERROR cannot write to standard output: {error}", file=sys.stderr)
        return 1
    return 0
