"""Keys of a pool: a Dask scheduler and its workers run anyone's code who can reach them, so nobody does without one."""

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blush.errors import BlushError, Problem

VALID_DAYS = 400
"""From the start of a pool, which makes a new pair."""
RENEW_DAYS = 200
"""A pool as old as this ends as soon as it has no work; the next one makes a new pair."""
_CLOCK_SKEW_DAYS = 1


def make_key_pair(folder: Path) -> None:
    """Write a self-signed certificate and its key, which scheduler, workers and clients all show each other.

    A pair that is there is replaced: it belonged to a pool that is gone. Only its owner can read what is written.

    Raises
    ------
    BlushError
        If the folder cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    texts = {"key.pem": encoded, "cert.pem": _certificate(key).public_bytes(serialization.Encoding.PEM)}
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        for name, text in texts.items():
            (folder / name).unlink(missing_ok=True)
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:
                file.write(text)
    except OSError as error:
        remedy = "a pool runs with keys only; make room there, or let this user write there"
        raise BlushError("no keys for the worker pool", [Problem(str(error.strerror), remedy, str(folder))]) from None


def key_pair(folder: Path) -> dict[str, str]:
    """Certificate and key of a pool in Dask's names.

    Raises
    ------
    BlushError
        If there is none: nothing of a pool runs without.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not (cert.exists() and key.exists()):
        problem = Problem("cert.pem or key.pem is missing", "start the same command again: it makes them", str(folder))
        raise BlushError("no keys for the worker pool", [problem])
    names = {"tls_ca_file": cert}
    names |= {f"tls_{role}_cert": cert for role in ("scheduler", "worker", "client")}
    names |= {f"tls_{role}_key": key for role in ("scheduler", "worker", "client")}
    return {name: str(path) for name, path in names.items()}


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate that vouches for itself, for servers and clients; strict checks of OpenSSL pass."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "blush-pool")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = datetime.datetime.now(datetime.UTC)
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=_CLOCK_SKEW_DAYS))
    builder = builder.not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    for extension, critical in (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(True, key_cert_sign=True, encipher_only=False, decipher_only=False, **uses), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (identifier, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())
