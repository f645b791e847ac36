"""Keys of pools, which nothing of them runs without."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from blush.cluster.tls import key_pair, make_key_pair
from blush.errors import BlushError


def certificate(folder):
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def test_the_key_is_its_owners_alone_and_fits_the_certificate(tmp_path):
    folder = tmp_path / "tls"
    make_key_pair(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "cert.pem": 0o600,
        "key.pem": 0o600,
    }
    key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    assert key.public_key() == certificate(folder).public_key()


def test_a_folder_that_others_could_read_is_closed_and_its_pair_replaced(tmp_path):
    """Each pool starts with a pair of its own, so none comes near its end, and no earlier reader keeps the key."""
    make_key_pair(tmp_path)
    before = certificate(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    tmp_path.chmod(0o755)
    make_key_pair(tmp_path)
    assert certificate(tmp_path).serial_number != before.serial_number
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_it_is_valid_for_400_days_from_yesterday(tmp_path):
    make_key_pair(tmp_path)
    made, now = certificate(tmp_path), datetime.datetime.now(datetime.UTC)
    minute = datetime.timedelta(minutes=1)
    assert abs(made.not_valid_after_utc - now - datetime.timedelta(days=400)) < minute
    assert abs(now - made.not_valid_before_utc - datetime.timedelta(days=1)) < minute


def test_the_strict_checks_of_newer_pythons_accept_the_pair(tmp_path):
    """A handshake in memory, each side asking for the other's certificate."""
    make_key_pair(tmp_path)
    ends = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    sides = []
    for protocol, server in ((ssl.PROTOCOL_TLS_SERVER, True), (ssl.PROTOCOL_TLS_CLIENT, False)):
        context = ssl.SSLContext(protocol)
        context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(tmp_path / "cert.pem")
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        received, sent = (ends[0], ends[1]) if server else (ends[1], ends[0])
        sides.append(context.wrap_bio(received, sent, server_side=server))
    done = set()
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2


def test_no_key_no_pool(tmp_path):
    with pytest.raises(BlushError, match=r"no keys for the worker pool\n.*key.pem is missing.*start the same command"):
        key_pair(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BlushError, match=r"no keys for the worker pool\n.*file.*runs with keys only"):
        make_key_pair(tmp_path / "file")
