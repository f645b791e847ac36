"""Refined filaments against the truth of simulated ones, apart from what no refinement can know, and nothing more.

A helix may come out turned about its axis, moved along it, and upside down. Only these degrees are removed; a general
alignment would also hide a part of a wrong rise or twist. Rot and the offset along the filament belong together: a
segment is as well described by the next unit, so both are compared as rot of the segment moved along the screw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from blush.geometry.helix import Helix, in_frame, nearest_zero, polarity
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.io.particles import ParticleSet
from blush.validate.compare import into_true_frame, true_resolution
from blush.validate.poses import Drift

Floats = NDArray[np.float64]
_TURNS = 360
_CIRCULAR_STEPS = 5


@dataclass(frozen=True)
class SegmentErrors:
    """What is wrong with each segment, (n,) each.

    Attributes
    ----------
    reversed_map
        Whether the map is upside down, so that the polarity of every filament is the other one.
    is_wrong
        Whether the polarity is not that of the filament, bool.
    is_wrong_filament
        (f,) whether that holds for most segments of a filament, bool.
    rot_deg
        Rot of the segment moved along the screw to its true place; of wrong polarity too, where it says little.
    tilt_deg, psi_deg
        Errors; of a wrong polarity those of the pose turned over.
    across_angst
        Offset across the filament.
    angle_deg
        Angle between the views, of a wrong polarity about 180.
    """

    reversed_map: bool
    is_wrong: NDArray[np.bool_]
    is_wrong_filament: NDArray[np.bool_]
    rot_deg: Floats
    tilt_deg: Floats
    psi_deg: Floats
    across_angst: Floats
    angle_deg: Floats

    def summary(self) -> dict[str, float]:
        """Numbers for a record; spreads are of segments of the right polarity."""
        right = ~self.is_wrong
        spreads = {"rot_deg": self.rot_deg, "tilt_deg": self.tilt_deg, "psi_deg": self.psi_deg}
        found = {f"{name}_rms": _rms(values[right]) for name, values in spreads.items()}
        return found | {
            "segments": len(self.is_wrong),
            "segments_wrong": int(self.is_wrong.sum()),
            "filaments": len(self.is_wrong_filament),
            "filaments_wrong": int(self.is_wrong_filament.sum()),
            "across_angst_rms": _rms(self.across_angst),
            "angle_median_deg": float(np.median(self.angle_deg)),
            "angle_mean_deg": float(np.mean(self.angle_deg)),
            "within_5_deg": float((self.angle_deg < 5).mean()),
            "shift_median_angst": float(np.median(np.abs(self.across_angst))),
            "shift_mean_angst": float(np.mean(np.abs(self.across_angst))),
        }


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")


def segment_errors(estimated: ParticleSet, true: ParticleSet, helix: Helix) -> SegmentErrors:
    """Errors of segments, row by row, after taking away one turn about the axis, common to all, and one turning over.

    Parameters
    ----------
    estimated
        With the columns of filaments; their track says which direction is meant.
    helix
        The true one.

    Raises
    ------
    ValueError
        If the sets differ in length or are empty, or the segments have no tracks.
    """
    track, filament = estimated.track_psi_deg, estimated.filament
    if track is None or filament is None:
        raise ValueError("segments without tracks have no polarity")
    if len(estimated) != len(true) or not len(true):
        raise ValueError(f"{len(estimated)} segments cannot be compared with {len(true)} true ones")
    found, right = (_segments(particles, track, helix) for particles in (estimated, true))
    wrong = found.side != right.side
    over = bool(2 * wrong.sum() > len(wrong))
    wrong = wrong ^ over
    # turned over by 180 degrees about x, a view has the opposite rot, and all else as if it ran the other way
    expected = -right.rho_deg if over else right.rho_deg
    rho = nearest_zero(found.rho_deg - expected, helix.chain_period_deg)
    judges = rho if wrong.all() else rho[~wrong]
    rho = nearest_zero(rho - _circular_mean(judges, helix.chain_period_deg), helix.chain_period_deg)
    count = np.bincount(filament)
    share = np.bincount(filament, weights=wrong.astype(np.float64)) / np.maximum(count, 1)
    tilt, psi = found.tilt_deg - right.tilt_deg, nearest_zero(found.psi_deg - right.psi_deg, 360.0)
    return SegmentErrors(
        reversed_map=over,
        is_wrong=wrong,
        is_wrong_filament=(share > 0.5)[count > 0],
        rot_deg=rho,
        tilt_deg=tilt,
        psi_deg=psi,
        across_angst=found.across_angst - right.across_angst,
        angle_deg=_angle(right, np.stack([rho, tilt, psi], 1), wrong),
    )


@dataclass(frozen=True)
class _Segments:
    """Poses as if all ran along their tracks, and which do not."""

    side: NDArray[np.int64]
    rho_deg: Floats
    tilt_deg: Floats
    psi_deg: Floats
    across_angst: Floats


def _segments(particles: ParticleSet, track_psi_deg: Floats, helix: Helix) -> _Segments:
    side = polarity(particles.psi_deg, track_psi_deg)
    offset = in_frame(np.stack([particles.offset_x_angst, particles.offset_y_angst], 1), track_psi_deg)
    rho = helix.reduced_rot(particles.rot_deg, offset[:, 0], 1.0 - 2 * side)
    tilt = np.where(side == 1, 180 - particles.tilt_deg, particles.tilt_deg)
    return _Segments(np.asarray(side, dtype=np.int64), rho, tilt, particles.psi_deg - 180 * side, offset[:, 1])


def _circular_mean(angle_deg: Floats, period_deg: float) -> float:
    """The angle about which most of them lie: the mean direction, without outliers from then on."""
    phase = 2j * np.pi * angle_deg / period_deg
    mean = float(np.angle(np.exp(phase).mean())) / (2 * np.pi) * period_deg
    for _ in range(_CIRCULAR_STEPS):
        away = nearest_zero(angle_deg - mean, period_deg)
        kept = np.abs(away) <= 3 * np.median(np.abs(away))
        mean += float(away[kept].mean())
    return mean


def _angle(right: _Segments, error_deg: Floats, wrong: NDArray[np.bool_]) -> Floats:
    """Angle between views that differ by errors of rot, tilt and psi, and by a turning over where wrong."""
    true = torch.from_numpy(np.stack([np.zeros(len(wrong)), right.tilt_deg, right.psi_deg], 1))
    seen = true + torch.from_numpy(error_deg)
    turned = torch.stack([seen[:, 0], 180 - seen[:, 1], seen[:, 2] + 180], 1)
    seen = torch.where(torch.from_numpy(wrong)[:, None], turned, seen)
    return angular_distance_deg(matrix_from_euler(seen), matrix_from_euler(true)).numpy()


def helix_drift(volume: Tensor, truth: Tensor, mask: Tensor, pixel_size_angst: float, rise_angst: float) -> Drift:
    """How a map lies relative to the true one: turned about z, moved along it by up to half a rise, or upside down.

    The best of all of these by the correlation inside the mask, of grids of 1 degree and a voxel, and a parabola.

    Parameters
    ----------
    volume, truth, mask
        (N, N, N); the mask in the frame of the truth, and away from the ends of the box by half a rise.
    """
    expected = _polar(truth * mask)
    most = max(int(np.ceil(rise_angst / 2 / pixel_size_angst)), 1)
    found = []
    for over in (False, True):
        seen = _polar(_turned_over(volume) if over else volume)
        score = np.fft.irfft2((expected.conj() * seen).sum(0), s=(truth.shape[0], _TURNS))
        score = score[-np.arange(-most, most + 1)]  # rows: shifts from -most to most, columns: turns
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        found.append((float(score.max()), over, *_peak(score, int(row), int(column))))
    _, upside_down, shift, turn = max(found)
    angle = torch.tensor(np.radians(turn * 360 / _TURNS), dtype=torch.float64)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros(()), torch.ones(())
    about_z = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one]).double().view(3, 3)
    about_x = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    backward = about_x @ about_z if upside_down else about_z
    return Drift(backward.T, torch.tensor([0.0, 0.0, (shift - most) * pixel_size_angst], dtype=torch.float64))


def _turned_over(volume: Tensor) -> Tensor:
    """The map turned by 180 degrees about x, through the centre voxel."""
    odd = volume.shape[0] % 2
    return torch.roll(volume.flip((0, 1)), (1 - odd, 1 - odd), (0, 1))


def _polar(volume: Tensor) -> NDArray[np.complex128]:
    """Transforms over z and angle of a map on circles about z, each weighted by its length: (radii, N, turns/2 + 1)."""
    n = volume.shape[0]
    angle = 2 * np.pi * np.arange(_TURNS) / _TURNS
    radius = np.arange(1, n // 2)
    x, y = (radius[:, None] * f(angle) + n // 2 for f in (np.cos, np.sin))
    place = np.stack(np.broadcast_arrays(np.arange(n)[None, :, None], y[:, None], x[:, None]))
    values = ndimage.map_coordinates(volume.double().cpu().numpy(), place, order=3, mode="nearest")
    return np.fft.rfft2(values * np.sqrt(radius)[:, None, None])


def _peak(score: Floats, row: int, column: int) -> tuple[float, float]:
    """Place of a maximum between grid points, by a parabola along each axis; columns are periodic."""
    down = score[max(row - 1, 0) : row + 2, column]
    across = score[row, np.arange(column - 1, column + 2) % score.shape[1]]
    return row + (_vertex(down) if len(down) == 3 else 0.0), column + _vertex(across)


def _vertex(values: Floats) -> float:
    left, middle, right = values
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend < 0 else 0.0


@dataclass(frozen=True)
class TrueHelix:
    """Truth of simulated filaments.

    Attributes
    ----------
    volume, mask
        (N, N, N) true map, and the part of the tube in which maps are compared.
    particles
        True poses.
    """

    volume: Tensor
    mask: Tensor
    particles: ParticleSet
    helix: Helix


def compare_helix_with_truth(
    volume: Tensor, estimated: ParticleSet, truth: TrueHelix, pixel_size_angst: float
) -> dict[str, Any]:
    """Everything that simulated filaments tell about a refined map and its poses, as plain numbers for JSON.

    Returns
    -------
    The keys of `blush.validate.compare.true_resolution`, and `poses`, the summary of `segment_errors`.
    """
    errors = segment_errors(estimated, truth.particles, truth.helix)
    drift = helix_drift(volume, truth.volume, truth.mask, pixel_size_angst, truth.helix.rise_angst)
    aligned = into_true_frame(volume, drift, pixel_size_angst)
    placed = {"drift_deg": drift.angle_deg, "drift_angst": float(drift.shift_angst.norm())}
    poses = errors.summary() | placed | {"reversed_map": errors.reversed_map}
    return true_resolution(aligned, truth.volume, truth.mask, pixel_size_angst) | {"poses": poses}
