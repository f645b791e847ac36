"""Grids of orientations and offsets, coarse and fine (docs/algorithm.md, section 4)."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from blush.geometry.directions import DirectionTree
from blush.geometry.healpix import angular_step_deg, children, pixel_directions
from blush.geometry.neighbours import local_neighbours
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.symmetry import asymmetric_unit_directions, operators
from blush.io.upload import uploaded


@dataclass(frozen=True)
class OrientationGrid:
    """Directions of the asymmetric unit times in-plane angles; orientation = direction * n_psi + psi.

    Parameters
    ----------
    healpix_order
        Order of the direction grid.
    symmetry
        Point group.
    direction_index
        (n_directions,) nested pixel indices, those of the asymmetric unit.
    n_psi, psi_step_deg
        In-plane angles 0, step, ...; the step equals that of the directions.
    perturbation
        Fraction p of the step: every matrix is right-multiplied by A(p step, p step, p step).
    """

    healpix_order: int
    symmetry: str
    direction_index: Tensor
    n_psi: int
    psi_step_deg: float
    perturbation: float = 0.0

    @classmethod
    def build(cls, healpix_order: int, symmetry: str = "C1", perturbation: float = 0.0) -> "OrientationGrid":
        """Make the grid of an order and a point group."""
        kept = asymmetric_unit_directions(healpix_order, symmetry)
        return cls(healpix_order, symmetry, kept, 6 * 2**healpix_order, angular_step_deg(healpix_order), perturbation)

    @property
    def n_directions(self) -> int:
        """Number of viewing directions."""
        return len(self.direction_index)

    @property
    def n_orientations(self) -> int:
        """Number of coarse orientations."""
        return self.n_directions * self.n_psi

    def matrices(self, orientation: Tensor) -> Tensor:
        """(n, 3, 3) float64 rotations, perturbed, of (n,) coarse orientations."""
        return self.fine_matrices(orientation, 0)[:, 0]

    def fine_matrices(self, orientation: Tensor, oversampling: int = 1) -> Tensor:
        """Rotations of the children of coarse orientations.

        Parameters
        ----------
        orientation
            (n,) coarse orientations.
        oversampling
            Each step halves the angles: 4 pixels of the next order times 2 angles psi, at -step/4 and +step/4.

        Returns
        -------
        (n, 8**oversampling, 3, 3) float64, on the device of the input; psi runs fastest.
        """
        pixel = uploaded(self.direction_index, orientation.device)[orientation // self.n_psi]
        for _ in range(oversampling):
            pixel = children(pixel).flatten(1) if pixel.ndim > 1 else children(pixel)
        pixel = pixel.reshape(len(orientation), -1)
        rot, tilt = pixel_directions(self.healpix_order + oversampling, pixel.flatten())
        splits = 2**oversampling
        split = (torch.arange(splits, dtype=torch.float64, device=orientation.device) + 0.5) / splits - 0.5
        psi = (orientation % self.n_psi)[:, None] * self.psi_step_deg + split * self.psi_step_deg
        shape = (*pixel.shape, splits)
        euler = torch.stack(
            [
                rot.reshape(pixel.shape)[:, :, None].expand(shape),
                tilt.reshape(pixel.shape)[:, :, None].expand(shape),
                psi[:, None].expand(shape),
            ],
            -1,
        )
        return matrix_from_euler(euler.reshape(len(orientation), -1, 3)) @ uploaded(
            self.perturbation_matrix(), psi.device, psi.dtype
        )

    def perturbation_matrix(self) -> Tensor:
        """(3, 3) rotation A(p step, p step, p step) that right-multiplies every orientation."""
        angle = self.perturbation * self.psi_step_deg
        return matrix_from_euler(torch.full((3,), angle, dtype=torch.float64))

    def local_neighbours(
        self, prior_rot_deg: Tensor, prior_tilt_deg: Tensor, prior_psi_deg: Tensor, sigma_deg: float, cut: float = 3.0
    ) -> tuple[Tensor, Tensor]:
        """Orientations near each particle's previous one; see `blush.geometry.neighbours.local_neighbours`."""
        prior = matrix_from_euler(torch.stack([prior_rot_deg, prior_tilt_deg, prior_psi_deg], -1).double())
        # Grid P near prior S means grid near prior S P^T: distances to the perturbed grid, at no extra cost.
        mates = (operators(self.symmetry) @ self.perturbation_matrix().T).to(prior)
        return local_neighbours(prior, mates, self._tree.to(prior.device), sigma_deg, cut)

    @cached_property
    def _tree(self) -> DirectionTree:
        """Built at the first local search."""
        return DirectionTree.build(self.healpix_order, self.direction_index.cpu())


def offset_grid(range_angst: float, step_angst: float) -> Tensor:
    """Square grid of offsets inside a disc, |t|^2 < range^2 + 0.001.

    Parameters
    ----------
    range_angst, step_angst
        Radius of the disc and spacing, in any one unit; the unit of the result.

    Returns
    -------
    (t, 2) float64 x, y; zero is among them.
    """
    if step_angst <= 0 or range_angst < 0:
        raise ValueError(f"offset range {range_angst} must not be negative and step {step_angst} must be positive")
    reach = math.ceil(range_angst / step_angst)
    line = torch.arange(-reach, reach + 1, dtype=torch.float64) * step_angst
    grid = torch.cartesian_prod(line, line)
    return grid[(grid**2).sum(1) < range_angst**2 + 0.001]


def frame_offsets(along_angst: tuple[float, float], across_angst: tuple[float, float]) -> tuple[Tensor, float]:
    """Grid of offsets in the frame of a filament, along which they repeat after twice the range.

    Parameters
    ----------
    along_angst
        Range and largest step along the filament. The interval from -range to +range is cut into equal steps, so that
        the children of all of them lie evenly in it; half the rise covers a helix once.
    across_angst
        Range and step across it: multiples of the step within the range.

    Returns
    -------
    (t, 2) float64 along and across, the latter running fastest, and the step along, in the unit of the input.

    Raises
    ------
    ValueError
        If a range is negative or a step not above 0.
    """
    (along, along_step), (across, across_step) = along_angst, across_angst
    if min(along_step, across_step) <= 0 or min(along, across) < 0:
        raise ValueError(f"offset ranges {along}, {across} must not be negative, steps {along_step}, {across_step} > 0")
    count = max(1, math.ceil(2 * along / along_step - 1e-9))
    step = 2 * along / count if along else along_step
    line = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * step
    reach = math.floor(across / across_step + 1e-9)
    side = torch.arange(-reach, reach + 1, dtype=torch.float64) * across_step
    return torch.cartesian_prod(line, side), step


def fine_offsets(grid: Tensor, step_angst: float | tuple[float, float]) -> Tensor:
    """Four children of each offset, at -step/4 and +step/4 along x and y.

    Parameters
    ----------
    grid
        (t, 2) coarse offsets x, y.
    step_angst
        Spacing of the coarse grid, in the unit of `grid`; two where those along its components differ.

    Returns
    -------
    (t, 4, 2) fine offsets x, y.
    """
    steps = step_angst if isinstance(step_angst, tuple) else (step_angst, step_angst)
    first, second = (uploaded(torch.tensor([-0.25, 0.25], dtype=grid.dtype), grid.device) * step for step in steps)
    return grid[:, None] + torch.cartesian_prod(first, second)
