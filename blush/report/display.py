"""Progress on the terminal: lines that stay, and below them one that changes; in a pipe, lines alone."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from blush.report.tell import tell, wrapped
from blush.report.watch import Status, status_line, status_parts

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

PIPE_SECONDS = 60.0
"""Least time between two lines about the same iteration in a pipe."""
_INDENT = 7
_ECHO = 3
"""Columns that stay free for the ^C that a terminal shows; it would begin another line."""


class Display:
    """Shows a run while it is watched; the place of the line that changes is given free at the end."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._told, self._last = time.monotonic(), ""

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(highlight=False, markup=False)
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def keep(self, line: str) -> None:
        """Show a line that stays: on a terminal in lines as wide as it is, else as it is."""
        self._told = time.monotonic()
        if self._live is None:
            tell(line, _INDENT)
        else:
            for part in wrapped(line, self._live.console.width, _INDENT):
                self._live.console.print(part, soft_wrap=True)

    def change(self, status: Status) -> None:
        """Show where the run is; in a pipe only if nothing was said for a while."""
        if self._live is not None:
            self._live.update(_one_line(status, self._live.console.width - _ECHO), refresh=True)
        elif time.monotonic() - self._told >= PIPE_SECONDS and status_line(status) != self._last:
            self._last = status_line(status)
            self.keep(self._last)


def _one_line(status: Status, columns: int) -> RenderableType:
    """One line: what is done, a bar, and what is left."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    stage, rest = status_parts(status)
    line = Table.grid(expand=True, padding=(0, 1))
    line.width = columns
    line.add_column(no_wrap=True, overflow="ellipsis")
    cells: list[RenderableType] = [Text(stage)]
    if status.total and not status.refined:
        line.add_column(ratio=1)
        cells.append(ProgressBar(status.total, min(status.done, status.total)))
    line.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    line.add_row(*cells, Text(rest))
    return line
