"""The operators' requests, from the API server's audit log."""

import contextlib
import json
from collections import Counter
from datetime import datetime
from pathlib import Path


def requests(log: Path, begin: float, until: float) -> Counter[str]:
    """Verb and resource of the requests between two moments (seconds of the clock), each request once.

    Of a request that goes on, such as a watch, its beginning counts.
    """
    by_id: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError):  # the last line before a kill may be cut
            entry = json.loads(line)
            target = entry["objectRef"]
            resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
            if begin <= datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp() < until:
                by_id[entry["auditID"]] = f"{entry['verb']} {resource}"
    return Counter(by_id.values())


def without_lease(counts: Counter[str] | dict[str, int]) -> int:
    """How many of the requests are not about the Lease."""
    return sum(count for request, count in counts.items() if not request.endswith(" leases"))
