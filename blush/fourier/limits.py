"""What a resolution is limited by, told in the same words by every command and page."""

import math
from typing import Literal

Limit = Literal["pixel size", "signal"]


def nyquist_angst(box_px: int, pixel_size_angst: float) -> float:
    """Resolution in Å of the last shell of a box: two pixels, a little more where the box is odd."""
    return box_px * pixel_size_angst / (box_px // 2)


def limited_by(resolution_angst: float | None, box_px: int, pixel_size_angst: float) -> Limit | None:
    """What ended a resolution: the pixels where the curve has not fallen by the last shell, else the signal.

    Returns
    -------
    None where nothing is resolved.
    """
    if resolution_angst is None or not math.isfinite(resolution_angst):
        return None
    at_end = resolution_angst <= nyquist_angst(box_px, pixel_size_angst) * (1 + 1e-6)
    return "pixel size" if at_end else "signal"


def limit_note(resolution_angst: float | None, box_px: int, pixel_size_angst: float) -> str:
    """`limited by the pixel size (Nyquist 7.08 Å)` where that is so; nothing elsewhere."""
    if limited_by(resolution_angst, box_px, pixel_size_angst) != "pixel size":
        return ""
    return f"limited by the pixel size (Nyquist {nyquist_angst(box_px, pixel_size_angst):.2f} Å)"


def told(resolution_angst: float | None, box_px: int, pixel_size_angst: float) -> str:
    """A resolution in Å with what limits it, or "not resolved"."""
    if resolution_angst is None or not math.isfinite(resolution_angst):
        return "not resolved"
    note = limit_note(resolution_angst, box_px, pixel_size_angst)
    return f"{resolution_angst:.2f} Å" + (f", {note}" if note else "")
