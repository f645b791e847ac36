"""Section `helix`: segments of filaments, and the helical symmetry of their map."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from blush.config.sections import PositiveInt, Section

Rise = Annotated[float, Field(gt=0.001)]
Twist = Annotated[float, Field(ge=-360, le=360)]
_NEEDED = ("rise_angst", "twist_deg", "tube_diameter_angst")


class HelixSettings(Section):
    """A filament: its symmetry, its tube, and priors along it; used where `job` is helix.

    Units per turn and point group apart: `symmetry` Cn is the rotation about the filament's axis, z.
    """

    rise_angst: Rise | None = Field(
        default=None, description="Distance along the axis from one unit to the next; required for job: helix"
    )
    twist_deg: Twist | None = Field(
        default=None,
        description="Turn about the axis from one unit to the next, right-handed positive; required for job: helix",
    )
    rise_range_angst: tuple[Rise, Rise] | None = Field(
        default=None, description="Least and most rise that are searched; null: the rise is kept"
    )
    twist_range_deg: tuple[Twist, Twist] | None = Field(
        default=None, description="Least and most twist that are searched; null: the twist is kept"
    )
    central_fraction: float = Field(
        default=0.3, gt=0.001, lt=0.999, description="Part of the box along the axis that references are made from"
    )
    tube_diameter_angst: float | None = Field(
        default=None, gt=0, description="Diameter of the tube around the filament; required for job: helix"
    )
    tube_inner_diameter_angst: float = Field(
        default=0, ge=0, description="Diameter of the hollow in the middle of the filament; 0: there is none"
    )
    units_per_segment: PositiveInt | None = Field(
        default=None, description="New units that each segment adds; null: by the distance of segments on the track"
    )
    impose_symmetry: bool = Field(
        default=True, description="Whether the map has the symmetry; false: it has none, and the priors alone act"
    )
    sigma_tilt_deg: float = Field(
        default=5, gt=0, description="First and largest width of the prior of tilt about the track's"
    )
    sigma_psi_deg: float = Field(
        default=3.33, gt=0, description="First and largest width of the prior of psi about the track's"
    )
    smooth_angst: float | None = Field(
        default=None, gt=0, description="Length over which priors are smoothed along a filament; null: the box"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for mistake in (
            _outside("rise", self.rise_angst, self.rise_range_angst, "angst"),
            _outside("twist", self.twist_deg, self.twist_range_deg, "deg"),
        ):
            if mistake is not None:
                raise ValueError(mistake)
        outer, inner = self.tube_diameter_angst, self.tube_inner_diameter_angst
        if outer is not None and inner >= outer:
            raise ValueError(
                f"tube_inner_diameter_angst {inner:g} leaves nothing of the tube; give less than {outer:g}"
            )
        return self

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of settings that a helix has to have, and that are not there."""
        return tuple(name for name in _NEEDED if getattr(self, name) is None)

    @property
    def most_rise_angst(self) -> float:
        """Largest rise that refinement may take.

        Raises
        ------
        ValueError
            If no rise is given.
        """
        if self.rise_angst is None:
            raise ValueError("rise_angst is missing")
        return self.rise_angst if self.rise_range_angst is None else self.rise_range_angst[1]


def _outside(name: str, value: float | None, limits: tuple[float, float] | None, unit: str) -> str | None:
    """What is wrong with a range and the value that it starts at."""
    if limits is None:
        return None
    least, most = limits
    if least > most:
        return f"{name}_range_{unit} [{least:g}, {most:g}] is empty; write [{most:g}, {least:g}]"
    if value is not None and not least <= value <= most:
        right = f"[{min(least, value):g}, {max(most, value):g}]"
        return f"{name}_{unit} {value:g} is outside of {name}_range_{unit} [{least:g}, {most:g}]; give {right}"
    return None
