"""Sockets on which processes listen, and what they say to who has no key."""

import asyncio
import socket
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import psutil
from distributed.core import connect


def family(pid):
    """A process and all that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def listening(processes):
    """Addresses (host, port) on which processes accept connections."""
    sockets = [connection for process in processes for connection in process.net_connections("inet")]
    return sorted({tuple(found.laddr) for found in sockets if found.status == psutil.CONN_LISTEN})


def answering(places):
    """Those of the sockets that answer HTTP, and those that answer a Dask client without the key."""
    with ThreadPoolExecutor(8) as probes:
        results = {name: list(probes.map(ask, places)) for name, ask in (("http", _http), ("dask", _dask))}
    return {
        name: [place for place, open_ in zip(places, found, strict=True) if open_] for name, found in results.items()
    }


def _http(place):
    """Whether a page comes back."""
    host, port = place
    for scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{scheme}://{host}:{port}/", timeout=3):
                return True
        except urllib.error.HTTPError:
            return True
        except (OSError, HTTPException):
            continue
    return False


def _dask(place):
    """Whether a Dask client that shows no certificate is answered, in plain text or in TLS."""
    host, port = place
    return any(asyncio.run(_connects(f"{protocol}://{host}:{port}")) for protocol in ("tcp", "tls"))


async def _connects(address):
    options = {}
    if address.startswith("tls"):
        options["ssl_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options["ssl_context"].check_hostname, options["ssl_context"].verify_mode = False, ssl.CERT_NONE
    try:
        comm = await connect(address, timeout=2, **options)
    except OSError:
        return False
    comm.abort()
    return True


def machine_addresses():
    """Every address of this machine but loopback's."""
    found = [
        info.address for infos in psutil.net_if_addrs().values() for info in infos if info.family == socket.AF_INET
    ]
    return [address for address in found if not address.startswith("127.")]
