"""Which addresses may be asked: encrypted ones, and this machine's own."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_allowed(url: str) -> bool:
    """Whether an address is https://, or http:// of this very machine, without a name or password in it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, seen from itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
