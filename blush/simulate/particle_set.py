"""A simulated particle set on disk: one particle, a mixture, bodies that move or filaments, with the truth beside."""

from pathlib import Path

from torch import Tensor

from blush.io.files import write_json
from blush.io.mrc import write_volume
from blush.simulate.acquisition import Acquisition, draw_acquisition, texture_generator
from blush.simulate.body_set import simulate_bodies
from blush.simulate.filament_set import simulate_filaments
from blush.simulate.images import clean_images, signal_variance
from blush.simulate.mixture_set import simulate_mixture
from blush.simulate.particle import Particle, build_particle
from blush.simulate.set_files import Progress, rows_of, settings_content, write_stacks, write_tables
from blush.simulate.settings import SimulateConfig
from blush.simulate.slices import Slicer


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
    if settings.is_mixture and particle is None:
        return simulate_mixture(settings, progress)
    if settings.bodies and particle is None:
        return simulate_bodies(settings, progress)
    if settings.filaments is not None:
        return simulate_filaments(settings, settings.filaments, progress)
    out = settings.output
    progress("density", 0, 1)
    particle, seen = particle or build_particle(settings), draw_acquisition(settings)
    radius_px = min(particle.diameter_angst / 2 / particle.pixel_size_angst, 0.49 * particle.box_px)
    shown = particle

    def clean(number: int) -> Tensor:
        return _micrograph_images(shown, seen, settings, number)

    variance = signal_variance(clean(0), radius_px)
    # In units of the noise, which normalisation then leaves near 1.
    grey_scale = (settings.noise.snr / variance) ** 0.5
    _write_maps(out, particle, grey_scale, settings.initial_lowpass_angst)
    write_stacks(settings, clean, grey_scale, radius_px, progress)
    write_tables(out, seen, settings, {})
    _write_summary(out, particle, settings, variance, grey_scale)
    return out / "particles.star"


def _micrograph_images(particle: Particle, seen: Acquisition, settings: SimulateConfig, number: int) -> Tensor:
    """Noise-free images of one micrograph."""
    rows = seen.take(rows_of(number, settings))
    spectrum = particle.disordered_spectrum(texture_generator(settings.seed, number))
    return clean_images(Slicer(spectrum), rows, settings.imaging)


def _write_maps(out: Path, particle: Particle, grey_scale: float, lowpass_angst: float) -> None:
    """True map, starting reference and mask."""
    pixel = particle.pixel_size_angst
    write_volume(out / "true_map.mrc", (grey_scale * particle.volume()).numpy(), pixel)
    write_volume(out / "reference.mrc", (grey_scale * particle.volume(lowpass_angst)).numpy(), pixel)
    write_volume(out / "mask.mrc", particle.mask.numpy(), pixel)


def _write_summary(out: Path, particle: Particle, settings: SimulateConfig, variance: float, scale: float) -> None:
    """What was simulated, without paths outside the set."""
    derived = {
        "grey_scale": scale,
        "n_atoms": particle.n_atoms,
        "particle_diameter_angst": particle.diameter_angst,
        "signal_variance": variance,
    }
    write_json(out / "simulation.json", {"settings": settings_content(settings), "derived": derived})
