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
from typing import TypeVar

from blush.errors import BlushError, Problem

BLOCK_BYTES = 1 << 16
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
BUSY = (408, 425, 429, 500, 502, 503, 504)
AGENT = "blush-cryoem (training workflow; one request at a time)"


T = TypeVar("T")


class NotThere(Exception):
    """The server says that there is no such file, or refuses it for good."""


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

    def get(self, url: str) -> bytes:
        """Content of an address.

        Raises
        ------
        NotThere
            Where the server has no such thing.
        BlushError
            Where it did not answer after all attempts.
        """

        def attempt() -> bytes:
            with self._open(urllib.request.Request(url, headers={"User-Agent": AGENT})) as answer:
                content: bytes = answer.read()
                return content

        return self._patiently(url, attempt)

    def download(self, url: str, target: Path) -> int:
        """Fetch a file, going on with `target`.part where it is there; renamed when it is whole.

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
            headers = {"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {})
            try:
                answer = self._open(urllib.request.Request(url, headers=headers))
            except urllib.error.HTTPError as error:
                if error.code != 416:
                    raise
                part.unlink()  # it is longer than the file: of another version
                raise ConnectionError("the part on disk does not belong to this file") from None
            with answer:
                goes_on = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(
                    f"bytes {have}-"
                )
                expected = answer.headers.get("Content-Length")
                length = 0
                with part.open("ab" if goes_on else "wb") as stream:
                    while block := answer.read(BLOCK_BYTES):
                        stream.write(block)
                        length += len(block)
                        received += len(block)
                if expected is not None and length < int(expected):
                    raise ConnectionError(f"the connection ended after {length} of {expected} bytes")

        self._patiently(url, attempt)
        os.replace(part, target)
        return received

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Send a request, not too soon after the last one."""
        wait = self._last + self.interval_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._last = time.monotonic()
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self.timeout_s)
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


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; dates are not read."""
    return float(text) if text is not None and text.isdecimal() else None
