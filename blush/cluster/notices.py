"""What a pool has to tell its user, on the way from processes whose output goes to logs to the terminal."""

import sys
import threading
from pathlib import Path

_FOLLOW_SECONDS = 0.5


def note(folder: Path, line: str) -> None:
    """Append one line to the notices of a pool's folder; several processes may do so at once."""
    with (folder / "notices.log").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def follow_notices(folder: Path) -> threading.Event:
    """Print on stderr, from now until this process ends, what is noted in a pool's folder.

    Returns
    -------
    An event that ends it earlier, where it is set.
    """
    path = folder / "notices.log"
    start = path.stat().st_size if path.exists() else 0
    ended = threading.Event()
    threading.Thread(target=_follow, args=(path, start, ended), daemon=True).start()
    return ended


def _follow(path: Path, start: int, ended: threading.Event) -> None:
    """Print whole lines as they come."""
    read = start
    while not ended.wait(_FOLLOW_SECONDS):
        try:
            with path.open("rb") as stream:
                stream.seek(read)
                whole = stream.read().rpartition(b"\n")[0]
        except OSError:  # not there yet, or a file system that is away
            continue
        for line in whole.decode("utf-8", errors="replace").splitlines():
            sys.stderr.write(f"blush: {line}\n")
        read += len(whole) + 1 if whole else 0
