"""`blush check-device`: is this device right, how near its limits is it, and how long would a large iteration take?"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import blush
from blush.device.clock import Deadline
from blush.device.denoiser import patches_per_second
from blush.device.large_iteration import IMAGES, Iteration
from blush.device.large_iteration import measured as large_iteration
from blush.device.limits import Limits
from blush.device.limits import measured as measured_limits
from blush.device.small_run import Agreement, compared
from blush.device.stages import Stage, tried
from blush.errors import BlushError, Problem

PASSES, FAILS = "passes", "fails"
_LEAST_S = {"small refinement": 60.0, "large iteration": 30.0, "network": 10.0}
"""A part begins while that much time is left."""


@dataclass
class Checked:
    """What a check found.

    Attributes
    ----------
    left_out
        Parts for which there was no time.
    """

    device: str
    name: str
    has_gpu: bool
    limits: Limits
    stages: list[Stage]
    agreement: Agreement | None = None
    iteration: Iteration | None = None
    patches_per_s: float | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing that was tried was wrong."""
        return all(one.passed for one in self.stages) and (self.agreement is None or self.agreement.passed)

    def verdict(self) -> str:
        """One line for the user."""
        wrong = [one.name for one in self.stages if not one.passed]
        if self.agreement is not None and not self.agreement.passed:
            wrong.append("the small refinement")
        where = f"{self.name} ({self.device})"
        if wrong:
            return f"{where} {FAILS}: {', '.join(wrong)} not as they should be; do not refine on it, and tell us"
        known = "" if self.agreement is not None else ", but there was no time to refine a set on it"
        none = "" if self.has_gpu else "; there is no GPU here, so this says nothing of one"
        return f"{where} {PASSES}{known}{none}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        versions = {"blush": blush.__version__, "torch": torch.__version__, "cuda": torch.version.cuda}
        found = asdict(self) | {"versions": versions, "passed": self.passed, "verdict": self.verdict()}
        for stage, one in zip(found["stages"], self.stages, strict=True):
            stage["passed"] = one.passed
        return found


def device_of(wanted: str | None) -> torch.device:
    """The device that was asked for; the first GPU, or else the CPU.

    Raises
    ------
    BlushError
        If it is not there.
    """
    here = torch.cuda.is_available()
    try:
        device = torch.device(wanted or ("cuda:0" if here else "cpu"))
    except RuntimeError:
        raise BlushError(
            "cannot check", [Problem("is no device", "give cpu or cuda:0", "--device", wanted or "")]
        ) from None
    if device.type == "cuda" and (not here or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if here else 0
        problem = Problem(f"torch {torch.__version__} sees {count} GPUs here", "give cpu", "--device", str(wanted))
        raise BlushError("cannot check", [problem])
    if device.type not in ("cpu", "cuda"):
        raise BlushError(
            "cannot check", [Problem("is no device of Blush", "give cpu or cuda:0", "--device", str(wanted))]
        )
    return device


def check(device: torch.device, folder: Path, minutes: float, tell: Callable[[str], None], seed: int = 1) -> Checked:
    """Every part that there is time for, in the order of what matters most.

    Parameters
    ----------
    folder
        For sets and runs, which the caller removes.
    """
    deadline = Deadline(minutes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True)
    tell("limits of the device")
    limits = measured_limits(device)
    tell("stages of the expectation step against float64")
    found = Checked(str(device), name, torch.cuda.is_available(), limits, tried(device, limits, seed))
    if _in_time("small refinement", deadline, found):
        tell("a small refinement, three times")
        found.agreement = compared(str(device), folder, seed)
    if _in_time("large iteration", deadline, found):
        tell("a part of a large iteration")
        found.iteration = large_iteration(device, folder, deadline, seed)
        if found.iteration is None:
            found.left_out.append("large iteration")
    if _in_time("network", deadline, found):
        tell("the network of Blush")
        found.patches_per_s = patches_per_second(device)
    return found


def _in_time(part: str, deadline: Deadline, found: Checked) -> bool:
    if deadline.left_s >= _LEAST_S[part]:
        return True
    found.left_out.append(part)
    return False


def table(found: Checked) -> list[str]:
    """What was found, line by line."""
    rates = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in found.limits.flops_per_s.items())
    lines = [
        f"copies {found.limits.bytes_per_s / 1e9:.4g} GB/s; products, in 10^12 operations a second: {rates}",
        f"{'stage':<28}{'error':>10}{'ms':>10}{'of the limit':>14}",
        *(f"{s.name:<28}{s.error:>10.1e}{1e3 * s.seconds:>10.3g}{100 * s.share:>13.1f}%" for s in found.stages),
    ]
    if (a := found.agreement) is not None:
        lines.append(
            f"small refinement against {a.compared_with}: {100 * a.same_poses:.1f} % of poses the same, maps correlate "
            f"{a.correlation:.6f}, resolution {a.shells_apart} shells apart, twice the same bytes: "
            f"{'yes' if a.same_bytes else 'NO'}"
        )
    if (i := found.iteration) is not None:
        lines.append(
            f"expectation of {i.images} images of {i.box_px} px in {i.seconds:.3g} s; to {IMAGES:,}, of which "
            f"that is {100 * i.part:.2g} %: {i.extrapolated_s:.3g} s"
        )
    if found.patches_per_s is not None:
        lines.append(f"network of Blush: {found.patches_per_s:.3g} patches a second")
    lines += [f"left out, as there was no time: {part}" for part in found.left_out]
    return lines
