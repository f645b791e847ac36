"""A simulated mixture on disk: what one specimen leaves, with the truth about its classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.fourier.filter import low_pass
from blush.io.files import write_json
from blush.io.mrc import write_volume
from blush.io.star import Table, write_star
from blush.simulate.assignment import SOUND
from blush.simulate.mixture import Mixture, build_mixture
from blush.simulate.mixture_images import MixtureImages
from blush.simulate.mixture_settings import JUNK_KINDS
from blush.simulate.set_files import Progress, settings_content, write_stacks, write_tables
from blush.simulate.settings import SimulateConfig


def simulate_mixture(settings: SimulateConfig, progress: Progress) -> Path:
    """Make a particle set of several species and junk.

    Beside the files of `blush.simulate.particle_set.simulate`, of which maps and mask are now those of the mean of all
    species: true_map_classNNN.mrc and mask_classNNN.mrc of each, true_classes.star that lists them, focus_mask.mrc
    around all that was changed; rlnClassNumber and the name of the class in truth.star.

    Returns
    -------
    Path of particles.star.

    Raises
    ------
    BlushError
        Where a model or a change cannot be used.
    """
    out = settings.output
    progress("density", 0, 1)
    mixture = build_mixture(settings)
    shown = MixtureImages(mixture, settings)
    diameter, imaging = mixture.diameter_angst, settings.imaging
    radius_px = min(diameter / 2 / imaging.pixel_size_angst, 0.49 * imaging.box_px)
    variance = shown.signal_variance(radius_px)
    grey_scale = (settings.noise.snr / variance) ** 0.5
    _write_maps(out, mixture, grey_scale, settings)

    def clean(number: int) -> Tensor:
        return shown.micrograph(number, variance)

    write_stacks(settings, clean, grey_scale, radius_px, progress)
    number, names = class_numbers(mixture, shown)
    write_tables(out, shown.seen, settings, _truth(mixture, shown, number, names))
    derived = {
        "classes": _classes(mixture, number, names),
        "grey_scale": grey_scale,
        "particle_diameter_angst": diameter,
        "signal_variance": variance,
    }
    write_json(out / "simulation.json", {"settings": settings_content(settings), "derived": derived})
    return out / "particles.star"


def class_numbers(mixture: Mixture, shown: MixtureImages) -> tuple[np.ndarray, list[str]]:
    """(n,) number of each image's class from 1, and the names of all: species, then each kind of junk there is."""
    junk = [k for k, share in enumerate(shown.settings.junk.shares) if share > 0]
    number_of_junk = {k: len(mixture.kinds) + 1 + place for place, k in enumerate(junk)}
    number = np.where(shown.what.junk == SOUND, shown.what.species + 1, 0)
    for k, value in number_of_junk.items():
        number = np.where(shown.what.junk == k, value, number)
    return number, [kind.name for kind in mixture.kinds] + [f"junk_{JUNK_KINDS[k]}" for k in junk]


def _truth(mixture: Mixture, shown: MixtureImages, number: np.ndarray, names: list[str]) -> Table:
    """Columns of truth.star beside the poses."""
    table: Table = {
        "rlnClassNumber": number,
        "blushClassName": np.array(names, dtype=object)[number - 1],
    }
    if any(kind.angles_deg is not None for kind in mixture.kinds):
        angles = np.zeros(len(number))
        for k, kind in enumerate(mixture.kinds):
            if kind.angles_deg is not None:
                angle = np.array(kind.angles_deg)[kind.state(shown.what.turn)]
                angles = np.where(shown.what.species == k, angle, angles)
        table["blushHingeAngle"] = angles
    return table


def _write_maps(out: Path, mixture: Mixture, grey_scale: float, settings: SimulateConfig) -> None:
    """True maps, masks and the starting reference."""
    pixel = settings.imaging.pixel_size_angst

    def write(name: str, volume: Tensor) -> None:
        write_volume(out / name, volume.numpy(), pixel)

    for number, kind in enumerate(mixture.kinds, start=1):
        write(_map_name(number), grey_scale * kind.volume())
        write(_mask_name(number), kind.mask())
    mean = mixture.volume()
    write("true_map.mrc", grey_scale * mean)
    write("reference.mrc", grey_scale * low_pass(mean, settings.initial_lowpass_angst, pixel))
    write("mask.mrc", torch.stack([kind.mask() for kind in mixture.kinds]).amax(0))
    if mixture.focus is not None:
        write("focus_mask.mrc", mixture.focus)
    classes = {
        "rlnReferenceImage": np.array([_map_name(k + 1) for k in range(len(mixture.kinds))], dtype=object),
        "rlnClassDistribution": np.array([kind.fraction for kind in mixture.kinds]),
    }
    write_star(out / "true_classes.star", {"model_classes": classes})


def _map_name(number: int) -> str:
    return f"true_map_class{number:03d}.mrc"


def _mask_name(number: int) -> str:
    return f"mask_class{number:03d}.mrc"


def _classes(mixture: Mixture, number: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """What each class of the truth is."""
    found = []
    for place, name in enumerate(names, start=1):
        entry: dict[str, Any] = {"number": place, "name": name, "count": int((number == place).sum())}
        if place <= len(mixture.kinds):
            kind = mixture.kinds[place - 1]
            entry |= {
                "junk": False,
                "fraction": kind.fraction,
                "symmetry": kind.symmetry,
                "n_atoms": kind.states[0].n_atoms,
                "angles_deg": kind.angles_deg,
                "map": _map_name(place),
                "mask": _mask_name(place),
            }
        else:
            entry["junk"] = True
        found.append(entry)
    return found
