"""Settings of filaments: their helix, their unit, how they bend, and how they were picked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from blush.config.sections import Section
from blush.simulate.mixture_settings import Vector

Positive = Annotated[float, Field(gt=0)]


class Chain(Section):
    """A unit without a model: a chain of Gaussian beads that avoids itself, drawn from the seed."""

    beads: int = Field(default=16, ge=1, le=500, description="Number of beads")
    spacing_angst: Positive = Field(default=13, description="Distance from one bead to the next, and least of any two")
    sigma_angst: Positive = Field(default=5, description="Width of a bead, a standard deviation")
    extent_angst: Positive = Field(default=36, description="Farthest that a bead lies from the middle of the unit")
    height_angst: float = Field(default=15, ge=0, description="Farthest that it lies from it along the axis")


class Filaments(Section):
    """Filaments that lie in ice: a helix of units, bent, stretched and tilted a little, cut into overlapping boxes.

    The noise is that of the micrograph: overlapping boxes show the same. `imaging.offset_sd_angst`,
    `imaging.defocus_sd_angst` and `views` have no part in it.
    """

    rise_angst: Positive = Field(description="Distance along the axis from one unit to the next")
    twist_deg: float = Field(ge=-360, le=360, description="Turn from one unit to the next, right-handed positive")
    fold: int = Field(default=1, ge=1, description="n of the rotational symmetry Cn about the axis")
    unit: Literal["chain", "specimen"] = Field(default="chain", description="chain: beads; specimen: atoms of a model")
    chain: Chain = Field(default=Chain(), description="Beads of the unit")
    radius_angst: float = Field(default=26, ge=0, description="Distance of the middle of the unit from the axis")
    unit_rotation_deg: Vector = Field(
        default=(0.0, 0.0, 0.0), description="Rot, tilt and psi by which the unit is turned about its middle"
    )
    count: int = Field(default=16, ge=1, description="Number of filaments")
    segments: int = Field(default=12, ge=1, description="Boxes cut from each")
    units_per_segment: int = Field(default=2, ge=1, description="Units from one box to the next")
    per_micrograph: int = Field(default=4, ge=1, description="Filaments in one micrograph")
    reversed: int | None = Field(
        default=None, ge=0, description="Filaments that run against their tracks; null: each at random"
    )
    curvature_deg_per_angst: float = Field(default=0.01, ge=0, le=0.5, description="Most that the track turns per Å")
    tilt_deg: float = Field(default=3, ge=0, le=30, description="Farthest that the axis leaves the image plane")
    stretch_sd: float = Field(
        default=0.005, ge=0, le=0.2, description="Spread over filaments of their slow twist, as a part of it"
    )
    across_sd_angst: float = Field(default=4, ge=0, description="Spread of boxes across the filament, slow along it")
    psi_error_deg: float = Field(default=1.5, ge=0, description="Error of the direction noted for each box")
    tube_diameter_angst: Positive | None = Field(
        default=None, description="Tube whose outside is background; null: around the units"
    )
    content: Literal["filaments", "noise", "random_phases"] = Field(
        default="filaments",
        description="noise: the micrographs are empty; random_phases: each filament's image has phases of its own",
    )
    random_from_angst: Positive | None = Field(
        default=None, description="Resolution beyond which phases are random; null: from the coarsest on"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.reversed is not None and self.reversed > self.count:
            raise ValueError(f"reversed {self.reversed} is over count {self.count}; lower it")
        if self.random_from_angst is not None and self.content != "random_phases":
            raise ValueError("random_from_angst belongs to content: random_phases; remove one of them")
        return self

    @property
    def images(self) -> int:
        """Number of all boxes."""
        return self.count * self.segments
