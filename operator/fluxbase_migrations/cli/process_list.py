"""A connection string on the command line can be read by everybody on the machine (``ps``): blank it."""

from pathlib import Path

_ARGUMENTS_START = 48 - 3
"""Place of ``arg_start`` in /proc/self/stat (proc(5)), counted after the program's name in parentheses."""


def hide(argument: str) -> None:
    """Overwrite an argument of this process where the kernel shows it; without /proc nothing happens."""
    wanted = argument.encode("utf-8", "surrogateescape")
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        stat = Path("/proc/self/stat").read_text()
        start = int(stat.rpartition(")")[2].split()[_ARGUMENTS_START])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            at = shown.find(wanted)
            while at >= 0:
                memory.seek(start + at)
                memory.write(b"*" * len(wanted))
                at = shown.find(wanted, at + len(wanted))
    except OSError:
        return
