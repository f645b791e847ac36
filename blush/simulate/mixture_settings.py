"""Settings of mixtures: which atoms a species lacks or has elsewhere, and how much junk there is."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from blush.config.sections import Section

Vector = tuple[float, float, float]
Share = Annotated[float, Field(ge=0, le=1)]
JUNK_KINDS = ("noise", "blobs", "edges", "off_centre", "broken")


class Part(Section):
    """Atoms of a model that match all that is given."""

    chains: tuple[str, ...] | None = Field(default=None, description="Names of chains; null: all")
    residues: tuple[tuple[int, int], ...] | None = Field(
        default=None, description="Stretches of residues, each by its first and last number; null: all"
    )
    residue_names: tuple[str, ...] | None = Field(default=None, description="Names of residues, as ATP; null: all")

    @field_validator("residues")
    @classmethod
    def _stretches_run_forwards(cls, value: tuple[tuple[int, int], ...] | None) -> tuple[tuple[int, int], ...] | None:
        for first, last in value or ():
            if first > last:
                raise ValueError(f"residues {first} to {last} are none; write [{last}, {first}]")
        return value


class Selection(Part):
    """Atoms of a model, in some or all of the places that symmetry puts it."""

    copies: tuple[Annotated[int, Field(gt=0)], ...] | None = Field(
        default=None, description="Which symmetry copies, from 1 (the model where its file has it); null: all"
    )


class Remove(Section):
    """Atoms that a species lacks: a subunit, a ligand."""

    change: Literal["remove"] = Field(description="remove")
    select: Selection = Field(description="Atoms")


class AngleRange(Section):
    """A continuous motion, as evenly spaced angles of which each particle has one, drawn at random."""

    first: float = Field(description="First angle")
    last: float = Field(description="Last angle")
    steps: int = Field(default=16, ge=2, le=256, description="Number of angles, both ends included")


class Rotate(Section):
    """Atoms that a species has turned about an axis: a hinge.

    Places are in Å from the centre of the true map and axes in its frame, as they are for the first symmetry copy; the
    others follow by symmetry.
    """

    change: Literal["rotate"] = Field(description="rotate")
    select: Selection = Field(description="Atoms")
    axis: Vector | tuple[Part, Part] = Field(
        description="Direction x, y, z; or two selections, from the middle of the first to that of the second"
    )
    through: Vector | Part | None = Field(
        default=None,
        description="Point x, y, z of the axis, or atoms whose middle is one; null: the first selection of `axis`",
    )
    angle_deg: float | tuple[float, ...] | AngleRange = Field(
        description="Right-handed about the axis; of several, each is a class of its own, with an equal share"
    )

    @model_validator(mode="after")
    def _axis_is_one(self) -> Self:
        if self.axis == (0, 0, 0):
            raise ValueError("an axis of 0, 0, 0 points nowhere; give its direction")
        if self.through is None and not isinstance(self.axis[0], Part):
            raise ValueError("through is missing; give a point of the axis, or atoms around it")
        if self.angle_deg == ():
            raise ValueError("angle_deg is empty; give an angle")
        return self


class Occupancy(Section):
    """Atoms that only some particles of a species have, as their mean: density between them and solvent."""

    change: Literal["occupancy"] = Field(description="occupancy")
    select: Selection = Field(description="Atoms")
    scale: float = Field(gt=0, le=1, description="Share of the particles that have the atoms")


Change = Annotated[Remove | Rotate | Occupancy, Field(discriminator="change")]


class Junk(Section):
    """Images that are not of a whole particle in their middle, as shares of all images."""

    noise: Share = Field(default=0.0, description="Nothing but noise")
    blobs: Share = Field(default=0.0, description="Round smears of any size and place, as of ice or aggregates")
    edges: Share = Field(default=0.0, description="The edge of a carbon film")
    off_centre: Share = Field(default=0.0, description="A particle 0.3 to 0.6 diameters from the middle")
    broken: Share = Field(default=0.0, description="A particle cut by a plane, 30 to 70 % of its atoms left")
    fragments: int = Field(default=4, ge=1, le=64, description="How many different broken particles there are")
    strength_min: float = Field(
        default=0.5, gt=0, description="Least variance of blobs and edges over that of the particles' images"
    )
    strength_max: float = Field(default=3.0, gt=0, description="Most of that variance")

    @model_validator(mode="after")
    def _is_part_of_all(self) -> Self:
        if self.share > 1 + 1e-9:
            raise ValueError(f"its shares add up to {self.share:g}, more than all images; lower them")
        if self.strength_min > self.strength_max:
            raise ValueError(f"strength_min is over strength_max {self.strength_max}; lower it")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each kind."""
        return tuple(getattr(self, kind) for kind in JUNK_KINDS)

    @property
    def share(self) -> float:
        """Share of all kinds together."""
        return sum(self.shares)
