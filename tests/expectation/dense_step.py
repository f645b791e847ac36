"""The expectation step written out: every fine pose of every image and reference, as the formulas have it, in float64.

For searches so small and noise so strong that nothing is left out, or poses that are given. Slices, insertion, grids,
the CTF and aberrations are those of the package, which have tests of their own; what is put together here is
docs/algorithm.md, section 3.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
import torch

from blush.ctf.aberration import demodulation_phase
from blush.ctf.transfer import Optics, ctf_at
from blush.expectation.model import Model
from blush.expectation.sums import Sums
from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.mask import soft_circle
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
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
    rest_px: Tensor


@dataclass
class Candidates:
    """What an image is compared with: every rotation of every reference, at every offset beside the whole pixels.

    Rotations (r, 3, 3) and their viewing directions (r,), offsets (t, 2), log prior of each sample (K, t, r); of
    segments the polarity of each rotation (r,).
    """

    rotations: Tensor
    direction: Tensor
    offsets_px: Tensor
    prior: Tensor
    polarity: np.ndarray | None = None


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


def mask_of(given: Model, particles: ParticleSet, i: int) -> tuple[np.ndarray, np.ndarray]:
    """What is compared, and where its surroundings are measured; of segments a tube along (cos psi, -sin psi)."""
    n, radius_px = given.box_px, given.particle_diameter_angst / 2 / given.pixel_size_angst
    if given.filament is None:
        circle = soft_circle(n, radius_px, 5.0, dtype=torch.float64).numpy()
        return circle, 1 - circle
    y, x = np.mgrid[:n, :n] - n // 2
    psi = np.deg2rad(particles.filament_prior[i, 0])
    across = abs(x * np.sin(psi) + y * np.cos(psi))
    edges = [(np.hypot(x, y), radius_px), (across, given.filament.tube_diameter_angst / 2 / given.pixel_size_angst)]
    circle, tube = ((1 + np.cos(np.pi * np.clip((r - end) / 10, 0, 1))) / 2 for r, end in edges)
    return np.minimum(circle, tube), 1 - tube


def image_of(given: Model, particles: ParticleSet, i: int) -> Image:
    """Norm, whole-pixel shift, mask, transforms, CTF."""
    n, pixel = given.box_px, given.pixel_size_angst
    pixels, group = packed(n), particles.optics[particles.optics_index[i]]
    offset_px = np.array([particles.offset_x_angst[i], particles.offset_y_angst[i]]) / pixel
    whole = (np.sign(offset_px) * np.floor(np.abs(offset_px) + 0.5)).astype(int)
    stored = particles.images()[i].astype(np.float64) * given.norm_average / particles.norm_correction[i]
    centred = moved(stored, *whole)
    mask, beside = mask_of(given, particles, i)
    background = (centred * beside).sum() / beside.sum()
    names = ("defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale")
    columns = [torch.from_numpy(getattr(particles, name)[i : i + 1]) for name in names]
    lens = (group.voltage_kv, group.spherical_aberration_mm, group.amplitude_contrast)
    optics = Optics(*(torch.tensor([value], dtype=torch.float64) for value in lens))
    ctf = ctf_at(pixels.kx.double() / (n * pixel), pixels.ky.double() / (n * pixel), *columns, optics)[0]
    lens = (group.beam_tilt_x_mrad, group.beam_tilt_y_mrad, group.voltage_kv, group.spherical_aberration_mm)
    frequency = (k.double() / (n * pixel) for k in (pixels.kx, pixels.ky))
    odd = demodulation_phase(*frequency, group.odd_zernike, *lens)
    sigma2 = given.noise[particles.optics_index[i]][pixels.shell]
    scale = float(given.scale[particles.group_index[i]])
    return Image(
        masked=odd * transform_of(centred * mask + background * (1 - mask), pixels.kx, pixels.ky),
        unmasked=odd * transform_of(centred, pixels.kx, pixels.ky),
        transfer=ctf**2 if group.ctf_premultiplied else ctf,
        factor=(torch.ones_like(ctf) if group.ctf_premultiplied else scale * ctf) / sigma2,
        scale=scale,
        sigma2=sigma2,
        whole_px=torch.from_numpy(whole),
        rest_px=torch.from_numpy(offset_px - whole),
    )


def slices(given: Model, k: int, rotations: Tensor, radius: int) -> Tensor:
    """(r, p) complex slices of reference k on the half plane, 0 beyond |k| = radius."""
    pixels = packed(given.box_px)
    inside = pixels.inside(radius)
    planar = project(given.component.references[k].sphere, rotations, pixels, inside)
    out = torch.zeros(len(rotations), len(pixels.kx), dtype=torch.complex128)
    out[:, :inside] = torch.complex(planar[:, 0], planar[:, 1])
    return out


def ramps(given: Model, offsets_px: Tensor) -> Tensor:
    """(t, p) factors that move an image by each offset."""
    pixels = packed(given.box_px)
    k = torch.stack((pixels.kx, pixels.ky)).double()
    return torch.exp(-2j * math.pi / given.box_px * (offsets_px.double() @ k))


def offset_prior(given: Model, image: Image) -> Tensor:
    """Log prior of each coarse offset, of mean 1 over them."""
    whole = image.whole_px * given.pixel_size_angst + given.offsets_angst
    weight = torch.exp(-whole.square().sum(1) / (2 * given.sigma_offset_angst**2))
    return (weight / weight.mean()).log()


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
    """Everything that a shard gives, for all its particles; matrices in place of angles."""
    shells, n = given.box_px // 2 + 1, len(given.component.references)
    zeros = torch.zeros(0, dtype=torch.float64)
    sums = Sums(
        tuple(empty_accumulator(given.box_px, given.radius, dtype=torch.float64) for _ in range(n)),
        noise=zeros.new_zeros(len(particles.optics), shells),
        weight=zeros.new_zeros(len(particles.optics)),
        scale_cross=zeros.new_zeros(len(given.scale)),
        scale_power=zeros.new_zeros(len(given.scale)),
        directions=zeros.new_zeros(n * given.component.grid.n_directions),
        shares=zeros.new_zeros(n),
    )
    for i in range(len(particles)):
        image = image_of(given, particles, i)
        if given.fixed_poses:
            poses = own_pose(given, particles, i, image)
        elif given.filament is not None:
            poses = segment(given, particles, i, image)
        else:
            poses = searched(given, particles, i, image)
        add(sums, given, particles, i, image, poses)
    return sums.gather()


def wrapped(angle: np.ndarray) -> np.ndarray:
    """In [-180, 180)."""
    return (angle + 180) % 360 - 180


def segment(given: Model, particles: ParticleSet, i: int, image: Image) -> Candidates:
    """Both polarities of a segment: offsets of both, rotations of both, -inf where they do not belong together."""
    grid, filament, pixel = given.component.grid, given.filament, given.pixel_size_angst
    psi, tilt, across = particles.filament_prior[i]
    axes = np.array([[np.cos(np.deg2rad(psi)), -np.sin(np.deg2rad(psi))],
                     [np.sin(np.deg2rad(psi)), np.cos(np.deg2rad(psi))]])  # fmt: skip
    steps = np.array([filament.along_step_angst, given.offset_step_angst]) / 4
    corner = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * steps
    rotations, directions, offsets, owners, priors = [], [], [], [], []
    for p, sign in enumerate((1, -1)):
        own_psi, own_tilt = psi + 180 * p, tilt if p == 0 else 180 - tilt
        if given.local_sigma_deg is None:
            chosen = _within(given, own_psi, own_tilt)
            centre = np.array([0.0, axes[1] @ [particles.offset_x_angst[i], particles.offset_y_angst[i]]])
        else:
            pose = particles.polarity_pose[i, p]
            if np.isnan(pose).any() or not _is_searched(particles.rot_log_prior[i], p, filament.undecided_log_odds):
                continue
            near, _ = grid.local_neighbours(*(torch.tensor([angle]) for angle in pose[:3]), given.local_sigma_deg)
            chosen, centre = near[0][near[0] >= 0], axes @ pose[3:]
        turned = grid.fine_matrices(chosen).flatten(0, 1)
        moved = (centre + given.offsets_angst.numpy()[:, None] + corner).reshape(-1, 2)
        euler = euler_from_matrix(turned).numpy()
        gauss = -((wrapped(euler[:, 2] - own_psi) / filament.sigma_psi_deg) ** 2) / 2
        gauss = gauss - ((euler[:, 1] - own_tilt) / filament.sigma_tilt_deg) ** 2 / 2
        helix = filament.helix
        rho = euler[None, :, 0] + sign * helix.slope_deg_per_angst * moved[:, :1]
        table = particles.rot_log_prior[i, p]
        place = np.arange(len(table) + 1) * helix.chain_period_deg / len(table)
        of_rot = np.interp(rho % helix.chain_period_deg, place, np.append(table, table[0]))
        priors.append(gauss + of_rot - ((moved[:, 1:] - across) / filament.sigma_across_angst) ** 2 / 2)
        rotations.append(turned)
        directions.append((chosen // grid.n_psi).repeat_interleave(8))
        offsets.append(moved @ axes / pixel - image.whole_px.numpy())
        owners.append(p)
    joint = scipy.linalg.block_diag(*(np.exp(one - max(map(np.max, priors))) for one in priors))
    with np.errstate(divide="ignore"):
        prior = torch.from_numpy(np.log(joint / joint.sum()))
    moves, polarity = torch.from_numpy(np.concatenate(offsets)), np.repeat(owners, [len(one) for one in rotations])
    return Candidates(torch.cat(rotations), torch.cat(directions), moves, prior[None], polarity)


def _within(given: Model, psi: float, tilt: float) -> Tensor:
    """All coarse orientations within three widths of the prior, or half a step."""
    grid, filament = given.component.grid, given.filament
    every = torch.arange(grid.n_orientations)
    euler = euler_from_matrix(grid.matrices(every)).numpy()
    near = abs(euler[:, 1] - tilt) <= max(3 * filament.sigma_tilt_deg, grid.psi_step_deg / 2)
    near &= abs(wrapped(euler[:, 2] - psi)) <= max(3 * filament.sigma_psi_deg, grid.psi_step_deg / 2)
    return every[torch.from_numpy(near)]


def _is_searched(table: np.ndarray, p: int, limit: float) -> bool:
    odds = np.log(np.exp(table[p]).sum() / np.exp(table[1 - p]).sum())
    return odds > -limit


def own_pose(given: Model, particles: ParticleSet, i: int, image: Image) -> Candidates:
    """The pose of the table, with the fraction of a pixel that the image was not moved by."""
    angles = torch.tensor([[getattr(particles, f"{name}_deg")[i] for name in ("rot", "tilt", "psi")]]).double()
    prior = torch.tensor([one.log_prior for one in given.component.references], dtype=torch.float64)
    return Candidates(matrix_from_euler(angles), torch.zeros(0).long(), image.rest_px[None], prior[:, None, None])


def searched(given: Model, particles: ParticleSet, i: int, image: Image) -> Candidates:
    """All children of all coarse poses that an image is searched over; priors are of mean 1."""
    grid, references = given.component.grid, given.component.references
    if given.local_sigma_deg is not None:
        angles = (torch.from_numpy(getattr(particles, f"{name}_deg")[i : i + 1]) for name in ("rot", "tilt", "psi"))
        near, prior = (rows[0] for rows in grid.local_neighbours(*angles, given.local_sigma_deg))
        kept = near >= 0
        orientation = near[kept]
        priors = [prior[kept] + math.log(int(kept.sum())) + one.log_prior for one in references]
    else:
        orientation = torch.arange(grid.n_orientations)
        learned = [one.log_prior_direction for one in references]
        flat = [torch.full((grid.n_directions,), one.log_prior, dtype=torch.float64) for one in references]
        both = zip(learned, flat, strict=True)
        priors = [(one if one is not None else other)[orientation // grid.n_psi] for one, other in both]
    coarse_px = given.offsets_angst / given.pixel_size_angst
    fine_px = fine_offsets(coarse_px, given.offset_step_angst / given.pixel_size_angst).flatten(0, 1)
    of_offset = offset_prior(given, image).repeat_interleave(4)
    rotations = grid.fine_matrices(orientation).flatten(0, 1)
    direction = (orientation // grid.n_psi).repeat_interleave(8)
    both = torch.stack(priors)[:, None, :].repeat_interleave(8, 2) + of_offset[:, None]
    return Candidates(rotations, direction, fine_px, both)


def winner(given: Model, image: Image, poses: Candidates, predicted: list[Tensor]) -> Tensor:
    """(K, t, r) 1 for the best correlated child of the coarse sample that correlates best at the coarse size."""
    shell = packed(given.box_px).shell
    coarse = image.masked * ramps(given, given.offsets_angst / given.pixel_size_angst)
    rotations = given.component.grid.matrices(torch.arange(given.component.grid.n_orientations))
    compared = [(shell >= 1) & (shell <= radius) for radius in (given.coarse_radius, given.radius)]
    seen = [slices(given, k, rotations, given.coarse_radius) for k in range(len(predicted))]
    score = torch.stack([correlation(image, coarse, one, compared[0]) for one in seen])
    k, t, u = (int(x) for x in np.unravel_index(int(score.argmax()), score.shape))
    fine = correlation(image, image.masked * ramps(given, poses.offsets_px), predicted[k], compared[1])
    weight = torch.zeros(len(predicted), *fine.shape, dtype=torch.float64)
    children = fine[4 * t : 4 * t + 4, 8 * u : 8 * u + 8]
    a, b = divmod(int(children.argmax()), 8)
    weight[k, 4 * t + a, 8 * u + b] = 1
    return weight


def closest(
    given: Model, particles: ParticleSet, i: int, image: Image, poses: Candidates, predicted: list[Tensor]
) -> Tensor:
    """(K, 1, 1) 1 for the reference that correlates best at the pose given, of those compared."""
    shell = packed(given.box_px).shell
    shifted = image.masked * ramps(given, poses.offsets_px)
    score = [correlation(image, shifted, one, (shell >= 1) & (shell <= given.radius)) for one in predicted]
    best = int(torch.cat(score).argmax()) if particles.confined_to is None else int(particles.confined_to[i])
    return torch.eye(len(predicted), dtype=torch.float64)[best].view(-1, 1, 1)


def posterior(given: Model, particles: ParticleSet, i: int, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """(K, t, r) weights, and ln of the sum of the unnormalised ones, from prior times likelihood.

    Within a reference as Bayes has it; among references the mean likelihood over poses counts as its root of the
    temperature, the prior in full. References that an image is not compared with have no share.
    """
    evidence = log_weight.flatten(1).logsumexp(1)
    log_prior = torch.tensor([one.log_prior for one in given.component.references], dtype=torch.float64)
    odds = (evidence - log_prior - evidence.max()).div(given.temperature).exp() * log_prior.exp()
    compared = torch.ones_like(odds)
    if particles.confined_to is not None:
        compared = torch.eye(len(odds), dtype=torch.float64)[particles.confined_to[i]]
    share = odds * compared / (odds * compared).sum()
    total = ((evidence - evidence.max()).exp() * compared).sum().log() + evidence.max()
    return share[:, None, None] * (log_weight - evidence[:, None, None]).exp(), total


def add(sums: Sums, given: Model, particles: ParticleSet, i: int, image: Image, poses: Candidates) -> None:
    """Weigh every sample of one image and add what it contributes."""
    pixels = packed(given.box_px)
    shell, inside = pixels.shell, pixels.inside(given.radius)
    n, ramp = len(given.component.references), ramps(given, poses.offsets_px)
    predicted = [slices(given, k, poses.rotations, given.radius) for k in range(n)]
    shifted = image.masked * ramp
    likelihood = gain = torch.zeros((), dtype=torch.float64)
    if given.cross_correlation:
        if given.fixed_poses:
            weight = closest(given, particles, i, image, poses, predicted)
        else:
            weight = winner(given, image, poses, predicted)
    else:
        pairs = zip(predicted, poses.prior, strict=True)
        log_weight = torch.stack([log_weights(given, image, shifted, one, prior) for one, prior in pairs])
        weight, log_sum = posterior(given, particles, i, log_weight)
        compared = (shell >= 1) & (shell <= given.radius)
        # Shells beyond the size in use count with a variance of 1, as in RELION.
        beyond = image.masked.abs().square()[shell > given.radius].sum() / 2
        likelihood = log_sum - (2 * math.pi * image.sigma2[compared]).log().sum() - beyond
        # Over what an empty map would give: every sample's residual is then the image itself.
        gain = log_sum + (image.masked.abs().square() / (2 * image.sigma2))[compared].sum()
    _add_statistics(sums, given, particles, i, image, shifted, predicted, weight)
    _add_poses(sums, given, image, poses, weight)
    if given.filament is not None:
        _add_filament(sums, given, particles, i, image, poses, weight[0])
    for volume, own in zip(sums.volumes, weight, strict=True):
        data = (own.T.to(ramp) @ ramp) * image.factor * image.unmasked
        total = own.sum(0)[:, None] * (image.factor * image.scale * image.transfer)
        insert(volume, poses.rotations, torch.stack((data.real, data.imag), 1)[..., :inside].contiguous(),
               total[:, :inside].contiguous(), pixels)  # fmt: skip
    sums.append({"log_likelihood": likelihood[None], "log_gain": gain[None]})


def _add_statistics(
    sums: Sums, given: Model, particles: ParticleSet, i: int, image: Image, shifted: Tensor, predicted: list[Tensor],
    weight: Tensor,
) -> None:  # fmt: skip
    """Residual power per shell, slopes for the scale, norm."""
    shell, shells = packed(given.box_px).shell, given.box_px // 2 + 1
    used, group = given.scale_shells[shell].double(), particles.group_index[i]
    per_shell = torch.zeros(shells, dtype=torch.float64)
    for own, slice_of in zip(weight, predicted, strict=True):
        model = image.transfer * slice_of
        residual = (shifted[:, None] - image.scale * model[None]).abs().square()
        per_shell.index_add_(0, shell, torch.einsum("tr,trp->p", own, residual))
        sums.scale_cross[group] += (own * ((shifted * used) @ model.conj().T).real).sum()
        sums.scale_power[group] += (own * (model.abs().square() @ used)).sum()
    sums.noise[particles.optics_index[i]] += per_shell
    sums.weight[particles.optics_index[i]] += weight.sum()
    norm = particles.norm_correction[i] / given.norm_average * math.sqrt(2 * float(per_shell.sum()))
    sums.append({"norm_correction": torch.tensor([norm], dtype=torch.float64)})


def _add_poses(sums: Sums, given: Model, image: Image, poses: Candidates, weight: Tensor) -> None:
    """Squares of whole offsets, directions, shares, and the most probable pose of each reference."""
    offset = (image.whole_px + poses.offsets_px) * given.pixel_size_angst
    sums.offset_square += (weight.sum((0, 2)) * offset.square().sum(1)).sum()
    share = weight.sum((1, 2))
    sums.shares += share
    directions = sums.directions.view(len(weight), -1)
    if len(poses.direction):
        directions.index_add_(1, poses.direction, weight.sum(1))
    best = weight.flatten(1).argmax(1)
    t, r = torch.div(best, weight.shape[2], rounding_mode="floor"), best % weight.shape[2]
    label = int(share.argmax())
    columns = {"pmax": share.max() if given.fixed_poses else weight.max(), "matrix": poses.rotations[r[label]],
               "offset_x_angst": offset[t[label], 0], "offset_y_angst": offset[t[label], 1]}  # fmt: skip
    if len(weight) > 1:
        columns |= {
            "shares": share,
            "matrices": poses.rotations[r],
            "offsets": offset[t],
            "tops": weight.flatten(1).amax(1),
        }
    sums.append({name: column[None] for name, column in columns.items()})


def _add_filament(
    sums: Sums, given: Model, particles: ParticleSet, i: int, image: Image, poses: Candidates, weight: Tensor
) -> None:  # fmt: skip
    """Likelihood by polarity and reduced rot over its mean, best pose of each polarity, moments across."""
    filament, bins = given.filament, particles.rot_log_prior.shape[2]
    psi = np.deg2rad(particles.filament_prior[i, 0])
    total = (image.whole_px.numpy() + poses.offsets_px.numpy()) * given.pixel_size_angst
    along, across = total @ [np.cos(psi), -np.sin(psi)], total @ [np.sin(psi), np.cos(psi)]
    euler = euler_from_matrix(poses.rotations).numpy()
    sign = np.where(poses.polarity == 0, 1, -1)
    period = filament.helix.chain_period_deg
    rho = (euler[:, 0] + sign * filament.helix.slope_deg_per_angst * along[:, None]) % period
    width = max(period / bins, given.component.grid.psi_step_deg / 2)
    seen, known = np.zeros((2, bins)), np.zeros((2, bins))
    prior = poses.prior[0].exp().numpy()
    table = np.append(particles.rot_log_prior[i], particles.rot_log_prior[i][:, :1], 1)
    for p in (0, 1):
        mine = poses.polarity == p
        of_rot = np.exp(np.interp(rho[:, mine], np.arange(bins + 1) * period / bins, table[p]))
        for masses, out in ((weight.numpy(), seen), (prior, known)):
            out[p] = spread(rho[:, mine] * bins / period, masses[:, mine] / of_rot, bins, width * bins / period)
    is_known = known > 1e-12 * known.max()
    ratio = np.log(np.maximum(seen[is_known] / known[is_known], 1e-4))
    evidence = np.full((2, bins), ratio.min())
    evidence[is_known] = ratio
    evidence[~is_known.any(1)] = np.nan  # it was not looked at
    best = np.full((2, 5), np.nan)
    for p in sorted(set(poses.polarity)):
        own = np.where(poses.polarity == p, weight.numpy(), -1.0)
        t, r = np.unravel_index(own.argmax(), own.shape)
        best[p] = [*euler[r], *total[t]]
    mass = weight.numpy().sum(1)
    moments = {"across_mean": mass @ across, "across_square": mass @ across**2}
    columns = {"rot_evidence": evidence, "polarity_pose": best, **moments}
    sums.append({name: torch.from_numpy(np.array(value))[None] for name, value in columns.items()})


def spread(position: np.ndarray, mass: np.ndarray, bins: int, width: float) -> np.ndarray:
    """Masses at places between bins: divided among the two next to each, then over a triangle."""
    out = np.zeros(bins)
    lower = np.floor(position).astype(int)
    for at, share in ((lower, 1 - (position - lower)), (lower + 1, position - lower)):
        np.add.at(out, at % bins, mass * share)
    reach = np.arange(-int(np.ceil(width)), int(np.ceil(width)) + 1)
    kernel = np.maximum(0, 1 - abs(reach) / max(width, 1))
    return sum(k * np.roll(out, r) for k, r in zip(kernel / kernel.sum(), reach, strict=True))
