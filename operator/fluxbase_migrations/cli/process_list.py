"""A connection string on the command line can be read by everybody on the machine (``ps``): blank it."""

from pathlib import Path

_ARGUMENTS_START = 48 - 3
"""Place of ``arg_start`` in /proc/self/stat (proc(5)), counted after the program's name in parentheses."""


def hide(argument: str) -> None:
    """Overwrite an option's value where the kernel shows it; without /proc nothing happens."""
    wanted = argument.encode("utf-8", "surrogateescape")
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        stat = Path("/proc/self/stat").read_text()
        place = int(stat.rpartition(")")[2].split()[_ARGUMENTS_START])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            for one in shown.split(b"\0"):
                place += len(one) + 1
                if one == wanted or (one.startswith(b"-") and one.partition(b"=")[2] == wanted):
                    memory.seek(place - 1 - len(wanted))
                    memory.write(b"*" * len(wanted))
    except OSError:
        return
