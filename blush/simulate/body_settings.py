"""Settings of bodies: which atoms move together, about what, and how far."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from blush.config.sections import Section
from blush.simulate.mixture_settings import Part, Selection, Vector

Axis = Vector | tuple[Part, Part]


class _Motion(Section):
    """How an amount is spread over the particles."""

    spread: Literal["normal", "uniform", "bimodal"] = Field(
        default="normal",
        description="normal: around 0; uniform: evenly, as far as the width to either side; bimodal: around two "
        "amounts, half of `separation` to either side of 0",
    )
    axis: Axis | None = Field(
        default=None,
        description="Direction x, y, z; or two selections, from the middle of the first to that of the second; null: "
        "about (or along) x, y and z, each drawn for itself",
    )
    first_share: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the particles in the first, negative mode; used by bimodal"
    )

    @model_validator(mode="after")
    def _two_modes_have_an_axis(self) -> Self:
        if self.axis == (0, 0, 0):
            raise ValueError("an axis of 0, 0, 0 points nowhere; give its direction")
        if self.spread == "bimodal" and self.axis is None:
            raise ValueError("spread: bimodal has no axis; give the one along which its modes are apart")
        if (self.spread == "bimodal") != (self.gap > 0):
            raise ValueError("separation belongs to spread: bimodal, and is more than 0 there; correct one of them")
        return self

    @property
    @abstractmethod
    def gap(self) -> float:
        """Distance between the modes."""


class Turn(_Motion):
    """A hinge: the body turns about a point."""

    motion: Literal["turn"] = Field(description="turn")
    through: Vector | Part | None = Field(
        default=None,
        description="Point x, y, z in Å from the centre of the true map, or atoms around it; null: the middle of those "
        "of the body's atoms that touch other bodies",
    )
    width_deg: float = Field(
        ge=0, description="Standard deviation (of each mode, of each component), or half the range"
    )
    separation_deg: float = Field(default=0, ge=0, description="Angle between two modes")

    @property
    def gap(self) -> float:
        """Degrees between the modes."""
        return self.separation_deg


class Shift(_Motion):
    """The body is displaced."""

    motion: Literal["shift"] = Field(description="shift")
    width_angst: float = Field(
        ge=0, description="Standard deviation (of each mode, of each component), or half the range"
    )
    separation_angst: float = Field(default=0, ge=0, description="Distance between two modes")

    @property
    def gap(self) -> float:
        """The distance in Å between the modes."""
        return self.separation_angst


Motion = Annotated[Turn | Shift, Field(discriminator="motion")]


class MovingBody(Section):
    """Atoms that move together, by its motions in their order; without any, they stay."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="Word for it in the tables")
    select: Selection | tuple[Selection, ...] | None = Field(
        default=None, description="Atoms, one selection or several; null: those of no other body"
    )
    rides_on: str | None = Field(
        default=None, description="Body, listed before, that carries this one along: its motion is added"
    )
    motions: tuple[Motion, ...] = Field(default=(), description="What it does in each image")

    @field_validator("motions")
    @classmethod
    def _one_motion_has_modes(cls, value: tuple[Motion, ...]) -> tuple[Motion, ...]:
        if sum(motion.spread == "bimodal" for motion in value) > 1:
            raise ValueError("two motions are bimodal; leave that to one of them")
        return value

    @property
    def selections(self) -> tuple[Selection, ...] | None:
        """Every selection; None for the rest."""
        return (self.select,) if isinstance(self.select, Selection) else self.select


def check_bodies(bodies: Sequence[MovingBody]) -> None:
    """Refuse bodies that do not make a whole.

    Raises
    ------
    ValueError
        With what is wrong and its remedy.
    """
    names = [body.name for body in bodies]
    if len(bodies) == 1:
        raise ValueError(f"body {names[0]} is the only one; add the rest as another, without select")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} names two bodies; rename one")
    rest = [body.name for body in bodies if body.select is None]
    if len(rest) > 1:
        raise ValueError(f"{', '.join(rest)} all select the rest; give all but one a selection")
    for place, body in enumerate(bodies):
        if body.rides_on is not None and body.rides_on not in names[:place]:
            raise ValueError(f"{body.name} rides on {body.rides_on}, which is no body listed before it; reorder them")
