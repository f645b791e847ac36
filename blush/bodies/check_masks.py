"""Checks of the masks of bodies, one by one and together, before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blush.bodies.rest import rest_mask
from blush.config.multibody import REST, Body
from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass
from blush.fourier.grid import centred_radius
from blush.fourier.mask import solid_density
from blush.geometry.bodies import BodyExtent
from blush.io.check_map import check_map
from blush.io.mrc import read_volume
from blush.io.optics import OpticsGroup

_INSIDE = 0.05
"""A mask above this holds a voxel."""
_SAME = 0.95
"""Of two masks, the shared part of their union from which they are one."""
_SOFT_PX = 2.0
"""Narrowest edge that does not ring."""
_MOST_OUTSIDE, _SOME_OUTSIDE = 0.5, 0.15
"""Share of a mask outside the particle's circle that is refused, and told."""
_LEFT_OUT = 0.05
"""Share of the solid density in no mask that is told."""
_NOTHING = 0.01
"""Share of the solid density below which a body of what no mask covers holds nothing."""
_LEAST_KDA = 100.0
_ANGST3_PER_DALTON = 2.4
"""Volume that stands out of the solvent at 15 Å: 1.9 to 2.6 in six simulated molecules of 140 to 780 kDa, with noise as
strong as the signal 1.6 to 2.4. (Protein itself has 1.2; the rest is what the filter adds.)"""
_LOWPASS_ANGST = 15.0


@dataclass(frozen=True)
class Consensus:
    """What masks are held against.

    Parameters
    ----------
    optics
        Box and pixel size that they must have.
    diameter_angst
        Circle around the particle.
    volume
        (N, N, N) consensus map in that box; None where it cannot be read, or has another box.
    learned_prior
        Whether a network regularises the maps of bodies.
    """

    optics: OpticsGroup
    diameter_angst: float
    volume: Tensor | None
    learned_prior: bool


