"""A throwaway certificate authority, by the ``openssl`` command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """Issues certificates into its directory, as NAME.crt and NAME.key."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> "Authority":
        directory.mkdir()
        made = cls(directory)
        made._request("ca", "throwaway", "keyUsage=critical,keyCertSign,cRLSign")
        return made

    @property
    def root(self) -> Path:
        return self.directory / "ca.crt"

    def issue(self, name: str, common_name: str, names: str = "") -> tuple[Path, Path]:
        """Certificate and key of a client, or, with ``names`` (like ``DNS:localhost``), of a server."""
        extensions = [f"subjectAltName={names}"] if names else ["extendedKeyUsage=clientAuth"]
        by = ["-CA", str(self.root), "-CAkey", str(self.directory / "ca.key")]
        self._request(name, common_name, *extensions, by=by)
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _request(self, name: str, common_name: str, *extensions: str, by: list[str] | None = None) -> None:
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.crt"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
        added = [word for one in extensions for word in ("-addext", one)]
        argv = ["openssl", "req", "-x509", *curve, "-days", "2", "-subj", f"/CN={common_name}", *added]
        subprocess.run([*argv, *(by or []), "-out", str(certificate)], check=True, capture_output=True)
        key.chmod(0o600)
