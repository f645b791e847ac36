"""Filaments laid out straight, held against drawings in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.io.mrc import write_stack
from blush.jobs.filament_strips import straight_filaments

PIXEL, STEP, BOX = 6.5, 6.5, 32
# Blobs on three filaments: distance along and across the track in Å, weight; the sum of each filament is zero
BLOBS = (
    ((10.0, 14.0, 1.0), (60.0, -20.0, -1.5), (125.0, 8.0, 0.5)),
    ((30.0, 0.0, 2.0), (90.0, 22.0, -2.0)),
    ((0.0, -15.0, 1.0), (50.0, 15.0, -1.0)),
)
WIDTH = 16.0
TRACKS = ((0.0, 26.0, 52.0, 79.3, 120.0), (100.0, 130.0, 161.5), (5.0, 30.0))
PSI = ((0.0, 30.0, -45.0, 120.0, 200.0), (90.0, 91.0, -170.0), (10.0, 20.0))


def drawn(filament: int, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    return sum(
        weight * np.exp(-((along - u) ** 2 + (across - v) ** 2) / (2 * WIDTH**2)) for u, v, weight in BLOBS[filament]
    )


@pytest.fixture
def segments(particles, tmp_path):
    """Ten segments of three filaments, in no order; directions are -psi from x towards y; their CTF is 1."""
    filament = np.repeat(np.arange(3), [len(each) for each in TRACKS])
    track, psi = np.concatenate(TRACKS), np.concatenate(PSI)
    order = np.random.default_rng(4).permutation(len(track))
    filament, track, psi = filament[order], track[order], psi[order]
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    images = []
    for one, where, angle in zip(filament, track, np.deg2rad(psi), strict=True):
        along = axis * np.cos(angle) - axis[:, None] * np.sin(angle)
        across = axis * np.sin(angle) + axis[:, None] * np.cos(angle)
        start = min(TRACKS[one])
        images.append(drawn(one, along + where - start, across) * (np.abs(along) < 80))
    write_stack(tmp_path / "segments.mrcs", np.stack(images).astype(np.float32), PIXEL)
    n = len(track)
    optics = replace(particles.optics[0], amplitude_contrast=0.0, spherical_aberration_mm=0.0)
    nothing = np.zeros(n)
    return replace(
        particles.take(np.arange(n)),
        stacks=(str(tmp_path / "segments.mrcs"),),
        stack_index=np.zeros(n, np.int32),
        image_index=np.arange(n),
        image_digest=None,
        optics=(optics,),
        defocus_u_angst=nothing,
        defocus_v_angst=nothing,
        phase_shift_deg=np.full(n, 90.0),
        filament=filament.astype(np.int32),
        track_angst=track,
        track_psi_deg=psi,
        track_tilt_deg=np.full(n, 90.0),
        psi_flip_ratio=np.full(n, 0.5),
    )


def test_boxes_lie_side_by_side_along_their_track(segments):
    """A CTF of 1 leaves 1 / 1.1 of the drawing; boxes show 0.5 of their 208 Å, which is 8 columns either way."""
    strips = straight_filaments(segments, 2, STEP, 16, 14.0, 0.5)
    half = int(0.5 * BOX / 2)
    across = (np.arange(16) - 8) * STEP
    assert strips.columns.shape[0] == 2  # the third is the shortest
    for filament in range(2):
        along = (np.arange(strips.columns.shape[1]) - half) * STEP
        expected = drawn(filament, along[:, None], across[None]) / 1.1
        seen = strips.seen[filament].numpy().astype(bool)
        length = max(TRACKS[filament]) - min(TRACKS[filament])
        assert np.array_equal(seen, along <= round(length / STEP) * STEP + half * STEP)
        found = strips.columns[filament].numpy()
        assert not found[~seen].any()
        error = np.abs(found - expected)[seen].max() / np.abs(expected).max()
        assert error < 0.06, filament  # where a box ends within a blob, its mean and ends show


def test_the_transfer_is_undone(segments):
    """Images of half the contrast, and half the CTF, come back by (1/2)^2 / (1/4 + 1/10) for 1 / 1.1."""
    whole = straight_filaments(segments, 3, STEP, 16, 14.0, 0.5).columns
    weak = replace(segments, phase_shift_deg=np.full(len(segments), 30.0))
    found = straight_filaments(weak, 3, STEP, 16, 14.0, 0.5).columns
    assert torch.allclose(found, whole * (0.5 / 0.35) * 1.1, atol=1e-5)
    upside = replace(segments, phase_shift_deg=np.full(len(segments), -90.0))
    assert torch.allclose(straight_filaments(upside, 3, STEP, 16, 14.0, 0.5).columns, -whole, atol=1e-5)


def test_particles_without_tracks_are_refused(particles):
    with pytest.raises(ValueError, match="no segments"):
        straight_filaments(particles, 3, STEP, 16, 14.0, 0.5)
