"""Do all directions of a map hold as much signal, and do the views sample all of them? Two figures and a verdict.

Both are of the raw halves and of the poses: a denoiser makes the directions of its output alike without new data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.fsc import fsc
from blush.geometry.symmetry import operators
from blush.validate.directional_fsc import Cones, area_ratio, crossings, directional_fsc
from blush.validate.isotropic_halves import isotropic_ratios
from blush.validate.sampling_factor import Sampling, counted, sampling, uniform_sampling

LEAST_CFAR = 0.5
"""Below it cryoSPARC's guide speaks of preferred orientation (guide.cryosparc.com, Orientation Diagnostics)."""
LEAST_SCF = 0.81
"""Of that of uniform views: 8/pi², what side views alone give.

Baldwin & Lyumkis 2020, doi:10.1016/j.pbiomolbio.2019.09.002
"""


@dataclass(frozen=True)
class Orientation:
    """What halves and views say of directions.

    Attributes
    ----------
    cones
        FSC by direction.
    cfar
        Conical FSC area ratio.
    isotropic
        (r,) that of random halves with as much signal, the same in all directions.
    views
        Sampling by the views, and `uniform_scf` by as many random ones.
    by_axis_angst
        (a,) resolution along each axis of the cones; infinite where there is none.
    box_angst
        Side of the cube that the cones' shells belong to.
    """

    cones: Cones
    cfar: float
    isotropic: Tensor
    views: Sampling
    uniform_scf: float
    by_axis_angst: NDArray[np.float64]
    box_angst: float

    @property
    def is_even(self) -> bool | None:
        """Whether no direction lacks signal; None where such weak halves cannot tell."""
        if self.cfar >= LEAST_CFAR:
            return True
        return False if self.cfar < float(self.isotropic.min()) else None

    @property
    def is_sampled(self) -> bool:
        """Whether the views sample directions as evenly as side views alone would, or better."""
        return self.views.scf_star >= LEAST_SCF * self.uniform_scf

    @property
    def worst(self) -> int:
        """Axis along which least is resolved."""
        return int(np.argmax(self.by_axis_angst))

    def worst_deg(self) -> tuple[float, float]:
        """Rot and tilt of the worst axis."""
        x, y, z = self.cones.axes[self.worst].tolist()
        return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arccos(min(1.0, z))))

    def verdict(self) -> str:
        """What it means, in words, with the figures."""
        least = float(self.isotropic.min())
        cfar = f"cFAR {self.cfar:.2f}, of isotropic halves {least:.2f} or more"
        scf = f"SCF* {self.views.scf_star:.2f}, of uniform views {self.uniform_scf:.2f}"
        rot, tilt = self.worst_deg()
        place = f"rot {rot:.0f}°, tilt {tilt:.0f}°"
        ends = f"along {place} the signal ends at {_angst(self.by_axis_angst.max())}, along the best axis at "
        ends += f"{_angst(self.by_axis_angst.min())}"
        if self.is_even is None:
            told = f"too little signal to tell directions apart by FSC ({cfar})"
            return f"{told}; the views {'sample all of them' if self.is_sampled else 'are uneven'} ({scf})"
        if self.is_even and self.is_sampled:
            how = "even" if self.cfar >= least else f"slightly uneven ({ends})"
            return f"directions are {how}: none lacks signal ({cfar}), and the views sample all of them ({scf})"
        if self.is_even:
            return (
                f"views are uneven ({scf}), but no direction lacks signal ({cfar}): rare views carry some directions, "
                "and more of those would gain most"
            )
        if self.is_sampled:
            return (
                f"the signal is uneven ({cfar}): {ends}; as the views sample all directions ({scf}), look for junk, "
                "for wrong poses and for damage, and classify again"
            )
        return (
            f"preferred orientation ({cfar}; {scf}): {ends}, as few views are perpendicular to that axis; the map is "
            "smeared along it. Tilt the stage, or change grid or support"
        )

    def record(self) -> dict[str, Any]:
        """Plain numbers, their thresholds, and the verdict."""
        rot, tilt = self.worst_deg()
        return {
            "verdict": self.verdict(),
            "cfar": self.cfar,
            "cfar_least": LEAST_CFAR,
            "cfar_isotropic_mean": float(self.isotropic.mean()),
            "cfar_isotropic_min": float(self.isotropic.min()),
            "scf_star": self.views.scf_star,
            "scf": self.views.scf,
            "unsampled": self.views.empty,
            "scf_star_least": LEAST_SCF * self.uniform_scf,
            "scf_star_uniform": self.uniform_scf,
            "resolution_angst": {
                name: value if np.isfinite(value) else None
                for name, value in zip(("best", "median", "worst"), np.quantile(self.by_axis_angst, [0, 0.5, 1],
                                                                             method="nearest"), strict=True)
            },
            "worst_axis_deg": {"rot": rot, "tilt": tilt},
        }  # fmt: skip


def _angst(value: float) -> str:
    return f"{value:.1f} Å" if np.isfinite(value) else "no shell"


def orientation(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, pixel_size_angst: float, views: Tensor, symmetry: str, seed: int
) -> Orientation:
    """Measure directions by raw half-maps and views.

    Parameters
    ----------
    halves
        (N, N, N) unfiltered.
    mask
        (N, N, N) solvent mask, or None.
    views
        (n, 3) viewing directions of the particles, without symmetry mates.
    seed
        That of the draws which say what chance gives.
    """
    group = operators(symmetry)
    shape = torch.ones_like(halves[0]) if mask is None else mask
    cut = _cube(shape)
    shape, first, second = shape[cut], *((half * shape)[cut] for half in halves)
    cones = directional_fsc(first, second)
    shells, box_angst = crossings(cones).numpy(), len(shape) * pixel_size_angst
    return Orientation(
        cones=cones,
        cfar=float(area_ratio(cones.fsc, cones.count)),
        isotropic=isotropic_ratios(fsc(first, second), shape, cones.axes, group, seed),
        views=sampling(counted(views, group, seed)),
        uniform_scf=uniform_sampling(len(views), group, seed),
        by_axis_angst=np.divide(box_angst, shells, out=np.full(len(shells), np.inf), where=shells > 0),
        box_angst=box_angst,
    )


def _cube(mask: Tensor) -> tuple[slice, ...]:
    """The cube around a mask: beyond it are zeros, which only make neighbours in Fourier space alike."""
    box = mask.shape[0]
    places = [torch.nonzero((mask > 0).amax(tuple(a for a in range(3) if a != axis)))[:, 0] for axis in range(3)]
    spans = [(int(place[0]), int(place[-1]) + 1) for place in places]
    side = min(box, max(end - start for start, end in spans) + 2)
    side += side % 2 and side < box
    starts = [min(max(0, (start + end - side) // 2), box - side) for start, end in spans]
    return tuple(slice(start, start + side) for start in starts)
