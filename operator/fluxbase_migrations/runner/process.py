"""A program as a process of its own.

Most runs take less time than the start and the end of Python, so both are kept short.
"""

import contextlib
import gc
import os
import sys
from importlib import import_module
from typing import Final, NoReturn

_COLLECT_EVERY: Final = 50_000
"""Objects. Python's own 700 means hundreds of collections while modules are loaded, a tenth of the start."""


def run(module: str) -> NoReturn:
    """Call the module's ``main``, and end the process with the exit code that it returns."""
    gc.set_threshold(_COLLECT_EVERY)
    code: int = import_module(module).main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Nothing is open any more: the kernel frees memory faster than Python takes its modules apart.
    os._exit(code)
