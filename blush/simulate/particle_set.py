"""A simulated particle set on disk: stacks and STAR files as RELION writes them, with the truth beside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from blush.io.files import write_json
from blush.io.mrc import write_stack, write_volume
from blush.io.star import Table, write_star
from blush.simulate.acquisition import Acquisition, draw_acquisition, noise_generator, texture_generator
from blush.simulate.images import clean_images, noise_images, normalise, signal_variance
from blush.simulate.particle import Particle, build_particle
from blush.simulate.settings import SimulateConfig
from blush.simulate.slices import Slicer

Progress = Callable[[str, int, int], None]


def simulate(
    settings: SimulateConfig,
    progress: Progress = lambda stage, done, total: None,
    particle: Particle | None = None,
) -> Path:
    """Make a particle set; the same settings give the same bytes, and memory is that of one micrograph.

    Writes into `settings.output`: particles.star (no poses), stacks/, truth.star (poses and half sets), true_map.mrc
    (on the images' grey scale, their envelope included), mask.mrc, reference.mrc and simulation.json.

    Parameters
    ----------
    particle
        What the images show; None: what the settings describe.

    Returns
    -------
    Path of particles.star.

    Raises
    ------
    BlushError
        Where the atomic model cannot be used.
    """
    out = settings.output
    progress("density", 0, 1)
    particle, seen = particle or build_particle(settings), draw_acquisition(settings)
    radius_px = min(particle.diameter_angst / 2 / particle.pixel_size_angst, 0.49 * particle.box_px)
    variance = _pilot_variance(particle, seen, settings, radius_px)
    # In units of the noise, which normalisation then leaves near 1.
    grey_scale = (settings.noise.snr / variance) ** 0.5
    _write_maps(out, particle, grey_scale, settings.initial_lowpass_angst)
    total = int(seen.micrograph[-1]) + 1
    for number in range(total):
        images = _micrograph_images(particle, seen, settings, number)
        noise = noise_images(settings.noise, len(images), settings.imaging, noise_generator(settings.seed, number))
        images = normalise(grey_scale * images + noise, radius_px)
        dtype = np.float16 if settings.imaging.float16 else np.float32
        write_stack(out / stack_name(number), images.numpy().astype(dtype), settings.imaging.pixel_size_angst)
        progress("images", number + 1, total)
    _write_tables(out, seen, settings)
    _write_summary(out, particle, settings, variance, grey_scale)
    return out / "particles.star"


def stack_name(micrograph: int) -> str:
    """Stack of a micrograph, relative to the set's folder."""
    return f"stacks/micrograph{micrograph + 1:04d}.mrcs"


def _micrograph_images(particle: Particle, seen: Acquisition, settings: SimulateConfig, number: int) -> Tensor:
    """Noise-free images of one micrograph."""
    first = number * settings.imaging.particles_per_micrograph
    rows = seen.take(slice(first, first + settings.imaging.particles_per_micrograph))
    spectrum = particle.disordered_spectrum(texture_generator(settings.seed, number))
    return clean_images(Slicer(spectrum), rows, settings.imaging)


def _pilot_variance(particle: Particle, seen: Acquisition, settings: SimulateConfig, radius_px: float) -> float:
    """Variance of the signal in the first micrograph, which fixes the grey scale of all."""
    return signal_variance(_micrograph_images(particle, seen, settings, 0), radius_px)


def _write_maps(out: Path, particle: Particle, grey_scale: float, lowpass_angst: float) -> None:
    """True map, starting reference and mask."""
    pixel = particle.pixel_size_angst
    write_volume(out / "true_map.mrc", (grey_scale * particle.volume()).numpy(), pixel)
    write_volume(out / "reference.mrc", (grey_scale * particle.volume(lowpass_angst)).numpy(), pixel)
    write_volume(out / "mask.mrc", particle.mask.numpy(), pixel)


def _write_tables(out: Path, seen: Acquisition, settings: SimulateConfig) -> None:
    """particles.star, and truth.star with poses and half sets."""
    optics, particles = _optics_table(settings), _particle_table(seen, settings)
    write_star(out / "particles.star", {"optics": optics, "particles": particles})
    poses = {
        "rlnAngleRot": seen.euler_deg[:, 0].numpy(),
        "rlnAngleTilt": seen.euler_deg[:, 1].numpy(),
        "rlnAnglePsi": seen.euler_deg[:, 2].numpy(),
        "rlnOriginXAngst": seen.origin_angst[:, 0].numpy(),
        "rlnOriginYAngst": seen.origin_angst[:, 1].numpy(),
        "rlnRandomSubset": np.arange(len(seen)) % 2 + 1,
    }
    write_star(out / "truth.star", {"optics": optics, "particles": particles | poses})


def _optics_table(settings: SimulateConfig) -> Table:
    """Block `data_optics`."""
    imaging, count = settings.imaging, len(settings.imaging.optics)
    return {
        "rlnOpticsGroup": np.arange(1, count + 1),
        "rlnOpticsGroupName": np.array([f"opticsGroup{number + 1}" for number in range(count)], dtype=object),
        "rlnVoltage": np.array([o.voltage_kv for o in imaging.optics]),
        "rlnSphericalAberration": np.array([o.spherical_aberration_mm for o in imaging.optics]),
        "rlnAmplitudeContrast": np.array([o.amplitude_contrast for o in imaging.optics]),
        "rlnImagePixelSize": np.full(count, imaging.pixel_size_angst),
        "rlnImageSize": np.full(count, imaging.box_px),
        "rlnImageDimensionality": np.full(count, 2),
    }


def _particle_table(seen: Acquisition, settings: SimulateConfig) -> Table:
    """Block `data_particles` without poses."""
    micrograph = seen.micrograph.numpy()
    slice_number = np.arange(len(seen)) % settings.imaging.particles_per_micrograph + 1
    images = [f"{s:06d}@{stack_name(m)}" for s, m in zip(slice_number, micrograph, strict=True)]
    return {
        "rlnImageName": np.array(images, dtype=object),
        "rlnMicrographName": np.array([f"micrograph{m + 1:04d}.mrc" for m in micrograph], dtype=object),
        "rlnOpticsGroup": seen.optics.numpy() + 1,
        "rlnDefocusU": seen.defocus_angst[:, 0].numpy(),
        "rlnDefocusV": seen.defocus_angst[:, 1].numpy(),
        "rlnDefocusAngle": seen.defocus_angle_deg.numpy(),
    }


def _write_summary(out: Path, particle: Particle, settings: SimulateConfig, variance: float, scale: float) -> None:
    """What was simulated, without paths outside the set."""
    content = settings.model_dump(mode="json", exclude={"output"})
    content["specimen"]["model"] = Path(content["specimen"]["model"]).name
    derived = {
        "grey_scale": scale,
        "n_atoms": particle.n_atoms,
        "particle_diameter_angst": particle.diameter_angst,
        "signal_variance": variance,
    }
    write_json(out / "simulation.json", {"settings": content, "derived": derived})
