"""Two processes meet through files: those of the two half-sets, which another program started.

Each writes a small file with a number drawn for this meeting and the number that it has read from the other's file.
They have met when each file holds both numbers. A file left by an earlier run can never name a number that was drawn
later, so it is never believed; no clock is asked.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from blush.errors import BlushError, Problem
from blush.io.files import read_record, write_json

POLL_SECONDS = 0.05


class Rendezvous:
    """One side of a meeting.

    Parameters
    ----------
    own, other
        File that this side writes, and the one that it waits for.
    wait_seconds
        Time after which `reach` gives up.
    """

    def __init__(self, own: Path, other: Path, wait_seconds: float) -> None:
        self.own, self.other, self.wait_seconds = own, other, wait_seconds
        self._number, self._seen, self._stage = uuid.uuid4().hex, "", 0
        self._parent = os.getppid()

    def reach(self, stage: int) -> None:
        """Say that this side has come to `stage`, and wait until the other has.

        Raises
        ------
        BlushError
            When time is over, or who started this process has ended.
        """
        deadline = time.monotonic() + self.wait_seconds
        self._stage = stage
        self._write()
        while not self._other_is_there():
            if os.getppid() != self._parent:
                raise BlushError(f"the program that started this one has ended; nothing waits for {self.own.stem}")
            if time.monotonic() > deadline:
                remedy = (
                    "both halves must be reconstructed at the same time: run RELION with at least 3 processes (mpirun "
                    "-n 3); where one half takes longer, give --wait-minutes"
                )
                problem = Problem(f"did not appear within {self.wait_seconds / 60:g} minutes", remedy, str(self.other))
                raise BlushError("the other half did not come", [problem])
            time.sleep(POLL_SECONDS)

    def _other_is_there(self) -> bool:
        theirs = self._read()
        number = str(theirs.get("number", ""))
        if number and number != self._seen:
            self._seen = number
            self._write()
        return bool(number) and theirs.get("seen") == self._number and int(theirs.get("stage", 0)) >= self._stage

    def _write(self) -> None:
        write_json(self.own, {"number": self._number, "seen": self._seen, "stage": self._stage})

    def _read(self) -> dict[str, Any]:
        try:
            return read_record(self.other)
        except BlushError:  # not there, or damaged by a full disk: to be written anew
            return {}
