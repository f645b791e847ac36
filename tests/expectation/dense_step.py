"""The expectation step written out: every fine pose of every image at once, as the formulas have it, in float64.

For searches so small and noise so strong that nothing is left out. Slices, insertion, grids and the CTF are those of
the package, which have tests of their own; what is put together here is docs/algorithm.md, section 3.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from blush.ctf.transfer import Optics, ctf_at
from blush.expectation.model import Model
from blush.expectation.sums import Sums
from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.mask import soft_circle
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.geometry.sampling import fine_offsets
from blush.io.particles import ParticleSet

Tensor = torch.Tensor


@dataclass
class Image:
    """One particle as it is compared: transforms on the half plane, and what multiplies reference and data."""

    masked: Tensor
    unmasked: Tensor
    transfer: Tensor
    factor: Tensor
    scale: float
    sigma2: Tensor
    whole_px: Tensor


def transform_of(image: np.ndarray, kx: Tensor, ky: Tensor) -> Tensor:
    """Sum of x exp(-2 pi i k r / N) / N^2, r counted from the centre pixel."""
    n = len(image)
    spectrum = np.fft.fft2(np.fft.ifftshift(image)) / n**2
    return torch.from_numpy(spectrum[ky.numpy() % n, kx.numpy() % n])


def moved(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Shifted by whole pixels, zeros from outside."""
    n, out = len(image), np.zeros_like(image)
    y, x = np.mgrid[max(0, dy) : min(n, n + dy), max(0, dx) : min(n, n + dx)]
    out[y, x] = image[y - dy, x - dx]
    return out


def image_of(given: Model, particles: ParticleSet, i: int) -> Image:
    """Norm, whole-pixel shift, mask, transforms, CTF."""
    n, pixel = given.box_px, given.pixel_size_angst
    pixels, group = packed(n), particles.optics[particles.optics_index[i]]
    offset_px = np.array([particles.offset_x_angst[i], particles.offset_y_angst[i]]) / pixel
    whole = (np.sign(offset_px) * np.floor(np.abs(offset_px) + 0.5)).astype(int)
    stored = particles.images()[i].astype(np.float64) * given.norm_average / particles.norm_correction[i]
    centred = moved(stored, *whole)
    mask = soft_circle(n, given.particle_diameter_angst / 2 / pixel, 5.0, dtype=torch.float64).numpy()
    background = (centred * (1 - mask)).sum() / (1 - mask).sum()
    names = ("defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale")
    columns = [torch.from_numpy(getattr(particles, name)[i : i + 1]) for name in names]
    lens = (group.voltage_kv, group.spherical_aberration_mm, group.amplitude_contrast)
    optics = Optics(*(torch.tensor([value], dtype=torch.float64) for value in lens))
    ctf = ctf_at(pixels.kx.double() / (n * pixel), pixels.ky.double() / (n * pixel), *columns, optics)[0]
    sigma2 = given.noise[particles.optics_index[i]][pixels.shell]
    scale = float(given.scale[particles.group_index[i]])
    return Image(
        masked=transform_of(centred * mask + background * (1 - mask), pixels.kx, pixels.ky),
        unmasked=transform_of(centred, pixels.kx, pixels.ky),
        transfer=ctf**2 if group.ctf_premultiplied else ctf,
        factor=(torch.ones_like(ctf) if group.ctf_premultiplied else scale * ctf) / sigma2,
        scale=scale,
        sigma2=sigma2,
        whole_px=torch.from_numpy(whole),
    )


def slices(given: Model, rotations: Tensor, radius: int) -> Tensor:
    """(r, p) complex slices of the half plane, 0 beyond |k| = radius."""
    pixels = packed(given.box_px)
    inside = pixels.inside(radius)
    planar = project(given.component.sphere, rotations, pixels, inside)
    out = torch.zeros(len(rotations), len(pixels.kx), dtype=torch.complex128)
    out[:, :inside] = torch.complex(planar[:, 0], planar[:, 1])
    return out


def ramps(given: Model, offsets_px: Tensor) -> Tensor:
    """(t, p) factors that move an image by each offset."""
    pixels = packed(given.box_px)
    k = torch.stack((pixels.kx, pixels.ky)).double()
    return torch.exp(-2j * math.pi / given.box_px * (offsets_px.double() @ k))


