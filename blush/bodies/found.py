"""What moved, from the record of motions to words: population, components, modes, and the place of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.bodies.components import Component
from blush.bodies.evidence import Frame
from blush.bodies.modes import Modes
from blush.bodies.population import Population

Floats = NDArray[np.float64]
REACH_SHOWN = 2.0
"""Standard deviations to which maps along components go."""
FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class Turn:
    """How a body moves along a component, per standard deviation.

    Attributes
    ----------
    rotation_deg, rms_angst
        Rotation, and rms displacement over its mask, after the superposition of all bodies.
    """

    name: str
    rotation_deg: float
    rms_angst: float


@dataclass(frozen=True)
class Moving:
    """A component, and where images are along it, in Å rms from the mean of all.

    Attributes
    ----------
    turns
        What each refined body does.
    against
        The two bodies that turn most against each other, and by how many degrees per standard deviation; None where
        only one body was refined.
    sd_by_half_angst
        Deconvolved standard deviation from the images of either half alone.
    place_angst, error_angst
        (n,) mean and standard deviation of the place of each image.
    mode
        (n, m) probability of its modes.
    bins_angst, share, measured
        (b,) centres of bins, and the shares of the images in them: without their uncertainty, and as measured.
    """

    component: Component
    modes: Modes
    turns: tuple[Turn, ...]
    against: tuple[str, str, float] | None
    sd_by_half_angst: tuple[float, float]
    place_angst: Floats
    error_angst: Floats
    mode: Floats
    bins_angst: Floats
    share: Floats
    measured: Floats


@dataclass(frozen=True)
class MotionsFound:
    """The verdict on a record of motions, and what it follows from.

    Attributes
    ----------
    components
        All of them, by falling variance.
    moving
        Those beyond noise, or the first where none is.
    uninformed
        (F,) by refined body: mean number of directions, of five, of which only the prior is known.
    n_held_still
        Number of directions of which no image says anything, as the prior held them still.
    """

    names: tuple[str, ...]
    frame: Frame
    n_images: int
    population: Population
    components: list[Component]
    moving: list[Moving]
    uninformed: Floats
    n_held_still: int

    @property
    def n_beyond(self) -> int:
        """Number of components beyond noise."""
        return sum(one.is_beyond_noise for one in self.components)

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.n_beyond == 0:
            first = self.components[0]
            doubt = f" (what is left is noise if poses are {first.margin:.1f} times as uncertain as they say)"
            return f"No motion beyond the uncertainty of the poses{doubt if first.is_doubtful else ''}."
        moving = self.moving[0]
        number = "One component" if self.n_beyond == 1 else f"{self.n_beyond} components"
        told = f"{number} of motion beyond the uncertainty of the poses"
        where = "" if self.n_beyond == 1 else "in the first "
        if moving.against is not None:
            one, other, turn_deg = moving.against
            return (
                f"{told}: {where}{one} turns by {turn_deg:.1f}° (standard deviation) against {other}, {_modes(moving)}."
            )
        return f"{told}: {where}{moving.turns[0].name} turns by {moving.turns[0].rotation_deg:.1f}°, {_modes(moving)}."

    @property
    def reason(self) -> str:
        """The figures behind the verdict, in one sentence."""
        one = self.components[0]
        if self.n_beyond == 0:
            return (
                f"{self.n_images} images vary by {one.sd_angst:.2f} Å rms along any direction at most, and 1 of 100 "
                f"rigid molecules of this uncertainty by more than {one.floor_angst:.2f} Å; a motion of "
                f"{one.high_angst:.2f} Å would still be in keeping with them."
            )
        return (
            f"The first is {one.sd_angst:.2f} Å rms (95 % {one.low_angst:.2f} to {one.high_angst:.2f}), holds "
            f"{100 * one.explained:.0f} % of the motion, and 1 of 100 rigid molecules of this uncertainty shows more "
            f"than {one.floor_angst:.2f} Å. Of the variance that is measured along it, uncertainty is "
            f"{100 * one.noise_share:.0f} %; it would be noise if poses were {one.margin:.1f} times as uncertain as "
            "they say."
        )

    def notes(self) -> list[str]:
        """What the user should know beside the verdict."""
        names = [self.names[b] for b in self.frame.bodies]
        few = [f"{count:.1f} of {name}" for name, count in zip(names, self.uninformed, strict=True) if count >= 1]
        told = []
        if few:
            told.append(f"of the five numbers of a pose, images leave {', '.join(few)} to the prior of the refinement")
        if self.n_held_still:
            told.append(
                f"the prior of the refinement held the bodies still along {self.n_held_still} of "
                f"{self.n_held_still + len(self.components)} directions: nothing is known of motion along them"
            )
        if len(names) == 1:
            told.append(f"only {names[0]} was refined: its motion is against consensus poses, and has their errors")
        return told

    def lines(self) -> list[str]:
        """The verdict, then a table of the components that were tested."""
        head = (
            "component  rms Å   95 % interval   noise up to  chance  margin  explained  noise share  modes  turns most"
        )
        shown = self.components[: self.n_beyond + 1]
        return [
            self.verdict,
            self.reason,
            *self.notes(),
            "",
            head,
            *(self._line(k, one) for k, one in enumerate(shown)),
        ]

    def _line(self, k: int, one: Component) -> str:
        """Component k, from 0, in the table."""
        moving = self.moving[k] if k < len(self.moving) else None
        low = one.low_angst if one.is_beyond_noise else 0.0
        text = f"{k + 1:<9}  {one.sd_angst:5.2f}   {low:5.2f} to {one.high_angst:5.2f}  {one.floor_angst:11.2f}"
        text += f"  {one.chance:6.3f}  {one.margin:6.2f}  {100 * one.explained:7.0f} %  {100 * one.noise_share:9.0f} %"
        if moving is None or not one.is_beyond_noise:
            return f"{text}      -  {'doubtful' if one.is_doubtful else 'noise'}"
        turn = "" if moving.against is None else "{} against {}, {:.1f}°".format(*moving.against)
        return f"{text}  {moving.modes.count:>5}  {turn}"

    def content(self) -> dict[str, Any]:
        """For JSON: docs/multibody.md."""
        beyond = self.moving if self.n_beyond else []
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "reason": self.reason,
            "notes": self.notes(),
            "n_images": self.n_images,
            "directions_held_still": self.n_held_still,
            "components_beyond_noise": self.n_beyond,
            "directions_of_prior_alone": dict(
                zip([self.names[b] for b in self.frame.bodies], self.uninformed.tolist(), strict=True)
            ),
            "components": [_component(one) for one in self.components],
            "moving": [_moving(one) for one in beyond],
        }


def _modes(moving: Moving) -> str:
    """How many modes there are, in words."""
    modes = moving.modes
    if modes.count == 2:
        low, high = 100 * modes.share
        return f"in two modes of {low:.0f} % and {high:.0f} % of the images"
    return "in one mode" if modes.gain is None else "in one mode (two explain it no better)"


def _component(one: Component) -> dict[str, Any]:
    return {
        "sd_angst": one.sd_angst,
        "low_angst": one.low_angst if one.is_beyond_noise else 0.0,
        "high_angst": one.high_angst,
        "floor_angst": one.floor_angst,
        "chance": one.chance,
        "margin": one.margin,
        "doubtful": one.is_doubtful,
        "explained": one.explained,
        "noise_share": one.noise_share,
        "beyond_noise": one.is_beyond_noise,
    }


def _moving(one: Moving) -> dict[str, Any]:
    against = one.against
    return {
        "sd_by_half_angst": list(one.sd_by_half_angst),
        "modes": {
            "count": one.modes.count,
            "share": one.modes.share.tolist(),
            "mean_angst": one.modes.mean_angst.tolist(),
            "sd_angst": one.modes.sd_angst.tolist(),
            "gain": one.modes.gain,
            "gain_error": one.modes.gain_error,
            "chance": one.modes.chance,
        },
        "bodies": [
            {"name": turn.name, "rotation_deg": turn.rotation_deg, "rms_angst": turn.rms_angst} for turn in one.turns
        ],
        "histogram": {
            "bins_angst": one.bins_angst.tolist(),
            "share": one.share.tolist(),
            "measured": one.measured.tolist(),
        },
        "against": None if against is None else {"bodies": list(against[:2]), "rotation_deg": against[2]},
    }
