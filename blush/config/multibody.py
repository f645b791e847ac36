"""Section `multibody`: bodies of a molecule that move against each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from blush.config.sections import Section

REST = "rest"
"""Name of the body that holds what no mask covers."""


class Body(Section):
    """One part that moves as a rigid body; the order in the list is that of the bodies, the largest first."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the body, of letters, digits, dots, _ and -"
    )
    mask: Path = Field(description="Soft mask of the body, values 0 to 1, in the box of the consensus map")
    hinge_with: str | None = Field(
        default=None,
        description="Name of the body that it turns against, for the axis of RELION's angles; null: the box centre",
    )
    sigma_rotation_deg: float = Field(
        default=10, gt=0, description="Width of the prior of its rotation about each axis, of the whole motion"
    )
    sigma_offset_angst: float = Field(
        default=3, gt=0, description="Width of the prior of its shift along each axis, of the whole motion"
    )
    fulcrum_angst: tuple[float, float, float] | None = Field(
        default=None,
        description="Point x, y, z from the box centre about which it turns; null: the centroid of its mask",
    )
    refine: bool = Field(
        default=True, description="Whether its poses are refined; false: it is subtracted, and never aligned"
    )


class Multibody(Section):
    """Bodies that move; used where `job` is multibody."""

    half_maps: tuple[Path, ...] = Field(
        default=(), description="Unfiltered half-maps 1 and 2 of the consensus; none: those beside `reference`"
    )
    body_file: Path | None = Field(default=None, description="STAR file of bodies, RELION's, instead of `bodies`")
    bodies: tuple[Body, ...] = Field(default=(), description="The bodies, the largest first")
    rest: bool = Field(
        default=False,
        description="Whether the density that no mask covers is one more body, `rest`, subtracted and never aligned",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.half_maps) not in (0, 2):
            raise ValueError(f"half_maps names {len(self.half_maps)} maps; give both, or none of them")
        if self.body_file is not None and self.bodies:
            raise ValueError("body_file and bodies exclude each other; leave one of them out")
        mistake = next(body_mistakes(self.bodies, rest=self.rest), None) if self.bodies else None
        if mistake is not None:
            raise ValueError(mistake)
        return self

    @property
    def files(self) -> dict[str, Path]:
        """Every file that the section names, by setting."""
        named = {f"half_maps.{k}": path for k, path in enumerate(self.half_maps, 1)}
        named |= {} if self.body_file is None else {"body_file": self.body_file}
        return named | {f"bodies.{k}.mask": body.mask for k, body in enumerate(self.bodies, 1)}


def body_mistakes(bodies: tuple[Body, ...], *, rest: bool) -> Iterator[str]:
    """What is wrong with a list of bodies as a whole, each with its remedy; a body file is held to the same.

    Parameters
    ----------
    rest
        Whether the density in none of their masks is one more body.
    """
    if rest and REST in (body.name for body in bodies):
        yield f"a body is called {REST}, as that which multibody.rest makes; give it another name, or set rest: false"
        return
    names = [body.name for body in bodies] + [REST] * rest
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two bodies are called {name}; give each a name of its own"
    for body in bodies:
        if body.hinge_with == body.name:
            yield f"body {body.name} hinges with itself; name another body in hinge_with, or leave it out"
        elif body.hinge_with is not None and body.hinge_with not in names:
            yield f"body {body.name} hinges with {body.hinge_with}, which is no body; name one of {', '.join(names)}"
    if not any(body.refine for body in bodies):
        yield "no body is refined; set refine: true for one"
    if len(names) < 2:
        remedy = "set multibody.rest: true to subtract what its mask leaves (local refinement), or use job: refine"
        yield f"body {names[0] if names else ''} is the only one; {remedy}"
