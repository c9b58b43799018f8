"""A TAB in bash: what asks a program is argcomplete's own script."""

import subprocess
import sys
from pathlib import Path

from dev.peers import environment

_ASK = """
eval "$("$1" completion bash)"
COMP_LINE="$2"; COMP_POINT=${#2}; COMP_TYPE=9
_python_argcomplete "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(line: str, directory: Path, **variables: str) -> set[str]:
    """The words that bash offers at the end of ``line``, which begins with a program of ours."""
    path = f"{Path(sys.executable).parent}:{environment({})['PATH']}"
    done = subprocess.run(
        ["bash", "-c", _ASK, "bash", line.split()[0], line],
        env=environment({"PATH": path, **variables}),
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return {word.strip() for word in done.stdout.splitlines() if word.strip()}