def offset_prior(given: Model, image: Image, per_child: bool = True) -> Tensor:
    """Log prior of each coarse offset, of mean 1 over them; of its four children the same."""
    whole = image.whole_px * given.pixel_size_angst + given.offsets_angst
    weight = torch.exp(-whole.square().sum(1) / (2 * given.sigma_offset_angst**2))
    prior = (weight / weight.mean()).log()
    return prior.repeat_interleave(4) if per_child else prior


def correlation(image: Image, shifted: Tensor, predicted: Tensor, compared: Tensor) -> Tensor:
    """(t, r) Re <X, P> / |P| over the pixels compared, without noise weights."""
    model = image.scale * image.transfer * predicted * compared
    return (shifted @ model.conj().T).real / model.abs().square().sum(1).sqrt()


def log_weights(given: Model, image: Image, shifted: Tensor, predicted: Tensor, prior: Tensor) -> Tensor:
    """(t, r) prior - sum |X - s CTF P|^2 / (2 sigma^2) over shells 1 to the radius."""
    shell = packed(given.box_px).shell
    compared = (shell >= 1) & (shell <= given.radius)
    model = image.scale * image.transfer * predicted
    residual = (shifted[:, None] - model[None]).abs().square() / (2 * image.sigma2)
    return prior - residual[..., compared].sum(-1)


def dense_step(given: Model, particles: ParticleSet) -> Sums:
    """Everything that a shard gives, for all its particles."""
    shells = given.box_px // 2 + 1
    zeros = torch.zeros(0, dtype=torch.float64)
    sums = Sums(
        (empty_accumulator(given.box_px, given.radius, dtype=torch.float64),),
        noise=zeros.new_zeros(len(particles.optics), shells),
        weight=zeros.new_zeros(len(particles.optics)),
        scale_cross=zeros.new_zeros(len(given.scale)),
        scale_power=zeros.new_zeros(len(given.scale)),
        directions=zeros.new_zeros(given.component.grid.n_directions),
        shares=zeros.new_zeros(1),
    )
    for i in range(len(particles)):
        image = image_of(given, particles, i)
        orientation, prior = searched(given, particles, i)
        add(sums, given, particles, i, image, orientation, prior)
    return sums