@dataclass
class MaskFindings:
    """What the checks found: problems forbid a refinement, warnings tell what is seldom meant."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def check_masks(bodies: Sequence[Body], consensus: Consensus, *, rest: bool = False) -> MaskFindings:
    """Check the masks of all bodies against the consensus and against each other.

    Parameters
    ----------
    rest
        Whether what they leave of the consensus is one more body.
    """
    found = MaskFindings()
    masks: dict[str, Tensor] = {}
    for body in bodies:
        problems = check_map(body.mask, f"mask of body {body.name}", like=consensus.optics, is_mask=True)
        found.problems += problems
        if not problems:
            masks[body.name] = torch.from_numpy(read_volume(body.mask)[0])
            _check_place(body, masks[body.name], consensus, found)
            _check_fulcrum(body, masks[body.name], consensus.optics, found)
    if found.problems:
        return found
    for first, second in combinations(bodies, 2):
        _check_pair(first, second, masks, consensus.optics.pixel_size_angst, found)
    if consensus.volume is not None:
        _check_density(bodies, masks, consensus, found, rest=rest)
    return found


def kilodaltons(masks: Tensor, solid: Tensor, pixel_size_angst: float) -> list[float]:
    """Mass of each body, from the volume of density in its mask; what masks share is shared among them.

    Parameters
    ----------
    masks
        (B, N, N, N) values from 0 to 1.
    solid
        (N, N, N) boolean, where the map stands out of the solvent at 15 Å.
    """
    volume = (masks / masks.sum(0).clamp(min=1) * solid).sum((1, 2, 3)) * pixel_size_angst**3
    return [float(one) / _ANGST3_PER_DALTON / 1000 for one in volume]


def _check_place(body: Body, mask: Tensor, consensus: Consensus, found: MaskFindings) -> None:
    """One mask in its box: inside it, inside the particle's circle, with a soft edge."""
    box, pixel = consensus.optics.box_px, consensus.optics.pixel_size_angst
    file = str(body.mask)
    inside = mask > _INSIDE
    faces = [inside[0], inside[-1], inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
    if cut := sum(int(face.sum()) for face in faces):
        message = f"mask of body {body.name} reaches the edge of the box, which cuts it"
        remedy = "draw it smaller, or extract the particles in a larger box"
        found.problems.append(Problem(message, remedy, file, value=f"{cut} voxels of the outermost layer"))
    outside = centred_radius(box, 3) * pixel > consensus.diameter_angst / 2
    share = float((mask * outside).sum() / mask.sum())
    if share > _SOME_OUTSIDE:
        message = f"mask of body {body.name} lies outside the particle's circle"
        remedy = "raise particle_diameter_angst, or draw the mask anew"
        value = f"{share:.0%} of it beyond {consensus.diameter_angst / 2:g} Å from the centre"
        kind = found.problems if share > _MOST_OUTSIDE else found.warnings
        kind.append(Problem(message, remedy, file, value=value))
    width = _edge_px(mask)
    if width < _SOFT_PX:
        message = f"mask of body {body.name} has a hard edge, which rings and is shared by both half-maps"
        remedy = "soften it by a cosine of 5 to 10 pixels"
        found.warnings.append(Problem(message, remedy, file, value=f"{width:.1f} px wide"))


def _check_fulcrum(body: Body, mask: Tensor, optics: OpticsGroup, found: MaskFindings) -> None:
    """A chosen fulcrum lies in the box, and the body in the box that has it as its centre."""
    if body.fulcrum_angst is None or float(mask.max()) <= _INSIDE:
        return
    value = "{:g}, {:g}, {:g} Å".format(*body.fulcrum_angst)
    fulcrum_px = torch.tensor(body.fulcrum_angst, dtype=torch.float64) / optics.pixel_size_angst
    extent = BodyExtent.of(mask, fulcrum_px)
    half = optics.box_px // 2
    if float(extent.centre_px.min()) < -half or float(extent.centre_px.max()) > optics.box_px - half - 1:
        message = f"fulcrum of body {body.name} lies outside of the box"
        reach = half * optics.pixel_size_angst
        remedy = f"give x, y, z in Å from the centre of the box, which reaches {reach:g} Å to either side"
        found.problems.append(Problem(message, remedy, where="multibody.bodies", value=value))
    elif extent.radius_px > half - 1:
        message = f"body {body.name} is turned about its fulcrum in a box that does not hold it"
        remedy = "choose a fulcrum nearer to the body, or extract the particles in a larger box"
        reach = extent.radius_px * optics.pixel_size_angst
        value += f"; it reaches {reach:.0f} Å from there, the box {(half - 1) * optics.pixel_size_angst:g} Å"
        found.problems.append(Problem(message, remedy, where="multibody.bodies", value=value))


def _edge_px(mask: Tensor) -> float:
    """Width of a mask's edge from 0.05 to 0.95 of its height: volume of the edge over its surface."""
    values = (mask / mask.max()).numpy()
    core = values > 0.5
    surface = sum(int(np.count_nonzero(np.diff(core, axis=axis))) for axis in range(3))
    edge = int(np.count_nonzero((values > _INSIDE) & (values < 1 - _INSIDE)))
    # A plane's faces along the axes are 3/2 as many as its area, averaged over all directions of the plane.
    return edge / max(surface / 1.5, 1.0)


def _check_pair(
    first: Body, second: Body, masks: dict[str, Tensor], pixel_size_angst: float, found: MaskFindings
) -> None:
    """Two masks: not one and the same, and together at a hinge."""
    a, b = masks[first.name], masks[second.name]
    shared = float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum())
    if shared > _SAME:
        message = f"masks of bodies {first.name} and {second.name} are the same"
        remedy = "draw them apart, or leave one of the bodies out"
        found.problems.append(Problem(message, remedy, str(second.mask), value=f"{shared:.0%} shared"))
    if second.name == first.hinge_with or first.name == second.hinge_with:
        is_apart = not bool(((a > _INSIDE) & (b > _INSIDE)).any())
        if is_apart:
            distance = ndimage.distance_transform_edt((a <= _INSIDE).numpy(), sampling=pixel_size_angst)
            gap = float(distance[(b > _INSIDE).numpy()].min())
            message = f"masks of bodies {first.name} and {second.name} do not overlap, though they hinge"
            remedy = "let both cover the hinge, with 10 to 20 Å of overlap; density between them belongs to no body"
            found.warnings.append(Problem(message, remedy, str(second.mask), value=f"{gap:.0f} Å apart"))


