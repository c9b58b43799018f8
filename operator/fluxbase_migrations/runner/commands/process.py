"""A program as a process of its own.

Most runs take less time than the start and the end of Python, so both are kept short.
"""

import contextlib
import gc
import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from fluxbase_migrations.runner.commands.deferred_modules import defer_all

_COLLECT_EVERY: Final = 50_000
"""Objects. Python's own 700 means hundreds of collections while modules are loaded, a tenth of the start."""


def run(module: str) -> NoReturn:
    """Call the module's ``main``, and end the process with the exit code that it returns."""
    gc.set_threshold(_COLLECT_EVERY)
    defer_all()
    prepare_streams()
    code = _code(module)
    for stream in (sys.stdout, sys.stderr):
        # None: closed before the program began.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # Nothing is open any more: the kernel frees memory faster than Python tears its modules down.
    os._exit(code)


def _code(module: str) -> int:
    """The exit code, also where argparse ends the program, or Ctrl-C comes before it is handled."""
    try:
        code: int = import_module(module).main()
    except SystemExit as end:
        if isinstance(end.code, str):
            _say(end.code)
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:  # a traceback could quote a file or a credential
        from fluxbase_migrations.core.errors import InternalError

        _say(f"ERROR {InternalError.of(error)}")
        return 1
    return code


def prepare_streams() -> None:
    """Let streams take any character, and open those that are closed, so that no file gets their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:  # argparse of Python before 3.11.4 needs one
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text + "\n")
