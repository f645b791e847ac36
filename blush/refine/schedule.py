"""How finely the next iteration looks: image sizes, sampling and its random perturbation.

Pure functions. Rules follow RELION's auto-refine (Scheres 2012, doi:10.1016/j.jsb.2012.09.006, and
Zivanov et al. 2018, doi:10.7554/eLife.42166).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS
from blush.refine.state import PoseSearch, State

FIRST_INCREMENT_SHELLS = 10
"""Shells searched beyond the current resolution."""

MAX_OFFSET_STEP_ANGST = 1.5
"""Upper limit of a fine offset step; ångström, although it is often quoted in pixels."""

_PERTURBATION_STREAM = 1


def round_half_away(value: float) -> int:
    """Nearest integer of a value >= 0, halves upwards, as shells are rounded everywhere."""
    return math.floor(value + 0.5)


def angular_step_deg(healpix_order: int, oversampling: int = 0) -> float:
    """Spacing of directions and of in-plane angles: 60° at order 0, halved by each order or oversampling."""
    return 60.0 / float(2 ** (healpix_order + oversampling))


def local_sigma_deg(healpix_order: int, oversampling: int) -> float:
    """Give the standard deviation of the prior of local searches: two fine steps, so its 3σ cut is six of them."""
    return 2.0 * angular_step_deg(healpix_order, oversampling)


def shell_of_resolution(resolution_angst: float, box_px: int, pixel_size_angst: float) -> int:
    """Shell nearest to a resolution, at most the Nyquist shell."""
    return min(box_px // 2, round_half_away(box_px * pixel_size_angst / resolution_angst))


def increment_shells(previous: int, fsc: NDArray[np.float64]) -> int:
    """Shells to look beyond the current resolution; never fewer than before.

    A slowly falling FSC asks for more: at least the distance from where it first drops below 0.5 to where it drops
    below 0.143, plus 5. A curve that stays above a threshold counts as crossing it past the last shell.
    """
    return max(previous, _first_below(fsc, HALF_MAPS) - _first_below(fsc, 0.5) + 5)


def _first_below(fsc: NDArray[np.float64], threshold: float) -> int:
    below = np.flatnonzero(fsc[1:] < threshold)
    return int(below[0]) + 1 if below.size else len(fsc)


def current_size(
    box_px: int, resolution_shell: int, increment: int, average_pmax: float, high_fsc_at_limit: bool, final: bool
) -> int:
    """Edge of the Fourier-cropped images of the second pass, in px.

    Parameters
    ----------
    increment
        Shells beyond `resolution_shell`; a quarter of the Nyquist shell instead where poses are certain
        (`average_pmax` > 0.1) and the FSC was still high at the previous limit.
    final
        The last iteration uses all data to Nyquist.
    """
    if final:
        return box_px
    if average_pmax > 0.1 and high_fsc_at_limit:
        increment = round_half_away(0.25 * box_px / 2)
    return min(box_px, 2 * (resolution_shell + increment))


def coarse_size(
    box_px: int, pixel_size_angst: float, particle_diameter_angst: float, healpix_order: int, current_size_px: int
) -> int:
    """Edge of the images of the first pass, in px: the resolution that the coarse angular step can tell apart.

    A step moves the particle's rim by an arc; structure finer than 1/1.2 of that arc is not sampled.
    """
    arc_angst = angular_step_deg(healpix_order) / 360.0 * math.pi * particle_diameter_angst
    finest_angst = arc_angst / 1.2
    return min(current_size_px, 2 * math.ceil(box_px * pixel_size_angst / finest_angst))


def next_perturbation(previous: float, factor: float, seed: int, iteration: int) -> float:
    """Fraction of a step by which the grids of `iteration` are shifted.

    A step of U(factor/2, factor) from the previous one, wrapped into [-factor, factor). It depends on nothing but its
    arguments, so an iteration run again sees the same grid. Without it orientations lock to the grid in both halves
    and the FSC is inflated.
    """
    if factor == 0:
        return 0.0
    generator = np.random.default_rng([_PERTURBATION_STREAM, seed, iteration])
    moved = previous + generator.uniform(factor / 2, factor)
    return float((moved + factor) % (2 * factor) - factor)


@dataclass(frozen=True)
class OffsetGrid:
    """Disc of offsets searched around the previous one."""

    range_angst: float
    step_angst: float


def finer_offsets(
    present: OffsetGrid, accuracy_offset_angst: float, change_offset_angst: float, oversampling: int
) -> OffsetGrid:
    """Offset search that goes with a finer angular sampling.

    The fine step follows the expected accuracy (at most 1.5 Å), the range follows how far particles still move; at
    most four coarse steps fit in the range, and a step never grows.

    Parameters
    ----------
    change_offset_angst
        Root mean square change per axis in the last iteration.
    """
    step = min(MAX_OFFSET_STEP_ANGST, 0.75 * accuracy_offset_angst) * 2**oversampling
    reach = max(min(1.3 * present.range_angst, 5.0 * change_offset_angst), 1.5 * step)
    if reach > 4 * step:
        reach /= 2
    if reach > 4 * step:
        step = reach / 4
    return present if step > present.step_angst else OffsetGrid(reach, step)


def finer(search: PoseSearch, accuracy_angst: float, change_angst: float, local_from_order: int) -> PoseSearch:
    """Search with the next HEALPix order and the offsets that go with it, local from an order on."""
    present = OffsetGrid(search.offset_range_angst, search.offset_step_angst)
    offsets = finer_offsets(present, accuracy_angst, change_angst, search.oversampling)
    order = search.healpix_order + 1
    local = search.local or order >= local_from_order
    return replace(
        search,
        healpix_order=order,
        local=local,
        sigma_angle_deg=local_sigma_deg(order, search.oversampling) if local else 0.0,
        offset_range_angst=offsets.range_angst,
        offset_step_angst=offsets.step_angst,
    )


def ready_for_next(state: State, increment_shells: int, high_fsc_at_limit: bool) -> State:
    """State with the grid shift and the image sizes of the iteration that follows it.

    Parameters
    ----------
    increment_shells, high_fsc_at_limit
        How far beyond the resolution images reach, as `current_size` has it.
    """
    facts, search = state.facts, state.search
    factor = state.control.settings.perturbation_factor
    shell = shell_of_resolution(state.resolution_angst, facts.box_px, facts.pixel_size_angst)
    fine = current_size(facts.box_px, shell, increment_shells, state.average_pmax, high_fsc_at_limit, state.final)
    searched = replace(
        search,
        perturbation=next_perturbation(search.perturbation, factor, facts.seed, state.iteration + 1),
        current_size_px=fine,
        coarse_size_px=coarse_size(
            facts.box_px, facts.pixel_size_angst, facts.particle_diameter_angst, search.healpix_order, fine
        ),
    )
    return replace(state, search=searched)
