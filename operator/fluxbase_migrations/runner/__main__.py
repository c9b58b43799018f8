"""``python3 -m fluxbase_migrations.runner``: the process in the Job's pod.

Most runs take less time than the start and the end of Python, so both are kept short.
"""

import contextlib
import gc
import os
import sys
from typing import Final

_COLLECT_EVERY: Final = 50_000
"""Objects. Python's own 700 means hundreds of collections while modules are loaded, a tenth of the start."""


def main() -> None:
    """Run the Job, and end the process with its exit code."""
    gc.set_threshold(_COLLECT_EVERY)
    from fluxbase_migrations.runner import job

    code = job.main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Nothing is open any more: the kernel frees memory faster than Python takes its modules apart.
    os._exit(code)


if __name__ == "__main__":
    main()
