"""Keys of a pool whose workers are on other machines: a Dask scheduler runs anyone's code who can reach it."""

import os
import subprocess
from pathlib import Path

from blush.errors import BlushError, Problem

_OPENSSL = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=blush-pool"


def make_key_pair(folder: Path) -> None:
    """Write a self-signed certificate and its key, which scheduler, workers and clients all show each other.

    Raises
    ------
    BlushError
        If openssl is not installed or fails.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    if key_pair(folder) is not None:
        return
    beside = {name: folder / f".{os.getpid()}-{name}" for name in ("key.pem", "cert.pem")}
    command = [*_OPENSSL.split(), "-keyout", str(beside["key.pem"]), "-out", str(beside["cert.pem"])]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        made = subprocess.CompletedProcess(command, 1, "", str(error))
    if made.returncode != 0:
        problem = Problem(made.stderr.strip(), "install openssl: workers on other machines are reached by TLS only")
        raise BlushError("no keys for the worker pool", [problem])
    for name, path in beside.items():
        path.chmod(0o600)
        path.replace(folder / name)


def key_pair(folder: Path) -> dict[str, str] | None:
    """Certificate and key of a pool in Dask's names, or None where it runs without."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not (cert.exists() and key.exists()):
        return None
    names = {"tls_ca_file": cert}
    names |= {f"tls_{role}_cert": cert for role in ("scheduler", "worker", "client")}
    names |= {f"tls_{role}_key": key for role in ("scheduler", "worker", "client")}
    return {name: str(path) for name, path in names.items()}
