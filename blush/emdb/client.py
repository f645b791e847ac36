"""Polite HTTP: requests apart from each other, patience with a busy server, downloads that go on where they stopped."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, cast
from urllib.parse import urlsplit

from blush.config.address import is_allowed, is_loopback
from blush.errors import BlushError, Problem
from blush.io.files import told_if_unwritable

BLOCK_BYTES = 1 << 16
LARGEST_ANSWER_BYTES = 1 << 26
"""Of what is read into memory: the table of a search over the whole archive has about 4 MB."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
BUSY = (408, 425, 429, 500, 502, 503, 504)
AGENT = "blush-cryoem (training workflow; one request at a time)"


T = TypeVar("T")


class NotThere(Exception):
    """There is no such file, the server refuses it for good, or what it answers is not what was asked for."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes along to other addresses that may be asked; from another machine never to this one."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        inward = is_loopback(urlsplit(newurl).hostname or "") and not is_loopback(urlsplit(req.full_url).hostname or "")
        if inward or not is_allowed(newurl):
            raise NotThere(f"it points to {newurl[:80]!r}, which is not asked")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https alone: no files, no FTP, no data in the address."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        director.add_handler(handler)
    return director


@dataclass
class Client:
    """Requests to one archive.

    Attributes
    ----------
    interval_s
        Least time between the starts of two requests.
    retries
        Further attempts after a failure that may pass: no answer, a dropped connection, status 429 or 5xx.
    tell
        Is told of every wait.
    """

    interval_s: float = 0.5
    retries: int = 6
    timeout_s: float = 60.0
    tell: Callable[[str], None] = lambda text: None
    first_wait_s: float = FIRST_WAIT_S
    _last: float = field(default=-1e9, repr=False)
    _director: urllib.request.OpenerDirector = field(default_factory=_opener, repr=False)

    def get(self, url: str, largest_bytes: int = LARGEST_ANSWER_BYTES) -> bytes:
        """Content of an address.

        Raises
        ------
        NotThere
            Where the server has no such thing, or answers with more than `largest_bytes`.
        BlushError
            Where it did not answer after all attempts.
        """

        def attempt() -> bytes:
            with self._open(_request(url, {})) as answer:
                content: bytes = answer.read(largest_bytes + 1)
                if len(content) > largest_bytes:
                    raise NotThere(f"the answer has more than {largest_bytes} bytes")
                _require_whole(answer, len(content))
                return content

        return self._patiently(url, attempt)

    def download(self, url: str, target: Path, largest_bytes: int) -> int:
        """Fetch a file, going on with `target`.part where it is there; renamed when it is whole.

        Parameters
        ----------
        largest_bytes
            A longer file is given up, and what came of it removed.

        Returns
        -------
        Bytes that came over the line.

        Raises
        ------
        NotThere, BlushError
            As `get`; the part that came stays for the next time.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        received = 0

        def attempt() -> None:
            nonlocal received
            have = part.stat().st_size if part.exists() else 0
            try:
                answer = self._open(_request(url, {"Range": f"bytes={have}-"} if have else {}))
            except urllib.error.HTTPError as error:
                if error.code != 416:
                    raise
                part.unlink()  # it is longer than the file: of another version
                raise ConnectionError("the part on disk does not belong to this file") from None
            with answer:
                goes_on = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(
                    f"bytes {have}-"
                )
                length, room = 0, largest_bytes - (have if goes_on else 0)
                with _told_on_disk(part, "ab" if goes_on else "wb") as stream:
                    while length <= room and (block := answer.read(BLOCK_BYTES)):
                        with told_if_unwritable(part):
                            stream.write(block)
                        length += len(block)
                        received += len(block)
                if length > room:
                    part.unlink()
                    raise NotThere(f"it has more than the {largest_bytes} bytes of such a map")
                _require_whole(answer, length)

        self._patiently(url, attempt)
        os.replace(part, target)
        return received

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Send a request, not too soon after the last one."""
        wait = self._last + self.interval_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._last = time.monotonic()
        try:
            answer: http.client.HTTPResponse = self._director.open(request, timeout=self.timeout_s)
        except ValueError as error:  # of an address that the server points to
            raise NotThere(f"it points to no address: {error}") from None
        return answer

    def _patiently(self, url: str, attempt: Callable[[], T]) -> T:
        """Try, and after a failure that may pass try again, each time later."""
        wait = self.first_wait_s
        for number in range(self.retries + 1):
            asked: float | None = None
            try:
                return attempt()
            except urllib.error.HTTPError as error:
                if error.code not in BUSY:
                    raise NotThere(f"status {error.code}") from None
                reason = f"status {error.code}"
                asked = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if number == self.retries:
                break
            pause = min(max(wait, asked or 0.0), LONGEST_WAIT_S)
            self.tell(f"{url}: {reason}; again in {pause:.1f} s ({number + 1} of {self.retries})")
            time.sleep(pause)
            wait *= 2
        remedy = "the same command goes on later; raise sources.emdb.retries for a busy server"
        raise BlushError("the archive does not answer", [Problem(reason, remedy, url)])


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """A request to an address that may be asked.

    Raises
    ------
    BlushError
        Where it may not.
    """
    if not is_allowed(url):
        problem = Problem("is no address of an archive", "write https://HOST/..., or http:// for this machine", url)
        raise BlushError("the archive is not asked", [problem])
    return urllib.request.Request(url, headers={"User-Agent": AGENT} | headers)


def _told_on_disk(part: Path, mode: str) -> IO[bytes]:
    """A file to write to without a buffer, so that a full disk is told where it is met, and not tried again."""
    with told_if_unwritable(part):
        return cast(IO[bytes], part.open(mode, buffering=0))


def _require_whole(answer: http.client.HTTPResponse, length: int) -> None:
    """Whether as many bytes came as were announced: http.client does not say where they are read in parts.

    Raises
    ------
    ConnectionError
        Where some are missing.
    """
    expected = answer.headers.get("Content-Length")
    if expected is not None and expected.isascii() and expected.isdecimal() and length < int(expected[:20]):
        raise ConnectionError(f"the connection ended after {length} of {expected[:20]} bytes")


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; dates are not read."""
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
