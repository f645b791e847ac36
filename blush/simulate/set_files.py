"""Files of a simulated particle set: stacks and STAR files as RELION writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from blush.io.mrc import write_stack
from blush.io.star import Table, write_star
from blush.simulate.acquisition import Acquisition, noise_generator
from blush.simulate.images import noise_images, normalise
from blush.simulate.settings import SimulateConfig

Progress = Callable[[str, int, int], None]


def stack_name(micrograph: int) -> str:
    """Stack of a micrograph, relative to the set's folder."""
    return f"stacks/micrograph{micrograph + 1:04d}.mrcs"


def write_stacks(
    settings: SimulateConfig,
    clean: Callable[[int], Tensor],
    grey_scale: float,
    radius_px: float,
    progress: Progress,
) -> None:
    """One stack for each micrograph: noise-free images on a grey scale, with noise of variance 1, normalised.

    Parameters
    ----------
    clean
        From the number of a micrograph to its images (n, N, N).
    radius_px
        That of the circle whose outside is background.
    """
    imaging = settings.imaging
    total = -(-imaging.n_particles // imaging.particles_per_micrograph)
    for number in range(total):
        images = clean(number)
        noise = noise_images(settings.noise, len(images), imaging, noise_generator(settings.seed, number))
        images = normalise(grey_scale * images + noise, radius_px)
        dtype = np.float16 if imaging.float16 else np.float32
        write_stack(settings.output / stack_name(number), images.numpy().astype(dtype), imaging.pixel_size_angst)
        progress("images", number + 1, total)


def rows_of(number: int, settings: SimulateConfig) -> slice:
    """Rows of the table that are in one micrograph."""
    count = settings.imaging.particles_per_micrograph
    return slice(number * count, (number + 1) * count)


def write_tables(
    out: Path, seen: Acquisition, settings: SimulateConfig, truth: Table, noted: Table | None = None
) -> None:
    """particles.star, and truth.star with poses, half sets and other columns.

    Parameters
    ----------
    truth, noted
        More columns of the truth alone, and of both.
    """
    optics, particles = _optics_table(settings), _particle_table(seen, settings) | (noted or {})
    write_star(out / "particles.star", {"optics": optics, "particles": particles})
    poses = {
        "rlnAngleRot": seen.euler_deg[:, 0].numpy(),
        "rlnAngleTilt": seen.euler_deg[:, 1].numpy(),
        "rlnAnglePsi": seen.euler_deg[:, 2].numpy(),
        "rlnOriginXAngst": seen.origin_angst[:, 0].numpy(),
        "rlnOriginYAngst": seen.origin_angst[:, 1].numpy(),
        "rlnRandomSubset": np.arange(len(seen)) % 2 + 1,
    }
    write_star(out / "truth.star", {"optics": optics, "particles": particles | poses | truth})


def _optics_table(settings: SimulateConfig) -> Table:
    """Block `data_optics`."""
    imaging, count = settings.imaging, len(settings.imaging.optics)
    pixel = imaging.pixel_size_angst
    table: Table = {
        "rlnOpticsGroup": np.arange(1, count + 1),
        "rlnOpticsGroupName": np.array([f"opticsGroup{number + 1}" for number in range(count)], dtype=object),
        "rlnVoltage": np.array([o.voltage_kv for o in imaging.optics]),
        "rlnSphericalAberration": np.array([o.spherical_aberration_mm for o in imaging.optics]),
        "rlnAmplitudeContrast": np.array([o.amplitude_contrast for o in imaging.optics]),
        "rlnImagePixelSize": np.full(count, pixel),
        "rlnImageSize": np.full(count, imaging.box_px),
        "rlnImageDimensionality": np.full(count, 2),
    }
    if settings.filaments is not None:  # coordinates are in pixels of the micrograph
        table["rlnMicrographOriginalPixelSize"] = np.full(count, pixel)
    return table


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


def settings_content(settings: SimulateConfig) -> dict[str, Any]:
    """Settings without paths outside the set, and without those of mixtures and bodies where there are none."""
    left_out = {"output"} if settings.is_mixture else {"output", "species", "junk", "counts"}
    left_out |= set() if settings.bodies else {"bodies"}
    left_out |= {"views"} if settings.filaments else {"filaments"}
    if settings.filaments and settings.filaments.unit == "chain":
        left_out.add("specimen")
    content = settings.model_dump(mode="json", exclude=left_out)
    specimens = [content.get("specimen"), *(one["specimen"] for one in content.get("species", ()))]
    for specimen in filter(None, specimens):
        specimen["model"] = Path(specimen["model"]).name
    return content
