"""What the machine must have: checked first, then installed with apt, or named in the error."""

import os
import shutil
import subprocess
from pathlib import Path

from dev.localcluster import parts
from dev.localcluster.layout import Layout
from dev.localcluster.report import ClusterError, Progress, run

COLD_GIGABYTES = 9
WARM_GIGABYTES = 2


def check_root() -> None:
    """Refuse to go on without root, which namespaces, mounts and containers need."""
    if os.geteuid() != 0:
        raise ClusterError(
            "The local cluster needs root: it makes network namespaces, mounts and containers. Run it as "
            "root, or give KUBECONFIG and IMAGE to use a cluster and an image that you have."
        )


def check_disk(where: Layout, *, cold: bool) -> None:
    """Refuse to start on a disk with too little free space."""
    needed = COLD_GIGABYTES if cold else WARM_GIGABYTES
    for directory in (where.cache, where.state):
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free / 1e9
        if free < needed:
            raise ClusterError(
                f"{directory} has {free:.1f} GB free and {needed} GB are needed. Free some, or set "
                "XDG_CACHE_HOME and XDG_STATE_HOME to a larger disk."
            )


def check_namespaces() -> None:
    """Refuse to go on where the kernel or the surrounding container forbids namespaces."""
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"This machine permits no new network, mount and process namespaces ({done.stderr.strip()}). "
            "In a container, run it privileged; or give KUBECONFIG and IMAGE to use a cluster that you have."
        )
    if not Path("/sys/fs/cgroup").is_dir() or not os.access("/sys/fs/cgroup", os.W_OK):
        raise ClusterError("/sys/fs/cgroup is missing or read-only: containers need writable cgroups")


def missing_packages() -> list[str]:
    """Debian packages whose program or file does not exist."""
    return sorted(
        package
        for package, proof in parts.DEBIAN_PACKAGES.items()
        if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof))
    )


def apt_install(packages: list[str], log: Path) -> None:
    """Install Debian packages, after a fresh package list.

    Raises:
        ClusterError: There is no apt here, or it failed; names the packages.
    """
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"Missing: {', '.join(packages)}. They are installed with apt-get on Debian 12, which this "
            "machine does not have; install them by other means, or give KUBECONFIG and IMAGE."
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    log.parent.mkdir(parents=True, exist_ok=True)
    # A lock that another apt holds is waited for by apt itself.
    options = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    run(["apt-get", *options, "update"], log=log, env=env, timeout=600)
    # RUNLEVEL=1 makes invoke-rc.d leave alone the services that packages would start, containerd's for one.
    run(
        ["apt-get", *options, "install", "-y", "--no-install-recommends", *packages],
        log=log,
        env={**env, "RUNLEVEL": "1"},
        timeout=1200,
    )


def install_packages(where: Layout, progress: Progress) -> None:
    """Install the Debian packages that are missing, if any."""
    packages = missing_packages()
    if packages:
        with progress.step(f"Debian packages: {', '.join(packages)}"):
            apt_install(packages, where.build_logs / "apt.log")