def searched(given: Model, particles: ParticleSet, i: int) -> tuple[Tensor, Tensor]:
    """Coarse orientations of an image and their log priors, of mean 1."""
    if given.local_sigma_deg is not None:
        angles = (torch.from_numpy(getattr(particles, f"{name}_deg")[i : i + 1]) for name in ("rot", "tilt", "psi"))
        near, prior = (rows[0] for rows in given.component.grid.local_neighbours(*angles, given.local_sigma_deg))
        kept = near >= 0
        return near[kept], prior[kept] + math.log(int(kept.sum()))
    orientation = torch.arange(given.component.grid.n_orientations)
    learned = given.component.references[0].log_prior_direction
    if learned is None:
        return orientation, torch.zeros(len(orientation), dtype=torch.float64)
    return orientation, learned[orientation // given.component.grid.n_psi]


def winner(given: Model, image: Image, orientation: Tensor) -> tuple[int, int]:
    """The coarse shift and orientation that correlate best at the coarse size."""
    shell = packed(given.box_px).shell
    predicted = slices(given, given.component.grid.matrices(orientation), given.coarse_radius)
    shifted = image.masked * ramps(given, given.offsets_angst / given.pixel_size_angst)
    score = correlation(image, shifted, predicted, (shell >= 1) & (shell <= given.coarse_radius))
    t, u = divmod(int(score.argmax()), len(orientation))
    return t, u


def add(
    sums: Sums, given: Model, particles: ParticleSet, i: int, image: Image, orientation: Tensor, prior: Tensor
) -> None:
    """Weigh every fine pose of one image and add what it contributes."""
    shell = packed(given.box_px).shell
    step_px = given.offset_step_angst / given.pixel_size_angst
    fine_px = fine_offsets(given.offsets_angst / given.pixel_size_angst, step_px).flatten(0, 1)
    rotations = given.component.grid.fine_matrices(orientation).flatten(0, 1)
    predicted, ramp = slices(given, rotations, given.radius), ramps(given, fine_px)
    shifted = image.masked * ramp
    if given.cross_correlation:
        t, u = winner(given, image, orientation)
        score = correlation(image, shifted, predicted, (shell >= 1) & (shell <= given.radius))
        allowed = torch.full_like(score, -torch.inf)
        allowed[4 * t : 4 * t + 4, 8 * u : 8 * u + 8] = score[4 * t : 4 * t + 4, 8 * u : 8 * u + 8]
        weight = torch.zeros_like(score)
        weight.view(-1)[int(allowed.argmax())] = 1.0
        log_sum = torch.zeros((), dtype=torch.float64)
    else:
        both = offset_prior(given, image)[:, None] + prior.repeat_interleave(8)
        log_weight = log_weights(given, image, shifted, predicted, both)
        log_sum = log_weight.flatten().logsumexp(0)
        weight = (log_weight - log_sum).exp()
    _add_statistics(sums, given, particles, i, image, shifted, predicted, weight)
    _add_poses(sums, given, image, fine_px, orientation, rotations, weight)
    data = (weight.T.to(ramp) @ ramp) * image.factor * image.unmasked
    inside = packed(given.box_px).inside(given.radius)
    total = weight.sum(0)[:, None] * (image.factor * image.scale * image.transfer)
    insert(sums.volumes[0], rotations, torch.stack((data.real, data.imag), 1)[..., :inside].contiguous(),
           total[:, :inside].contiguous(), packed(given.box_px))  # fmt: skip
    likelihood = torch.zeros((), dtype=torch.float64)
    if not given.cross_correlation:
        compared = (shell >= 1) & (shell <= given.radius)
        # Shells beyond the size in use count with a variance of 1, as in RELION.
        beyond = image.masked.abs().square()[shell > given.radius].sum() / 2
        likelihood = log_sum - (2 * math.pi * image.sigma2[compared]).log().sum() - beyond
    sums.append({"log_likelihood": likelihood[None], "pmax": weight.max()[None]})


def _add_statistics(
    sums: Sums, given: Model, particles: ParticleSet, i: int, image: Image, shifted: Tensor, predicted: Tensor,
    weight: Tensor,
) -> None:  # fmt: skip
    """Residual power per shell, slopes for the scale, norm."""
    shell, shells = packed(given.box_px).shell, given.box_px // 2 + 1
    model = image.transfer * predicted
    residual = (shifted[:, None] - image.scale * model[None]).abs().square()
    per_shell = torch.zeros(shells, dtype=torch.float64)
    per_shell.index_add_(0, shell, torch.einsum("tr,trp->p", weight, residual))
    sums.noise[particles.optics_index[i]] += per_shell
    sums.weight[particles.optics_index[i]] += weight.sum()
    used = given.scale_shells[shell].double()
    group = particles.group_index[i]
    sums.scale_cross[group] += (weight * ((shifted * used) @ model.conj().T).real).sum()
    sums.scale_power[group] += (weight * (model.abs().square() @ used)).sum()
    norm = particles.norm_correction[i] / given.norm_average * math.sqrt(2 * float(per_shell.sum()))
    sums.append({"norm_correction": torch.tensor([norm], dtype=torch.float64)})


def _add_poses(
    sums: Sums, given: Model, image: Image, fine_px: Tensor, orientation: Tensor, rotations: Tensor, weight: Tensor
) -> None:
    """Squares of whole offsets, directions, and the most probable pose."""
    offset = (image.whole_px + fine_px) * given.pixel_size_angst
    sums.offset_square += (weight.sum(1) * offset.square().sum(1)).sum()
    sums.shares += weight.sum()
    sums.directions.index_add_(0, orientation // given.component.grid.n_psi, weight.sum(0).view(-1, 8).sum(1))
    t, r = divmod(int(weight.argmax()), weight.shape[1])
    sums.append({"offset_x_angst": offset[t, :1], "offset_y_angst": offset[t, 1:], "matrix": rotations[r][None]})
