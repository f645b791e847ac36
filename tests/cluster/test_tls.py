"""Keys of pools whose workers are on other machines."""

import subprocess

import pytest

from blush.cluster.tls import key_pair, make_key_pair
from blush.errors import BlushError


def test_the_key_is_its_owners_alone_and_fits_the_certificate(tmp_path):
    folder = tmp_path / "tls"
    assert key_pair(folder) is None
    make_key_pair(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()} == {"cert.pem": 0, "key.pem": 0}
    of_key = subprocess.check_output(["openssl", "pkey", "-in", folder / "key.pem", "-pubout"])
    assert of_key == subprocess.check_output(["openssl", "x509", "-in", folder / "cert.pem", "-pubkey", "-noout"])


def test_an_existing_pair_is_kept(tmp_path):
    make_key_pair(tmp_path)
    before = (tmp_path / "key.pem").read_bytes()
    make_key_pair(tmp_path)
    assert (tmp_path / "key.pem").read_bytes() == before
    assert key_pair(tmp_path)["tls_worker_key"] == str(tmp_path / "key.pem")


def test_without_openssl_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BlushError, match=r"no keys for the worker pool\n.*openssl.*; install openssl"):
        make_key_pair(tmp_path / "tls")
