"""Programs of the machine that run in another root, with the libraries that they have here."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.localcluster.report import ClusterError, run

PLACE: Final = "/opt/lent"


@dataclass(frozen=True)
class Lent:
    """Files to mount and a wrapper to write, by their paths in the root."""

    lent: Mapping[str, Path]
    written: Mapping[str, str]


def lend(program: str) -> Lent:
    """A program that is called as it is here, by its own dynamic loader and with its own libraries.

    Raises:
        ClusterError: There is no such program.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise ClusterError(f"{program} is missing: apt-get install {program}")
    libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", run(["ldd", found]))]
    loader = next(path.name for path in libraries if path.name.startswith("ld-"))
    place = f"{PLACE}/{program}"
    files = {f"{place}/{path.name}": path.resolve() for path in [Path(found), *libraries]}
    wrapper = f'#!/bin/sh\nexec {place}/{loader} --library-path {place} {place}/{program} "$@"\n'
    return Lent(files, {f"/usr/sbin/{program}": wrapper})
