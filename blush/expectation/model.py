"""What the expectation step of one subset needs to know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blush.expectation.component import Component
from blush.geometry.helix import Helix
from blush.io.upload import uploaded


@dataclass(frozen=True)
class FilamentModel:
    """What is known of segments of filaments before they are seen, beside what each of them knows of its own.

    Attributes
    ----------
    helix
        Rise, twist and fold, of which the slow twist and the period of rot follow.
    sigma_psi_deg, sigma_tilt_deg
        Widths of the priors of psi and tilt about those of `ParticleSet.filament_prior`, for polarity 0 as they stand
        and turned round for polarity 1. Global searches end at three of them, or half a step of the grid.
    sigma_across_angst
        Width of the prior of the offset across the filament. That along it has none.
    along_step_angst
        Spacing of the coarse offsets along the filament.
    tube_diameter_angst
        Width of the mask about the filament's axis; less than the box, whose sides show what lies beside it.
    bins
        In which the reduced rot is told over its period.
    undecided_log_odds
        Local searches look about the best poses of both polarities while the prior's log odds are below this.
    """

    helix: Helix
    sigma_psi_deg: float
    sigma_tilt_deg: float
    sigma_across_angst: float
    along_step_angst: float
    tube_diameter_angst: float
    bins: int
    undecided_log_odds: float = 10.0


@dataclass(frozen=True)
class Model:
    """The current estimate of one subset of the images, and the poses to search.

    Attributes
    ----------
    component
        The references, cut at `current_size / 2`, their priors, and the coarse orientations, perturbed already.
    coarse_radius, radius
        Largest shell compared in the first and the second pass.
    noise
        (o, N/2 + 1) sigma^2 per component of each optics group (docs/algorithm.md, section 3).
    scale
        (g,) factor of each particle group.
    norm_average
        Average norm correction of the subset.
    offsets_angst, offset_step_angst
        Coarse shifts (t, 2), perturbed already; the step sets the children. With `filament` they are along and across
        each segment's axis, as of `frame_offsets`, and the step is that across.
    sigma_offset_angst
        Width of the prior of the particle's whole offset around zero.
    local_sigma_deg
        Width of the local search around the previous pose, or None for a global search.
    cross_correlation
        Winner takes all by normalised correlation (`--firstiter_cc`).
    scale_shells
        (N/2 + 1,) bool: shells that estimate the group scale (SSNR > 3).
    fixed_poses
        Every image keeps the pose that it has; only the references compete.
    temperature
        What the log probabilities of an image's references are divided by, once its poses are summed over; above 1
        labels are softer than the likelihood says.
    pose_temperature
        What the log likelihood of every pose is divided by. The transform of a masked image is correlated, as if it had
        fewer components, by the mean square of the mask; a likelihood that adds up all of them is too sure by that.
    motion
        (6, 6) covariance of how far poses are from those that images are anchored to, rotation vector in rad and
        displacement in Å in the frame of the map; or None. It takes the place of both priors, of offsets and around
        the previous pose, whose neighbourhood only bounds the search.
    filament
        What is known of segments of filaments; or None. It takes the place of both priors, too.
    """

    component: Component
    pixel_size_angst: float
    particle_diameter_angst: float
    coarse_radius: int
    radius: int
    noise: Tensor
    scale: Tensor
    norm_average: float
    offsets_angst: Tensor
    offset_step_angst: float
    sigma_offset_angst: float
    local_sigma_deg: float | None = None
    cross_correlation: bool = False
    scale_shells: Tensor | None = None
    adaptive_fraction: float = 0.999
    fixed_poses: bool = False
    temperature: float = 1.0
    pose_temperature: float = 1.0
    motion: Tensor | None = None
    filament: FilamentModel | None = None

    def on(self, device: torch.device) -> Model:
        """The same with all but the references, which are where they were made, on a device."""
        return replace(
            self,
            noise=uploaded(self.noise, device),
            scale=uploaded(self.scale, device),
            offsets_angst=uploaded(self.offsets_angst, device),
            scale_shells=None if self.scale_shells is None else uploaded(self.scale_shells, device),
            motion=None if self.motion is None else uploaded(self.motion, device),
        )

    @property
    def box_px(self) -> int:
        """Box of the images and of the map."""
        return self.component.sphere.box_px
