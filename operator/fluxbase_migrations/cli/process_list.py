"""A connection string on the command line can be read by every user of the machine (``ps``): blank it."""

from pathlib import Path

_ARGUMENTS_START = 48 - 3
"""Place of ``arg_start`` in /proc/self/stat (proc(5)), counted after the program's name in parentheses."""


def hide(argument: str) -> None:
    """Overwrite an option's value where the kernel shows it; without /proc nothing happens."""
    value = argument.encode("utf-8", "surrogateescape")
    try:
        command_line = Path("/proc/self/cmdline").read_bytes()
        stat = Path("/proc/self/stat").read_text()
        address = int(stat.rpartition(")")[2].split()[_ARGUMENTS_START])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            for word in command_line.split(b"\0"):
                address += len(word) + 1
                if word == value or (word.startswith(b"-") and word.partition(b"=")[2] == value):
                    memory.seek(address - 1 - len(value))
                    memory.write(b"*" * len(value))
    except OSError:
        return