def _check_density(
    bodies: Sequence[Body], masks: dict[str, Tensor], consensus: Consensus, found: MaskFindings, *, rest: bool
) -> None:
    """The consensus map under the masks: nothing solid is left out, and every body is large enough to be aligned."""
    if consensus.volume is None:
        raise BlushError("masks are checked without a map")
    pixel = consensus.optics.pixel_size_angst
    solid = solid_density(consensus.volume, pixel, consensus.diameter_angst, _LOWPASS_ANGST)
    density = low_pass(consensus.volume, max(_LOWPASS_ANGST, 2 * pixel), pixel).clamp(min=0) * solid
    stacked = torch.stack([masks[body.name] for body in bodies])
    left = density * (1 - stacked.amax(0).clamp(max=1))
    share = float(left.sum() / density.sum()) if bool(solid.any()) else 0.0
    if rest:
        _check_rest(rest_mask(consensus.volume, stacked, pixel, consensus.diameter_angst), density, found)
    elif share > _LEFT_OUT:
        message = "part of the consensus map is in no mask; it is never subtracted, and blurs every body"
        x, y, z = (pixel * BodyExtent.of(left / left.max()).centroid_px).tolist()
        remedy = "set multibody.rest: true, or let some mask hold it, with refine: false where it cannot be aligned"
        value = f"{share:.0%} of its density, about {x:.0f}, {y:.0f}, {z:.0f} Å from the centre"
        found.warnings.append(Problem(message, remedy, where="multibody.bodies", value=value))
    for body, kilodalton in zip(bodies, kilodaltons(stacked, solid, pixel), strict=True):
        if kilodalton == 0:
            message = f"mask of body {body.name} holds no density of the consensus map"
            remedy = "draw it around some, in the frame of `reference`"
            found.problems.append(Problem(message, remedy, str(body.mask)))
        elif body.refine and kilodalton < _LEAST_KDA and not consensus.learned_prior:
            message = f"body {body.name} is small, and may not be aligned by itself"
            remedy = "use regulariser: {name: blush}, join it with a neighbour, or set refine: false"
            value = f"about {kilodalton:.0f} kDa, less than {_LEAST_KDA:.0f}"
            found.warnings.append(Problem(message, remedy, str(body.mask), value=value))


def _check_rest(mask: Tensor, density: Tensor, found: MaskFindings) -> None:
    """What no mask covers: some density, which stays in the box when it is centred on it."""
    share = float((density * mask).sum() / density.sum()) if bool((density > 0).any()) else 0.0
    if share < _NOTHING or float(mask.max()) <= _INSIDE:
        message = f"body {REST} holds nothing: the masks cover all density of the consensus map"
        remedy = "set rest: false and list two bodies or more, draw the masks smaller, or use job: refine"
        found.problems.append(Problem(message, remedy, where="multibody.rest", value=f"{share:.1%} of the density"))
        return
    half = len(mask) // 2
    reach = (((mask > _INSIDE) & (density > 0)).nonzero() - half - BodyExtent.of(mask).centre_px.flip(0)).abs()
    if len(reach) and int(reach.max()) > half - 1:
        message = f"body {REST} reaches beyond a box that is centred on it"
        remedy = "extract the particles in a larger box"
        found.problems.append(Problem(message, remedy, where="multibody.rest", value=f"{int(reach.max())} px"))
