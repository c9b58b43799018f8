"""kstatus itself, as a program: sigs.k8s.io/cli-utils, which Flux and others read resources with."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from dev.localcluster.tools import tool


def read_by_kstatus(objects: Sequence[dict[str, Any]]) -> list[str]:
    """What sigs.k8s.io/cli-utils makes of each."""
    lines = "".join(json.dumps(one, default=str) + "\n" for one in objects)
    done = subprocess.run(
        [tool("kstatus")], input=lines, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
